import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { diffTrees } from "../support/diff.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { sourceText } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { TreeWatch } from "../support/tree-watch.ts";

/** DRAY_TEST_SEED damages other places. */
const SEED = Number(process.env["DRAY_TEST_SEED"] ?? 1);
setDefaultTimeout(180_000);

const MIB = 1024 * 1024;
const FILES = 201;

type Damage = (journal: string, random: Random) => void;

/** Whichever of the journal's files holds something. */
function someFile(journal: string, random: Random): string {
  const files = [journal, `${journal}-wal`].filter((path) => existsSync(path) && statSync(path).size > 0);
  return files[random.integer(0, files.length - 1)]!;
}

function flipBits(path: string, random: Random, count: number, range = Number.POSITIVE_INFINITY): void {
  const bytes = readFileSync(path);
  const end = Math.min(bytes.length, range) - 1;
  for (let flip = 0; flip < count; flip++) bytes[random.integer(0, end)]! ^= 1 << random.integer(0, 7);
  writeFileSync(path, bytes);
}

const DAMAGES: Record<string, Damage> = {
  "a file cut somewhere": (journal, random) => {
    const path = someFile(journal, random);
    truncateSync(path, random.integer(0, statSync(path).size - 1));
  },
  "a bit flipped somewhere": (journal, random) => flipBits(someFile(journal, random), random, 1),
  "many bits flipped": (journal, random) => flipBits(someFile(journal, random), random, 40),
  "a head of rubbish": (journal, random) => flipBits(journal, random, 30, 100),
  "nothing in it": (journal) => {
    for (const path of [journal, `${journal}-wal`]) if (existsSync(path)) truncateSync(path, 0);
  },
  "only what was written last": (journal) => truncateSync(journal, 0),
  "text in its place": (journal) => writeFileSync(journal, "this is no journal\n".repeat(500)),
};

/** May hit the journal's write-ahead log, which then ends where the damage begins. */
const TAKES_BACK = ["a file cut somewhere", "a bit flipped somewhere", "many bits flipped"];

test.each(Object.keys(DAMAGES))(
  "a mirror whose journal has %s starts, says so, and mirrors nothing wrong",
  async (kind) => {
    using folder = ramFolder(100 * MIB);
    const random = seededRandom(SEED + kind.length);
    const data = folder.join("data");
    fill(data, random);
    await using content = await SteadyServer.content(data);
    await using proxy = await startProxy({
      target: content,
      faults: [{ kind: "throttle", bytesPerSecond: 8 * MIB }],
    });
    const tree = folder.join("mirror", `127.0.0.1_${proxy.port}`);
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), [
      "-w",
      "2",
      "--durability",
      "none",
    ]);
    const orders = new MirrorOrders(mirror);
    const watch = new TreeWatch(tree, data);
    for (let round = 0; round < 3; round++) {
      const kept = damagedFiles(mirror).length;
      const initiator = orders.start("-s", sourceText(proxy));
      const orderId = String((await initiator.event("accepted"))["orderId"]);
      await sent(proxy, sentBytes(proxy) + random.integer(0, 3 * MIB));
      await mirror.stop("SIGKILL");
      DAMAGES[kind]!(`${mirror.directory}/.dray/journal.db`, random);

      await mirror.start();
      const said = mirror.program.stderrText();
      const isKnown = (await orders.state(orderId)) !== undefined;
      const finished = await initiator.finished({ timeoutMs: 60_000 });
      if (isKnown) {
        expect(finished.code).toBe(0);
        expect(resultOf(finished)).toMatchObject({ orderId, files: FILES, failed: 0 });
        expect(await diffTrees(data, tree)).toEqual([]);
      } else {
        expect(finished.code).toBe(4);
        expect(finished.stdout).toContain(`there is no order ${orderId}`);
      }
      // What is damaged is kept, and said. Only what was written last can be missing as if it never was.
      const set = damagedFiles(mirror).slice(kept);
      for (const name of set) expect(said).toContain(name);
      if (set.length > 0) expect(said).toMatch(/error .*journal/);
      else if (!TAKES_BACK.includes(kind)) expect(isKnown).toBe(true);

      const next = await orders.ask(["-s", sourceText(proxy), "--json"], { timeoutMs: 60_000 });
      expect(next.code).toBe(0);
      expect(resultOf(next)).toMatchObject({ files: FILES, failed: 0 });
      expect(await diffTrees(data, tree)).toEqual([]);
      expect(watch.look().temps).toEqual([]);
      expect(watch.violations).toEqual([]);
      fill(data, random);
      watch.sourceChanged();
    }
    expect((await mirror.stop()).code).toBe(0);
  },
);

function fill(directory: string, random: Random): void {
  const seed = random.integer(1, 1e9);
  makeLargeFile(`${directory}/large`, { seed, sizeBytes: 3 * MIB });
  makeManyFiles(directory, { seed, count: FILES - 1, directories: 8, minBytes: 0, maxBytes: 30_000 });
}

/** Journals that were set aside. */
function damagedFiles(mirror: SteadyServer): string[] {
  return readdirSync(`${mirror.directory}/.dray`)
    .filter((name) => name.includes("damaged") && !/-(wal|shm)$/.test(name))
    .sort();
}

function sentBytes(proxy: Proxy): number {
  return proxy.connections.reduce((sum, { bytesToClient }) => sum + bytesToClient, 0);
}

async function sent(proxy: Proxy, bytes: number): Promise<void> {
  while (sentBytes(proxy) < bytes) await Bun.sleep(1);
}
