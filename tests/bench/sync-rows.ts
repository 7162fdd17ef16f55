import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { peakRssBytes } from "../support/memory.ts";
import { endStartedPrograms } from "../support/process.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { machineCpuSeconds } from "./cpu-time.ts";
import { goalLine, table } from "./markdown.ts";
import type { Bench, Section, SectionResult } from "./section.ts";
import { newFolder, settle } from "./settle.ts";
import { summarize } from "./statistics.ts";
import { type SyncKind, type SyncPair, draySync, syncthing, unison } from "./sync-pairs.ts";

const MIB = 1024 ** 2;
const SMALL_FILES = 10_000;
const SAVES = 15;
const PATIENCE_MS = 180_000;
const LARGE_BYTES = 1024 * MIB;

const WALL_LARGE =
  "The wall: both ends share two cores, and each has to compute that MD5 once; with reading, sending, receiving and writing that makes 0.65x at the most. Tried: chunks without digests of their own, sending while it is hashed, syncing while it comes (twice as fast together).";

interface SyncRow {
  name: string;
  title: string;
  kinds: readonly SyncKind[];
  /** What appears, in all. */
  bytes: number;
  /**
   * What was made stays until the end: a file system does not use the inodes of deleted files again for minutes, and whoever
   * makes files meanwhile pays for the search.
   */
  leavesTrees?: boolean;
  /** Makes what is to appear: before the disk is settled, so that nobody is charged for it. */
  prepare?: (place: string) => void;
  /** @returns milliseconds, one for each time that it was measured */
  measure(pair: SyncPair, place: string): Promise<number[]>;
  /** @param ms the median of dray, or of a peer if it was measured */
  goals: (ms: (name: string) => number | undefined, md5Ms: number) => string[];
}

const ROWS: readonly SyncRow[] = [
  {
    name: "sync-large",
    title: "Sync: one file of 1 GiB that appears in the folder",
    kinds: [draySync(false), unison, syncthing],
    bytes: LARGE_BYTES,
    prepare: (place) => makeLargeFile(`${place}/large`, { seed: 1, sizeBytes: LARGE_BYTES }),
    measure: async (pair, place) => [
      await follow(
        pair,
        () => renameSync(`${place}/large`, `${pair.from}/large`),
        () => sizeOf(`${pair.to}/large`) === LARGE_BYTES,
      ),
    ],
    goals: (ms, md5Ms) => [
      ...peerLines(ms, "dray"),
      goalLine(
        "`dray` at least 0.8x the rate of one core's MD5",
        md5Ms / ms("dray")! >= 0.8,
        [`${(md5Ms / ms("dray")!).toFixed(2)}x; MD5 of as much takes ${md5Ms.toFixed(0)} ms`],
        WALL_LARGE,
      ),
    ],
  },
  {
    name: "sync-small",
    title: `Sync: ${SMALL_FILES.toLocaleString("en")} small files (56 MB) that appear in the folder (dray, syncthing: durable when they are there; unison: not)`,
    kinds: [draySync(false), unison, syncthing],
    bytes: 56_000_000,
    leavesTrees: true,
    prepare: (place) => {
      const many = { seed: 2, count: SMALL_FILES, directories: 100, minBytes: 512, maxBytes: 21_500 };
      makeManyFiles(`${place}/small`, many);
    },
    measure: async (pair, place) => [
      await follow(
        pair,
        () => renameSync(`${place}/small`, `${pair.from}/small`),
        () => filesBelow(`${pair.to}/small`) === SMALL_FILES,
        100,
      ),
    ],
    goals: (ms) => peerLines(ms, "dray"),
  },
  {
    name: "sync-latency",
    title: "Sync: 4 KiB that are saved, until they are there (dray: at another client, by way of the server)",
    kinds: [draySync(true), syncthing],
    bytes: SAVES * 4096,
    measure: async (pair) => {
      const took = [];
      for (let save = 0; save < SAVES; save++) {
        const contents = Buffer.alloc(4096, `save ${save} `);
        const isThere = (): boolean => sizeOf(`${pair.to}/note-${save}`) === contents.length;
        took.push(await follow(pair, () => writeFileSync(`${pair.from}/note-${save}`, contents), isThere));
      }
      return took;
    },
    goals: (ms) => [
      ...peerLines(ms, "dray, two clients"),
      goalLine("a median under 150 ms", ms("dray, two clients")! < 150, [
        `${ms("dray, two clients")!.toFixed(0)} ms`,
      ]),
    ],
  },
];

/** Folders in sync: dray beside Unison and Syncthing, as far as they are installed, over loopback. */
export const SYNC_SECTIONS: readonly Section[] = ROWS.map((row) => ({
  name: row.name,
  title: row.title,
  run: (bench) => measureSync(row, bench),
}));

async function measureSync(row: SyncRow, { rounds, folder, say }: Bench): Promise<SectionResult> {
  const measured = new Map<string, { ms: number[]; cpuSeconds: number[]; memory: string }>();
  const limitMs: number[] = [];
  const kinds = row.kinds.filter(({ program }) => Bun.which(program) !== null);
  /** Peers that did not bring it in time, and are left alone from then on. */
  const lost = new Map<string, string>();
  for (let round = 0; round <= rounds; round++) {
    if (row.name === "sync-large" && round > 0) limitMs.push(md5Ms());
    for (const kind of kinds.filter(({ name }) => !lost.has(name))) {
      const place = newFolder(folder, "place");
      row.prepare?.(place);
      let pair: SyncPair;
      let ms: number[];
      let startedCpuSeconds: number;
      try {
        pair = await kind.open(place);
        await settle(row.bytes);
        startedCpuSeconds = machineCpuSeconds();
        ms = await row.measure(pair, place);
      } catch (error) {
        if (kind === row.kinds[0]) throw error;
        lost.set(kind.name, `- \`${kind.name}\` is left out from round ${round} on: ${String(error)}`);
        say(lost.get(kind.name)!);
        await endStartedPrograms();
        continue;
      }
      const cpuSeconds = machineCpuSeconds() - startedCpuSeconds;
      const peaks = pair.programs.map(
        ({ name, pid }) => `${name} ${Math.round(peakRssBytes(pid) / MIB)} MiB`,
      );
      const shown = ms.map((one) => `${one.toFixed(0)} ms`).join(" ");
      say(`  ${round === 0 ? "warm-up" : `round ${round}`}  ${shown}  ${kind.name}`);
      const known = measured.get(kind.name) ?? { ms: [], cpuSeconds: [], memory: "" };
      if (round > 0) {
        known.ms.push(...ms);
        known.cpuSeconds.push(cpuSeconds);
      }
      measured.set(kind.name, { ...known, memory: peaks.join(", ") });
      await endStartedPrograms();
      if (row.leavesTrees !== true) rmSync(place, { recursive: true, force: true });
    }
  }
  const summaries = [...measured]
    .filter(([, { ms }]) => ms.length > 0)
    .map(([name, { ms, cpuSeconds, memory }]) => ({
      name,
      summary: summarize(ms),
      cpu: summarize(cpuSeconds),
      memory,
    }));
  const rows = summaries.map(({ name, summary: { median, min, max }, cpu, memory }) => [
    `\`${name}\``,
    `${median.toFixed(0)} ms`,
    `${min.toFixed(0)}–${max.toFixed(0)} ms`,
    `${cpu.median.toFixed(2)} s`,
    memory,
  ]);
  const medianOf = (name: string): number | undefined =>
    summaries.find((one) => one.name === name)?.summary.median;
  return {
    lines: [
      ...table([["", "median", "min–max", "CPU", "memory"], ...rows]),
      "",
      ...lost.values(),
      ...row.goals(medianOf, limitMs.length === 0 ? NaN : summarize(limitMs).median),
    ],
    versions: kinds.map(({ version }) => version()),
    commands: new Map(kinds.map(({ name, commands }) => [name, commands])),
  };
}

/** How many times as fast we are as each peer. */
function peerLines(ms: (name: string) => number | undefined, ours: string): string[] {
  return ["unison", "syncthing"].flatMap((peer) => {
    const theirs = ms(peer);
    return theirs === undefined
      ? []
      : `- \`${ours}\` is ${(theirs / ms(ours)!).toFixed(2)}x as fast as \`${peer}\``;
  });
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
      throw new Error(`Nobody brought it in ${PATIENCE_MS} ms`);
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
  for (let done = 0; done < LARGE_BYTES; done += MIB) hash.update(block);
  hash.digest();
  return performance.now() - startedMs;
}
