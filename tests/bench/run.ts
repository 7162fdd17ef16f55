/**
 * `npm run bench`: dray beside rsync, rclone, curl and cp, on the same data, on this machine, over loopback.
 *
 *   npm run bench -- [--rounds N] [--only NAME]... [--dir DIR] [--write FILE]
 *
 *   --rounds N     so many timed rounds after a warm-up (5)
 *   --only NAME    only this row: large, small, small-synced, unchanged, fetch-large,
 *                  fetch-cold, fetch-replicas; may be given several times
 *   --dir DIR      measures the file system of DIR (the system's temp directory)
 *   --write FILE   also writes the Markdown to FILE: docs/BENCHMARKS.md
 */
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { endStartedPrograms } from "../support/process.ts";
import { type BenchData, type DataName, makeData } from "./data.ts";
import { describeMachine } from "./machine.ts";
import { commandMarkdown, rowMarkdown } from "./markdown.ts";
import { type Measured, measure } from "./measure.ts";
import { ROWS, type Row } from "./rows.ts";
import { newFolder } from "./settle.ts";

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string", multiple: true },
    dir: { type: "string", default: tmpdir() },
    write: { type: "string" },
  },
});
const rounds = Number(flags.rounds);
if (!Number.isInteger(rounds) || rounds < 1) misused(`--rounds ${flags.rounds}: not a count`);
const rows = chosenRows(flags.only);

const folder = newFolder(flags.dir, "dray-bench");
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => void cleanUp().finally(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  const markdown = await bench();
  console.log(`\n${markdown}`);
  if (flags.write !== undefined) writeFileSync(flags.write, markdown);
} finally {
  await cleanUp();
}

async function bench(): Promise<string> {
  const sections: string[] = [];
  const all: Measured[] = [];
  const made = new Map<DataName, BenchData>();
  for (const row of rows) {
    console.error(row.title);
    const data = made.get(row.data) ?? makeData(row.data, folder);
    made.set(row.data, data);
    const measured = await measure(row, data, folder, rounds, (line) => console.error(line));
    all.push(...measured);
    sections.push(...rowMarkdown(row, data, measured), "");
  }
  const versions = new Set(
    all.map(({ contender }) => contender.version).filter((line) => line !== undefined),
  );
  return [
    "# Benchmarks",
    "",
    `Written by \`npm run bench -- --write docs/BENCHMARKS.md\` on ${new Date().toISOString().slice(0, 10)}.`,
    "Only the ratios say something: all contenders ran in turn on the same machine, over loopback, with the",
    "same data, in the page cache already unless a row says otherwise. Before each run the old copy was put out of the way, the disk was",
    `settled with \`sync\`, and memory was warmed up. Medians of ${rounds} rounds after a first one that does not count`,
    "and whose copies were compared with the source. Servers were running already: the time is that of the",
    "client's process from start to end.",
    "",
    ...describeMachine(folder),
    ...[...versions].map((line) => `- ${line}`),
    "",
    ...sections,
    "## What was run",
    "",
    ...commandMarkdown(all),
    "",
  ].join("\n");
}

function chosenRows(names: readonly string[] | undefined): readonly Row[] {
  if (names === undefined) return ROWS;
  for (const name of names) {
    if (!ROWS.some((row) => row.name === name)) {
      misused(`--only ${name}: there are ${ROWS.map((row) => row.name).join(", ")}`);
    }
  }
  return ROWS.filter((row) => names.includes(row.name));
}

function misused(problem: string): never {
  console.error(problem);
  process.exit(2);
}

async function cleanUp(): Promise<void> {
  await endStartedPrograms();
  rmSync(folder, { recursive: true, force: true });
}
