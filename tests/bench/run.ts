/**
 * `npm run bench`: dray beside rsync, rclone, lftp, curl, aria2, Syncthing, Unison and cp, as far as they are installed, on the
 * same data, on this machine, over loopback.
 *
 *   npm run bench -- [--rounds N] [--only NAME]... [--dir DIR] [--write FILE] [--keep] [--install-peers]
 *
 *   --rounds N       so many timed rounds after a warm-up (5)
 *   --only NAME      only this part: large, small, small-synced, unchanged, fetch-large, fetch-cold, fetch-replicas,
 *                    sync-large, sync-small, sync-latency, hot, start, million; may be given several times
 *   --dir DIR        measures the file system of DIR (the system's temp directory)
 *   --write FILE     also writes the Markdown to FILE: docs/BENCHMARKS.md
 *   --keep           leaves the copies of small files: deleting hundreds of thousands of files makes ext4 slow for minutes
 *   --install-peers  first installs the others' programs from Debian's packages (as root)
 */
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { endStartedPrograms } from "../support/process.ts";
import { copySections } from "./copy-sections.ts";
import { hotCache } from "./hot-cache.ts";
import { describeMachine, hashRates } from "./machine.ts";
import { million } from "./million.ts";
import type { Section, SectionResult } from "./section.ts";
import { newFolder } from "./settle.ts";
import { start } from "./start.ts";
import { SYNC_SECTIONS } from "./sync-rows.ts";

const PEERS = ["rsync", "rclone", "lftp", "curl", "nginx-light", "aria2", "syncthing", "unison"];

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string", multiple: true },
    dir: { type: "string", default: tmpdir() },
    write: { type: "string" },
    keep: { type: "boolean", default: false },
    "install-peers": { type: "boolean", default: false },
  },
});
const rounds = Number(flags.rounds);
if (!Number.isInteger(rounds) || rounds < 1) misused(`--rounds ${flags.rounds}: not a count`);
if (flags["install-peers"]) installPeers();

const folder = newFolder(flags.dir, "dray-bench");
const hashRate = hashRates();
const sections = chosen([...copySections(folder), ...SYNC_SECTIONS, hotCache, start, million], flags.only);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => void cleanUp().finally(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  const markdown = await bench();
  console.log(`\n${markdown}`);
} finally {
  await cleanUp();
}

async function bench(): Promise<string> {
  const done: { section: Section; result: SectionResult }[] = [];
  for (const section of sections) {
    console.error(section.title);
    const result = await section.run({ rounds, folder, say: (line) => console.error(line) });
    done.push({ section, result });
    // What comes behind may take long.
    if (flags.write !== undefined) writeFileSync(flags.write, pageOf(done));
  }
  return pageOf(done);
}

function pageOf(done: readonly { section: Section; result: SectionResult }[]): string {
  const versions = new Set(done.flatMap(({ result }) => result.versions));
  const commands = new Map(done.flatMap(({ result }) => [...result.commands]));
  return [
    "# Benchmarks",
    "",
    `Written by \`npm run bench -- --write docs/BENCHMARKS.md\` on ${new Date().toISOString().slice(0, 10)}.`,
    "Only the ratios say something: all contenders ran in turn on the same machine, over loopback, with the",
    "same data, in the page cache already unless a row says otherwise. Before each copy the old one was put out of the way,",
    "the disk was settled with `sync`, and memory was warmed up. Medians of",
    `${rounds} rounds after a first one that does not count, and whose copies were compared with the source. Servers were running`,
    "already: the time is that of the client's process from start to end. CPU is that of the whole machine in that time: of",
    "servers, clients, and the system. Memory is the most that the client ever had resident.",
    "",
    ...describeMachine(folder),
    ...hashRate,
    ...[...versions].map((line) => `- ${line}`),
    "",
    ...done.flatMap(({ section, result }) => [`## ${section.title}`, "", ...result.lines, ""]),
    "## What was run",
    "",
    "```sh",
    ...[...commands].flatMap(([name, lines]) => [`# ${name}`, ...lines]),
    "```",
    "",
  ].join("\n");
}

function chosen(all: readonly Section[], names: readonly string[] | undefined): readonly Section[] {
  if (names === undefined) return all;
  for (const name of names) {
    if (!all.some((section) => section.name === name)) {
      misused(`--only ${name}: there are ${all.map((section) => section.name).join(", ")}`);
    }
  }
  return all.filter((section) => names.includes(section.name));
}

function installPeers(): void {
  execFileSync("apt-get", ["install", "--yes", "--no-install-recommends", ...PEERS], {
    stdio: "inherit",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
}

function misused(problem: string): never {
  console.error(problem);
  process.exit(2);
}

async function cleanUp(): Promise<void> {
  await endStartedPrograms();
  if (!flags.keep) rmSync(folder, { recursive: true, force: true });
}
