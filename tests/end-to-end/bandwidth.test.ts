import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { BandwidthSource, mostWithin, STALLS_AFTER_BYTES } from "../support/bandwidth-source.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import type { Program } from "../support/program.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { fileSha256 } from "../support/file-sha256.ts";
import { seededRandom } from "../support/random.ts";

setDefaultTimeout(30_000);

const MIB = 1024 * 1024;
/** What may come at once beyond the rate, in seconds of it (src/mirror/bandwidth.ts, BURST_S), and a clock's play. */
const BURST_S = 0.2;
const PLAY_S = 0.1;

/**
 * Waits until nine tenths of a rate have been reached over a span of time, which takes longer where the machine is busy with
 * something else; nowhere may it have been more.
 */
async function expectRate(
  sources: readonly BandwidthSource[],
  bytesPerSecond: number,
  spanS: number,
): Promise<void> {
  await sources[0]!.sends(1);
  const first = sources.map(({ sent }) => sent.length);
  const most = (): number => {
    const since = sources.flatMap(({ sent }, index) => sent.slice(first[index]));
    return mostWithin(
      since.sort((a, b) => a.atMs - b.atMs),
      spanS * 1000,
    );
  };
  await sources[0]!.source.until(
    () => (most() > 0.9 * bytesPerSecond * spanS ? true : undefined),
    `${spanS} s at nine tenths of ${bytesPerSecond} bytes a second`,
    { timeoutMs: 20_000 },
  );
  expect(most()).toBeLessThanOrEqual(bytesPerSecond * (spanS + BURST_S + PLAY_S));
}

/** Waits until the limit is told to be so. */
async function limit(stage: Stage, whose: string, rate: string): Promise<void> {
  const { code, events, stderr } = await new MirrorOrders({ port: stage.mirrorPort }).ask([
    "--limit",
    whose,
    "--bandwidth",
    rate,
    "--json",
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(events.at(-1)).toMatchObject({ type: "limited" });
}

async function idOf(order: Program): Promise<string> {
  const accepted = await order.waitFor(({ type }) => type === "accepted", { what: "an order's id" });
  return accepted["orderId"] as string;
}

describe("--bandwidth of the mirror", () => {
  test("holds two sources together to it, over 5 s within 10 per cent, and shares it", async () => {
    const rate = 2 * MIB;
    const large = new Uint8Array(16 * MIB);
    const small = Object.fromEntries(
      Array.from({ length: 3_000 }, (_, index) => [`${index}`, new Uint8Array(3_000)]),
    );
    using one = new BandwidthSource({ large });
    using two = new BandwidthSource(small);
    await using stage = await Stage.open({ flags: ["--bandwidth", "2MiB", "--grace", "0"] });
    stage.startOrder([sourceText(one), sourceText(two)]);
    await two.sends(1);
    // A small file's frames are charged with it, and they are some per cent of it.
    await expectRate([one, two], rate, 5);
    const all = [...one.sent, ...two.sent].sort((a, b) => a.atMs - b.atMs);
    expect(mostWithin(all, 1_000)).toBeLessThanOrEqual(rate * (1 + BURST_S + PLAY_S));
    expect(two.bytes / one.bytes).toBeGreaterThan(0.7);
    expect(two.bytes / one.bytes).toBeLessThan(1.3);
  });

  test("is changed while orders run: set, lowered, raised, lifted; and what comes is whole", async () => {
    const contents = new Uint8Array(8 * MIB);
    seededRandom(7).fill(contents);
    using source = new BandwidthSource({ large: contents, later: contents });
    await using stage = await Stage.open({ flags: ["--bandwidth", "100KiB"] });
    const order = stage.startOrder([sourceText(source)]);
    await source.sends(1);
    await limit(stage, "all", "2MiB");
    await expectRate([source], 2 * MIB, 2);
    await limit(stage, "all", "64KiB");
    await expectRate([source], 64 * 1024, 3);
    await limit(stage, "all", "unlimited");
    const finished = await order.finished();
    expect(resultOf(finished)).toMatchObject({ files: 2, failed: 0, bytesTransferred: 2 * contents.length });
    for (const name of ["large", "later"]) {
      expect(await fileSha256(`${stage.treeOf(source)}/${name}`)).toBe(
        new Bun.CryptoHasher("sha256").update(contents).digest("hex"),
      );
    }
  });
});

describe("--bandwidth of an order", () => {
  test("holds each of its sources to it, and slows no other", async () => {
    const rate = 256 * 1024;
    const files = Object.fromEntries(
      Array.from({ length: 400 }, (_, index) => [`${index}`, new Uint8Array(100_000)]),
    );
    using slow = new BandwidthSource(files);
    using slowToo = new BandwidthSource({ large: new Uint8Array(16 * MIB) });
    using fast = new BandwidthSource(files);
    await using stage = await Stage.open({ flags: ["-w", "6", "--grace", "0"] });
    stage.startOrder([sourceText(slow), sourceText(slowToo)], ["--bandwidth", "256KiB"]);
    await slow.sends(1);
    const { result } = await stage.order([sourceText(fast)]);
    expect(result).toMatchObject({ files: 400, bytesTransferred: 40_000_000 });
    await expectRate([slow], rate, 3);
    for (const { sent } of [slow, slowToo]) {
      expect(mostWithin(sent, 3_000)).toBeLessThanOrEqual(rate * (3 + BURST_S + PLAY_S));
      expect(mostWithin(sent, 3_000)).toBeGreaterThan(rate * 3 * 0.9);
    }
  });

  test("is changed live, is listed, and survives a killed mirror", async () => {
    const rate = 500 * 1024;
    using source = new BandwidthSource({ large: new Uint8Array(32 * MIB) });
    await using stage = await Stage.open({ flags: ["--bandwidth", "4MiB"] });
    const order = stage.startOrder([sourceText(source)]);
    const orderId = await idOf(order);
    await source.sends(MIB);
    await limit(stage, orderId, "500KiB");
    await expectRate([source], rate, 2);
    const orders = new MirrorOrders({ port: stage.mirrorPort });
    expect(await orders.list()).toMatchObject([{ orderId, state: "running", bytesPerSecond: rate }]);

    await stage.mirror.stop("SIGKILL");
    await stage.startMirror(["--grace", "0"]); // without a limit of its own
    await expectRate([source], rate, 2);
    await limit(stage, orderId, "0");
    const followed = await new MirrorOrders({ port: stage.mirrorPort }).ask(["--follow", orderId, "--json"]);
    expect(resultOf(followed)).toMatchObject({ files: 1, bytes: 32 * MIB, failed: 0 });
  });

  test.each([false, true])(
    "breaks off what was begun without one, and goes on with it (read back: %p)",
    async (readBack) => {
      const contents = new Uint8Array(4 * MIB);
      seededRandom(8).fill(contents);
      using source = new BandwidthSource({ large: contents }, true);
      await using stage = await Stage.open({ flags: readBack ? ["--verify-written"] : [] });
      const order = stage.startOrder([sourceText(source)]);
      const orderId = await idOf(order);
      await order.waitFor((event) => event["bytesTransferred"] === STALLS_AFTER_BYTES, {
        what: "all that comes without a limit",
      });
      await limit(stage, orderId, "2MiB");
      expect(resultOf(await order.finished())).toMatchObject({ files: 1, failed: 0 });
      expect(source.fetches[1]!.offset).toBe(readBack ? 0 : STALLS_AFTER_BYTES);
      expect(await fileSha256(`${stage.treeOf(source)}/large`)).toBe(
        new Bun.CryptoHasher("sha256").update(contents).digest("hex"),
      );
    },
  );

  test("holds for an order that waits for its next run, and whose mirror is started again", async () => {
    await using stage = await Stage.open({});
    const content = await stage.content("source", (directory) => Bun.write(`${directory}/file`, "contents"));
    const { result } = await stage.order([sourceText(content)], {
      flags: ["--every", "1h", "--bandwidth", "1MiB"],
    });
    const listed = (): Promise<unknown> => new MirrorOrders({ port: stage.mirrorPort }).list();
    const { orderId } = result;
    expect(await listed()).toMatchObject([{ orderId, state: "waiting", bytesPerSecond: MIB }]);
    await limit(stage, orderId, "2MiB");
    await stage.mirror.stop();
    await stage.startMirror();
    expect(await listed()).toMatchObject([{ orderId, state: "waiting", bytesPerSecond: 2 * MIB }]);
  });

  test("holds no worker for an order that is cancelled", async () => {
    using source = new BandwidthSource({ large: new Uint8Array(16 * MIB) });
    await using stage = await Stage.open({ flags: ["-w", "1"] });
    const orderId = await idOf(stage.startOrder([sourceText(source)], ["--bandwidth", "16KiB"]));
    await source.sends(1);
    const { code } = await new MirrorOrders({ port: stage.mirrorPort }).ask(["--cancel", orderId]);
    expect(code).toBe(0);
    const content = await stage.content("other", (directory) => Bun.write(`${directory}/file`, "contents"));
    expect((await stage.order([sourceText(content)])).result).toMatchObject({ files: 1 });
  });

  test("cannot be changed where there is no such order", async () => {
    await using stage = await Stage.open({});
    const asked = ["--limit", "0af1", "--bandwidth", "1MiB"];
    const { code, stderr } = await new MirrorOrders({ port: stage.mirrorPort }).ask(asked);
    expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringContaining("no order 0af1") });
  });
});
