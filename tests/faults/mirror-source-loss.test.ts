import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { HeldSource } from "../support/held-source.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { type Program } from "../support/program.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { seededRandom } from "../support/random.ts";
import { sourceText } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { type TempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { TreeWatch } from "../support/tree-watch.ts";

/** DRAY_TEST_SEED tries other moments, DRAY_TEST_KILLS more of them. */
const SEED = Number(process.env["DRAY_TEST_SEED"] ?? 1);
const KILLS = Math.ceil(Number(process.env["DRAY_TEST_KILLS"] ?? 90) / 9);
setDefaultTimeout(120_000 + KILLS * 5_000);

const MIB = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;
const WORKERS = 4;
/** More than the system keeps for the proxy when a server dies. */
const LARGE_BYTES = 40 * MIB;

async function openMirror(folder: TempFolder, flags: string[] = []): Promise<SteadyServer> {
  return SteadyServer.mirror(folder.join("mirror"), ["-w", String(WORKERS), ...flags]);
}

function treeOf(mirror: SteadyServer, source: { port: number }): string {
  return `${mirror.directory}/127.0.0.1_${source.port}`;
}

function sentBytes(proxy: Proxy): number {
  return proxy.connections.reduce((sum, { bytesToClient }) => sum + bytesToClient, 0);
}

/** Waits until so much has come since the order was given. */
async function received(order: Program, bytes: number): Promise<void> {
  await order.waitFor((event) => Number(event["bytesTransferred"] ?? 0) >= bytes, { what: `${bytes} bytes` });
}

describe("a content server that is killed and started again", () => {
  test(`${KILLS} times: the order brings everything, and fetches nothing twice`, async () => {
    using folder = ramFolder(300 * MIB);
    const random = seededRandom(SEED);
    const data = folder.join("data");
    makeLargeFile(`${data}/large/a`, { seed: SEED, sizeBytes: 20 * MIB + 7 });
    makeLargeFile(`${data}/large/b`, { seed: SEED + 1, sizeBytes: 21 * MIB });
    makeManyFiles(data, { seed: SEED, count: 300, directories: 12, minBytes: 0, maxBytes: 60_000 });
    const bytesPerSecond = 6 * MIB;
    await using content = await SteadyServer.content(data);
    await using proxy = await startProxy({ target: content, faults: [{ kind: "throttle", bytesPerSecond }] });
    await using mirror = await openMirror(folder);
    const watch = new TreeWatch(treeOf(mirror, proxy), data);
    watch.start();
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(proxy));
    await initiator.event("accepted");

    let isDone = false;
    void initiator.exit.then(() => (isDone = true));
    let kills = 0;
    for (; kills < KILLS; kills++) {
      const untilBytes = sentBytes(proxy) + random.integer(0, Math.round((84 * MIB) / KILLS));
      while (!isDone && sentBytes(proxy) < untilBytes) await Bun.sleep(1);
      if (isDone) break;
      await content.stop("SIGKILL");
      // Sometimes it is away until the mirror has noticed, and sometimes no longer than it takes.
      const { length } = proxy.connections;
      // It may have had everything by then, and never notice.
      if (random.next() < 0.5) await Promise.race([proxy.connected(length + 1), initiator.exit]);
      await content.start();
    }
    const { code, events } = await initiator.finished({ timeoutMs: 120_000 });
    await watch.stop();
    expect(code).toBe(0);
    expect(events.at(-1)).toMatchObject({ type: "result", files: 302, failed: 0 });
    expect(watch.violations).toEqual([]);
    expect(watch.look().temps).toEqual([]);
    expect(await diffTrees(data, treeOf(mirror, proxy))).toEqual([]);
    // A piece or a small file of each worker, and what a dead server's answer held beyond that.
    const unfinished = WORKERS * (PIECE_BYTES + (3 / 20) * bytesPerSecond);
    const { bytes } = resultOf({ code, events, signal: null, stdout: "", stderr: "" });
    const overhead = 0.01 * bytes + (kills + 1) * 302 * 300;
    expect(sentBytes(proxy)).toBeLessThan(bytes + kills * unfinished + overhead);
  });

  test("while it lists: the list is asked for again", async () => {
    using folder = ramFolder(200 * MIB);
    makeManyFiles(folder.join("data"), { seed: 1, count: 3000, directories: 30, minBytes: 0, maxBytes: 10 });
    await using content = await SteadyServer.content(folder.join("data"));
    await using proxy = await startProxy({
      target: content,
      faults: (connection) => (connection === 0 ? [{ kind: "stall", atByte: 40_000 }] : []),
    });
    await using mirror = await openMirror(folder);
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(proxy));
    await proxy.reached("stall");
    await content.stop("SIGKILL");
    proxy.release();
    await content.start();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 3000, failed: 0 });
    expect(await diffTrees(content.directory, treeOf(mirror, proxy))).toEqual([]);
  });

  test("after a file that took longer than --patience: patience begins when the source goes", async () => {
    using folder = ramFolder(200 * MIB);
    makeLargeFile(folder.join("data/large"), { seed: 1, sizeBytes: LARGE_BYTES });
    await using content = await SteadyServer.content(folder.join("data"));
    await using proxy = await startProxy({
      target: content,
      faults: [{ kind: "throttle", bytesPerSecond: 12 * MIB }],
    });
    await using mirror = await openMirror(folder);
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(proxy), "--patience", "1s");
    await received(initiator, 18 * MIB);
    await content.stop("SIGKILL");
    const { length } = proxy.connections;
    await proxy.connected(length + 1); // the mirror has found it gone
    await content.start();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 1, failed: 0 });
  });
});

describe("a content server that stays away", () => {
  test("longer than --patience: the rest has failed, and --retry-failed brings it later", async () => {
    using folder = ramFolder(200 * MIB);
    const data = folder.join("data");
    makeManyFiles(data, { seed: 1, count: 200, directories: 5, minBytes: 1000, maxBytes: 20_000 });
    await using content = await SteadyServer.content(data);
    await using other = await SteadyServer.content(data);
    await using mirror = await openMirror(folder);
    const orders = new MirrorOrders(mirror);
    const sources = [sourceText(content, ".", 0.05), sourceText(other)];
    const initiator = orders.start("-s", sources.join(), "--patience", "1s");
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    const filesOf = (event: Record<string, unknown>): number =>
      (event["sources"] as { filesDone: number }[] | undefined)?.[0]?.filesDone ?? 0;
    await initiator.waitFor((event) => event.type === "progress" && filesOf(event) > 10, {
      what: "10 files",
    });
    await content.stop("SIGKILL");

    const first = await initiator.finished();
    expect(first.code).toBe(3);
    const result = resultOf(first);
    const [gone, fine] = result.sources;
    expect(gone).toMatchObject({ port: content.port, status: "partial" });
    expect(gone!.error).toContain("refused");
    expect(fine).toMatchObject({ port: other.port, status: "complete", files: 200 });
    expect(gone!.files).toBeGreaterThan(10);
    const items = namesBelow(data).length;
    expect(result.files + result.directories + result.failed).toBe(2 * items);
    expect(result.failures).toHaveLength(result.failed);
    expect(new Set(result.failures.map(({ port, code }) => `${port} ${code}`))).toEqual(
      new Set([`${content.port} unreachable`]),
    );
    expect(await diffTrees(data, treeOf(mirror, other))).toEqual([]);

    // Still away: nothing changes.
    const vain = await orders.ask(["--retry-failed", orderId, "--json"]);
    expect(vain.code).not.toBe(0);
    expect(resultOf(vain)).toMatchObject({ files: 0, failed: result.failed, bytesTransferred: 0 });

    await content.start();
    const again = await orders.ask(["--retry-failed", orderId, "--json"]);
    expect(again.code).toBe(0);
    expect(resultOf(again)).toMatchObject({ files: 200 - gone!.files, unchanged: 0, failed: 0 });
    expect(resultOf(again).bytes).toBe(resultOf(again).bytesTransferred);
    expect(resultOf(again).bytes + gone!.bytes).toBe(fine!.bytes);
    expect(await diffTrees(data, treeOf(mirror, content))).toEqual([]);
  });

  test("in the middle of a large file: --retry-failed goes on with what is there of it", async () => {
    using folder = ramFolder(200 * MIB);
    makeLargeFile(folder.join("data/large"), { seed: 1, sizeBytes: LARGE_BYTES });
    await using content = await SteadyServer.content(folder.join("data"));
    await using proxy = await startProxy({
      target: content,
      faults: [{ kind: "throttle", bytesPerSecond: 40 * MIB }],
    });
    await using mirror = await openMirror(folder);
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(proxy), "--patience", "0");
    await received(initiator, 5 * MIB);
    await content.stop("SIGKILL");
    const first = await initiator.finished();
    expect(first.code).not.toBe(0);
    expect(resultOf(first)).toMatchObject({ files: 0, failed: 1, failures: [{ path: "large" }] });

    await content.start();
    const again = await orders.ask(["--retry-failed", resultOf(first).orderId, "--json"]);
    expect(again.code).toBe(0);
    expect(resultOf(again)).toMatchObject({ files: 1, bytes: LARGE_BYTES });
    expect(resultOf(again).bytesTransferred).toBeLessThanOrEqual(LARGE_BYTES - 5 * MIB + PIECE_BYTES);
    expect(await diffTrees(content.directory, treeOf(mirror, proxy))).toEqual([]);
    expect(new TreeWatch(treeOf(mirror, proxy), content.directory).look().temps).toEqual([]);
  });

  test("does not keep another source of the same order waiting", async () => {
    using folder = ramFolder(200 * MIB);
    using held = new HeldSource({ a: Buffer.from("one") });
    makeManyFiles(folder.join("data"), { seed: 2, count: 400, directories: 5, minBytes: 0, maxBytes: 9000 });
    await using content = await SteadyServer.content(folder.join("data"));
    await using mirror = await openMirror(folder);
    const initiator = new MirrorOrders(mirror).start("-s", `${sourceText(held)},${sourceText(content)}`);
    await held.asked();
    held[Symbol.dispose]();
    const isOther = (event: Record<string, unknown>): boolean =>
      event["type"] === "source" && event["port"] === content.port;
    expect(await initiator.waitFor(isOther, { what: "the end of the other source" })).toMatchObject({
      status: "complete",
      files: 400,
    });
    expect(initiator.events.some(({ type }) => type === "result")).toBe(false);
  });
});
