import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { OrderResult } from "../../src/wire/order.ts";
import { diffTrees } from "../support/diff.ts";
import { startDray } from "../support/process.ts";
import { type Program } from "../support/program.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { sourceText } from "../support/stage.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { type TreeLook, TreeWatch } from "../support/tree-watch.ts";

/** DRAY_TEST_KILLS=200 is what a release is tested with; DRAY_TEST_SEED tries other moments. */
const KILLS = Number(process.env["DRAY_TEST_KILLS"] ?? 90);
const SEED = Number(process.env["DRAY_TEST_SEED"] ?? 1);
setDefaultTimeout(120_000 + KILLS * 3_000);

const MIB = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;
const LARGE_FILES = [48 * MIB + 12_345, 24 * MIB, 20 * MIB + 1];
const SMALL_FILES = 500;
/** How much of a second's bytes the proxy may have sent while the mirror has not read them: three slices. */
const UNREAD_SECONDS = 3 / 20;
/** Frames around a small file, and its entry in the list. */
const OVERHEAD_BYTES_PER_FILE = 300;
/** What starts in vain: the kill comes before the mirror listens. */
const EARLY_SHARE = 0.15;
const EARLY_MS = 150;

/** How the mirror runs for each of the orders, in turn, and how fast each connection to a source is. */
const LIVES = [
  { workers: 4, bytesPerSecond: 6 * MIB, flags: ["--durability", "none"] },
  { workers: 8, bytesPerSecond: 6 * MIB, flags: ["--threads", "2"] },
  { workers: 1, bytesPerSecond: 15 * MIB, flags: ["--durability", "strict"] },
] as const;

interface Source {
  directory: string;
  proxy: Proxy;
  watch: TreeWatch;
}

test(`a mirror that is killed at ${KILLS} moments goes on by itself, and fetches nothing twice`, async () => {
  using folder = ramFolder(1024 * MIB);
  const random = seededRandom(SEED);
  const mirrorDirectory = folder.join("mirror");
  await using stack = new AsyncDisposableStack();
  const sources: Source[] = [];
  let { bytesPerSecond }: { bytesPerSecond: number } = LIVES[0];
  for (const name of ["large", "small"]) {
    const directory = folder.join(name);
    fill(directory, name, random);
    const content = stack.use(await SteadyServer.content(directory));
    const proxy = stack.use(
      await startProxy({ target: content, faults: () => [{ kind: "throttle", bytesPerSecond }] }),
    );
    const watch = new TreeWatch(`${mirrorDirectory}/127.0.0.1_${proxy.port}`, directory);
    sources.push({ directory, proxy, watch });
  }

  let kills = 0;
  for (let order = 0; kills < KILLS; order++) {
    if (order > 0) {
      for (const source of sources) {
        // Now every file is replaced, and old versions stay visible until the new ones are whole.
        fill(source.directory, source.directory.endsWith("large") ? "large" : "small", random);
        source.watch.sourceChanged();
      }
    }
    const life = LIVES[order % LIVES.length]!;
    ({ bytesPerSecond } = life);
    const budget = Math.min(KILLS - kills, Math.ceil(KILLS / LIVES.length));
    kills += await killedOrder(mirrorDirectory, sources, life, budget, random);
    for (const { directory, proxy, watch } of sources) {
      expect(watch.violations).toEqual([]);
      expect(watch.look().temps).toEqual([]);
      expect(await diffTrees(directory, `${mirrorDirectory}/127.0.0.1_${proxy.port}`)).toEqual([]);
    }
  }
  expect(readdirSync(folder.join("mirror/.dray")).filter((name) => name.includes("damaged"))).toEqual([]);
});

/** Replaces what is there. */
function fill(directory: string, kind: string, random: Random): void {
  const seed = random.integer(1, 1e9);
  if (kind === "large") {
    for (const [index, sizeBytes] of LARGE_FILES.entries()) {
      makeLargeFile(`${directory}/videos/${index}.bin`, { seed: seed + index, sizeBytes });
    }
  } else {
    makeManyFiles(directory, { seed, count: SMALL_FILES, directories: 25, minBytes: 0, maxBytes: 120_000 });
    makeManyFiles(`${directory}/middle`, {
      seed: seed + 1,
      count: 30,
      directories: 2,
      minBytes: PIECE_BYTES - 2000,
      maxBytes: 700_000,
    });
  }
}

/** Gives one order, and kills the mirror up to `budget` times before it is done. @returns how often it was killed */
async function killedOrder(
  mirrorDirectory: string,
  sources: readonly Source[],
  { workers, bytesPerSecond, flags }: (typeof LIVES)[number],
  budget: number,
  random: Random,
): Promise<number> {
  await using mirror = await SteadyServer.mirror(mirrorDirectory, ["-w", String(workers), ...flags]);
  const args = [
    "initiate",
    "-p",
    String(mirror.port),
    "-s",
    sources.map((one) => sourceText(one.proxy)).join(),
  ];
  await using initiator = startDray([...args, "--timeout", "5m", "--json"]);
  await initiator.event("accepted");
  for (const { watch } of sources) watch.start();

  // What each worker is in the middle of: a piece, or a small file, and what it has not read.
  const unfinishedBytes = workers * (PIECE_BYTES + UNREAD_SECONDS * bytesPerSecond);
  const sentAtStart = sentBytes(sources);
  const totalBytes = sources.reduce((sum, { directory }) => sum + sizeOf(directory), 0);
  const totalFiles = LARGE_FILES.length + SMALL_FILES + 30;
  // In the orders that replace files, nothing of the new versions is there yet.
  let kept = keptBytes(sources);
  let sent = sentAtStart;
  let kills = 0;
  for (; kills < budget; kills++) {
    const killed = await killSomewhere(mirror, initiator, sources, totalBytes / budget, random);
    if (!killed) break;
    const looks = sources.map(({ watch }) => watch.look());
    const nowKept = looks.reduce((sum, look) => sum + look.keptBytes, 0);
    const nowSent = sentBytes(sources);
    // All that crossed the network in this life is on the disk, but for what was unfinished.
    const lostBytes = nowSent - sent - (nowKept - kept);
    expect(nowKept).toBeGreaterThanOrEqual(kept);
    expect(lostBytes).toBeLessThanOrEqual(
      unfinishedBytes + totalFiles * OVERHEAD_BYTES_PER_FILE + 0.01 * (nowSent - sent),
    );
    kept = nowKept;
    sent = nowSent;
    mirror.begin();
  }
  await mirror.program.listening();
  const { code, events } = await initiator.finished({ timeoutMs: 120_000 });
  for (const { watch } of sources) await watch.stop();

  expect(code).toBe(0);
  const result = events.at(-1) as unknown as OrderResult;
  expect(result).toMatchObject({ type: "result", files: totalFiles, bytes: totalBytes, failed: 0 });
  expect(result.sources.map(({ status }) => status)).toEqual(["complete", "complete"]);
  expect(new Set(events.map(({ orderId }) => orderId)).size).toBe(1);
  const overheadBytes = 0.01 * totalBytes + (kills + 1) * totalFiles * OVERHEAD_BYTES_PER_FILE;
  expect(sentBytes(sources) - sentAtStart).toBeLessThanOrEqual(
    totalBytes + kills * unfinishedBytes + overheadBytes,
  );
  expect(await mirror.stop()).toMatchObject({ code: 0 });
  return kills;
}

/** @returns false when the order was done before */
async function killSomewhere(
  mirror: SteadyServer,
  initiator: Program,
  sources: readonly Source[],
  meanBytes: number,
  random: Random,
): Promise<boolean> {
  let isDone = false;
  void initiator.exit.then(() => (isDone = true));
  if (random.next() < EARLY_SHARE) {
    await Bun.sleep(random.integer(0, EARLY_MS));
  } else {
    const untilBytes = sentBytes(sources) + random.integer(0, Math.round(2 * meanBytes));
    while (!isDone && sentBytes(sources) < untilBytes) await Bun.sleep(1);
  }
  if (isDone) return false;
  const { signal } = await mirror.stop("SIGKILL");
  expect(signal).toBe("SIGKILL");
  return true;
}

function sentBytes(sources: readonly Source[]): number {
  return sources
    .flatMap(({ proxy }) => proxy.connections)
    .reduce((sum, { bytesToClient }) => sum + bytesToClient, 0);
}

function keptBytes(sources: readonly Source[]): number {
  return sources.map(({ watch }): TreeLook => watch.look()).reduce((sum, look) => sum + look.keptBytes, 0);
}

function sizeOf(directory: string): number {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + Bun.file(`${entry.parentPath}/${entry.name}`).size, 0);
}
