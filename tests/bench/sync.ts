/**
 * `npm run bench:sync`: how fast a folder follows another one: dray beside Syncthing and Unison, as far as they are
 * installed, over loopback.
 *
 *   npm run bench:sync -- [--rounds N] [--only NAME]... [--large-mib N]
 *
 *   --rounds N     so many timed rounds after a warm-up (3)
 *   --only NAME    only this row: large, small, latency
 *   --large-mib N  how large the one large file is (1024)
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { peakRssBytes } from "../support/memory.ts";
import { endStartedPrograms } from "../support/process.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { describeMachine } from "./machine.ts";
import { table } from "./markdown.ts";
import { newFolder } from "./settle.ts";
import { summarize } from "./statistics.ts";
import { type SyncKind, type SyncPair, draySync, syncthing, unison } from "./sync-pairs.ts";
import { run } from "./contender.ts";

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    only: { type: "string", multiple: true },
    "large-mib": { type: "string", default: "1024" },
  },
});

const MIB = 1024 ** 2;
const SMALL_FILES = 10_000;
const SAVES = 15;
const PATIENCE_MS = 180_000;
const largeBytes = Number(flags["large-mib"]) * MIB;
const folder = newFolder(tmpdir(), "dray-bench-sync");

interface Row {
  name: string;
  title: string;
  kinds: readonly SyncKind[];
  /** @returns milliseconds, one for each time that it was measured */
  measure(pair: SyncPair, place: string): Promise<number[]>;
}

const ROWS: readonly Row[] = [
  {
    name: "large",
    title: `One file of ${flags["large-mib"]} MiB that appears in the folder`,
    kinds: [draySync(false), unison, syncthing],
    measure: async (pair, place) => {
      makeLargeFile(`${place}/large`, { seed: 1, sizeBytes: largeBytes });
      return [
        await follow(
          pair,
          () => renameSync(`${place}/large`, `${pair.from}/large`),
          () => sizeOf(`${pair.to}/large`) === largeBytes,
        ),
      ];
    },
  },
  {
    name: "small",
    title: `${SMALL_FILES} small files (56 MB) that appear in the folder`,
    kinds: [draySync(false), unison, syncthing],
    measure: async (pair, place) => {
      const many = { seed: 2, count: SMALL_FILES, directories: 100, minBytes: 512, maxBytes: 21_500 };
      makeManyFiles(`${place}/small`, many);
      return [
        await follow(
          pair,
          () => renameSync(`${place}/small`, `${pair.from}/small`),
          () => filesBelow(`${pair.to}/small`) === SMALL_FILES,
          100,
        ),
      ];
    },
  },
  {
    name: "latency",
    title: "4 KiB that are saved, until they are there (dray: at another client, by way of the server)",
    kinds: [draySync(true), syncthing],
    measure: async (pair) => {
      const took = [];
      for (let save = 0; save < SAVES; save++) {
        const contents = Buffer.alloc(4096, `save ${save} `);
        const isThere = (): boolean => sizeOf(`${pair.to}/note-${save}`) === contents.length;
        took.push(await follow(pair, () => writeFileSync(`${pair.from}/note-${save}`, contents), isThere));
      }
      return took;
    },
  },
];

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => void cleanUp().finally(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  console.log(describeMachine(folder).join("\n"));
  for (const row of ROWS) {
    if (flags.only === undefined || flags.only.includes(row.name)) await bench(row);
  }
} finally {
  await cleanUp();
}

async function bench(row: Row): Promise<void> {
  console.error(row.title);
  const measured = new Map<string, { ms: number[]; memory: string }>();
  const limitMs: number[] = [];
  for (let round = 0; round <= Number(flags.rounds); round++) {
    if (row.name === "large" && round > 0) limitMs.push(md5Ms());
    for (const kind of row.kinds) {
      if (Bun.which(kind.program) === null) continue;
      const place = newFolder(folder, "place");
      const pair = await kind.open(place);
      await run(["sync"]);
      const ms = await row.measure(pair, place);
      const peaks = pair.programs.map(
        ({ name, pid }) => `${name} ${Math.round(peakRssBytes(pid) / MIB)} MiB`,
      );
      console.error(
        `  ${round === 0 ? "warm-up" : `round ${round}`}  ${ms.map((one) => `${one.toFixed(0)} ms`).join(" ")}  ${pair.name}`,
      );
      const known = measured.get(pair.name) ?? { ms: [], memory: "" };
      if (round > 0) known.ms.push(...ms);
      measured.set(pair.name, { ...known, memory: peaks.join(", ") });
      await endStartedPrograms();
      rmSync(place, { recursive: true, force: true });
    }
  }
  const lines = [...measured].map(([name, { ms, memory }]) => {
    const { median, min, max } = summarize(ms);
    return [name, `${median.toFixed(0)} ms`, `${min.toFixed(0)}–${max.toFixed(0)} ms`, memory];
  });
  console.log(`\n## ${row.title}\n`);
  console.log(table([["", "median", "min–max", "memory"], ...lines]).join("\n"));
  if (limitMs.length === 0) return;
  const limit = summarize(limitMs).median;
  const ours = summarize(measured.get("dray")!.ms).median;
  console.log(
    `\nOne core's MD5 of as much: ${limit.toFixed(0)} ms; dray has ${(limit / ours).toFixed(2)} times that rate (goal: 0.8).`,
  );
}

/** From the moment in which something is there on one side until it is on the other. */
async function follow(
  pair: SyncPair,
  change: () => void,
  isThere: () => boolean,
  pauseMs = 1,
): Promise<number> {
  const startedMs = performance.now();
  change();
  await pair.once?.();
  while (!isThere()) {
    if (performance.now() - startedMs > PATIENCE_MS)
      throw new Error(`${pair.name} did not bring it in ${PATIENCE_MS} ms`);
    await Bun.sleep(pauseMs);
  }
  return performance.now() - startedMs;
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

function filesBelow(path: string): number {
  if (!existsSync(path)) return 0;
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile() && entry.name.endsWith(".bin")).length;
}

/** As much as the large file, hashed by one core out of memory. */
function md5Ms(): number {
  const block = new Uint8Array(MIB).fill(7);
  const hash = new Bun.CryptoHasher("md5");
  const startedMs = performance.now();
  for (let done = 0; done < largeBytes; done += MIB) hash.update(block);
  hash.digest();
  return performance.now() - startedMs;
}

async function cleanUp(): Promise<void> {
  await endStartedPrograms();
  rmSync(folder, { recursive: true, force: true });
}
