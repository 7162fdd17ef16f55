import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import {
  ContentStage,
  HELLO,
  PING,
  SENT,
  fetch,
  gotType,
  list,
  more,
  settled,
  typesOf,
} from "../property/content-stage.ts";
import { type RawPeer, rawClient } from "../property/raw-peer.ts";
import { rejectionCodeOf } from "../property/error-code.ts";
import { makeLargeFile } from "../support/tree.ts";

let stage: ContentStage;
beforeEach(() => {
  stage = new ContentStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

const { welcome, error, listed, data, end } = SENT;

/** From here on the clock of the process is ahead, and `to` sets how far; timers run as ever. */
function skip(aheadMs: number): Disposable & { to(aheadMs: number): void } {
  let ahead = aheadMs;
  const now = performance.now.bind(performance);
  const clock = spyOn(performance, "now").mockImplementation(() => now() + ahead);
  return {
    to: (laterMs) => {
      ahead = laterMs;
    },
    [Symbol.dispose]: () => clock.mockRestore(),
  };
}

/** From here on timers of a second and more end soon; the clock runs as ever. */
function hurry(): Disposable {
  const start = globalThis.setTimeout;
  const timers = spyOn(globalThis, "setTimeout").mockImplementation(((callback: () => void, delayMs = 0) =>
    start(callback, delayMs >= 1_000 ? 10 : delayMs)) as typeof setTimeout);
  return { [Symbol.dispose]: () => timers.mockRestore() };
}

describe("a client that does not read", () => {
  test("costs the server no more than its buffers, and holds up nobody", async () => {
    makeLargeFile(stage.folder.join("large"), { seed: 5, sizeBytes: 16_000_000, sparse: true });
    const greedy = await stage.welcomed();
    const beforeBytes = process.memoryUsage.rss();
    greedy.pause();
    greedy.send(...Array.from({ length: 200 }, (_, index) => fetch(index + 1, "large"))); // 3.2 GB
    const other = await stage.welcomed();
    for (let id = 1; id <= 20; id++) {
      other.send(fetch(id, "docs/a"));
      await other.gotFrames(1 + 3 * id);
    }
    expect(process.memoryUsage.rss() - beforeBytes).toBeLessThan(64_000_000);
    expect(greedy.receivedBytes).toBeLessThan(32_000_000);
  });

  test("but asks and asks for PONG costs nothing either, and holds up nobody", async () => {
    const flooding = await stage.welcomed();
    const other = await stage.welcomed();
    const beforeBytes = process.memoryUsage.rss();
    flooding.pause();
    const block = Buffer.concat(Array.from({ length: 10_000 }, () => PING));
    for (let round = 1; round <= 100; round++) {
      flooding.send(block); // 16 MB in all
      other.send(fetch(round, "docs/a"));
      await other.gotFrames(1 + 3 * round, 10_000);
    }
    expect(process.memoryUsage.rss() - beforeBytes).toBeLessThan(100_000_000);
  });
});

describe("a client that does not do its part", () => {
  test("is ended: no HELLO, though it sends something else", async () => {
    const peer = await stage.connect(HELLO.subarray(0, 5));
    const good = await stage.welcomed();
    using _ = skip(11_000);
    await peer.ended();
    expect(typesOf(peer)).toEqual([]);
    expect(good.isEnded).toBe(false);
  });

  /** Has asked for a large file and takes nothing more of it. */
  async function stalledPeer(): Promise<RawPeer> {
    makeLargeFile(stage.folder.join("large"), { seed: 7, sizeBytes: 100_000_000, sparse: true });
    const stalled = await stage.welcomed();
    stalled.pause();
    stalled.send(fetch(1, "large"));
    // By the time of another's answer the server has sent what the system takes.
    expect(await settled(await stage.welcomed())).toEqual([welcome]);
    return stalled;
  }

  test("is ended: takes nothing of what waits for it for a minute, and says nothing", async () => {
    const stalled = await stalledPeer();
    using _ = skip(61_000);
    await stalled.closed();
    expect(typesOf(stalled)).not.toContain(end);
  });

  test("is ended: takes nothing of what waits for it for ten minutes, though it goes on sending", async () => {
    const stalled = await stalledPeer();
    using clock = skip(50_000);
    stalled.send(PING);
    const witness = await stage.connect();
    expect(await settled(await stage.welcomed())).toEqual([welcome]);
    clock.to(61_000);
    await witness.ended(); // so the server has looked at all of them
    expect(stage.debugs.filter((message) => message.includes("too slow"))).toEqual([]);
    clock.to(601_000);
    stalled.send(PING);
    await stalled.closed();
    expect(stage.debugs.filter((message) => message.includes("too slow"))).toHaveLength(1);
    expect(typesOf(stalled)).not.toContain(end);
  });

  test("is ended: sends a message byte by byte", async () => {
    const peer = await stage.welcomed();
    peer.send(list(1).subarray(0, 5));
    expect(await settled(await stage.welcomed())).toEqual([welcome]);
    using _ = skip(61_000);
    await peer.ended();
    expect(typesOf(peer)).toEqual([welcome]);
  });

  test("is ended: says HELLO byte by byte, however lively", async () => {
    const peer = await stage.connect(HELLO.subarray(0, 5));
    using _ = skip(10_500);
    peer.send(HELLO.subarray(5, 6));
    await peer.ended();
    expect(typesOf(peer)).toEqual([]);
  });

  test("is ended: nothing to do and nothing said for five minutes, unless it waits for us", async () => {
    const idle = await stage.welcomed();
    const waiting = await stage.welcomed();
    waiting.send(fetch(1, "docs/a", 3_600_000));
    expect(await settled(waiting)).toEqual([welcome]);
    using _ = skip(301_000);
    await idle.ended();
    expect(await settled(waiting)).toEqual([welcome]);
  });
});

describe("a list that waits for credit that does not come", () => {
  test("ends with its client's side: no MORE can come any more", async () => {
    const peer = await stage.connect(HELLO, list(1, 0));
    expect(await settled(peer)).toEqual([welcome]);
    peer.end();
    await peer.ended(5_000);
  });

  test("is ended when its client has not said a word for a minute, and goes on when it has", async () => {
    const silent = await stage.connect(HELLO, list(1, 0));
    const slow = await stage.connect(HELLO, list(1, 0));
    expect([await settled(silent), await settled(slow)]).toEqual([[welcome], [welcome]]);
    using _ = skip(61_000);
    slow.send(PING);
    await silent.ended(5_000);
    expect(await settled(slow)).toEqual([welcome]);
    slow.send(more(1, 10));
    await gotType(slow, listed);
  });
});

describe("stop", () => {
  test("lets running answers finish, turns new requests down, and resolves", async () => {
    makeLargeFile(stage.folder.join("large"), { seed: 6, sizeBytes: 40_000_000, sparse: true });
    const peer = await stage.welcomed();
    const idle = await stage.welcomed();
    peer.send(fetch(1, "large"), fetch(2, "docs/a", 100));
    await gotType(peer, data);
    peer.pause();
    const stopped = stage.server.stop();
    await idle.ended();
    peer.send(fetch(3, "docs/b"));
    peer.resume();
    await peer.ended();
    const last = new Map(peer.frames.map(({ type, requestId }) => [requestId, type]));
    expect([last.get(1), last.get(2), last.get(3)]).toEqual([end, end, error]);
    peer.end();
    idle.end();
    await stopped;
    expect(await rejectionCodeOf(rawClient(stage.server.port))).not.toBe("no error");
  });

  test("resolves at once without connections, and soon with clients that never close", async () => {
    await stage.restart({});
    const peer = await stage.welcomed();
    using _ = hurry();
    const stopped = stage.server.stop();
    await stopped;
    expect(peer.isEnded || peer.isClosed).toBe(true); // the server does not wait for ever
  });
});
