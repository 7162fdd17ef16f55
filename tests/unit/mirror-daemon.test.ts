import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { askMirror } from "../../src/mirror/ask-mirror.ts";
import { MirrorDaemon, type MirrorSettings } from "../../src/mirror/mirror-daemon.ts";
import { THREAD_URL } from "../../src/thread-url.ts";
import type { ListEntry } from "../../src/wire/entries.ts";
import type { Message } from "../../src/wire/messages.ts";
import type { OrderEvent, OrderRequest, OrderResult, OrderSource } from "../../src/wire/order.ts";
import { rejectionCodeOf } from "../property/error-code.ts";
import { naiveFileAnswer, naiveMessage } from "../property/naive-codec.ts";
import { type FakeServer, type RawPeer, fakeServer } from "../property/raw-peer.ts";
import { type TempFolder, smallFileSystem, tempFolder } from "../support/temp.ts";

const HELLO = 1;
const LIST = 16;
const FETCH = 20;

let folder: TempFolder;
let daemon: MirrorDaemon | undefined;
const cleanUp: (() => void)[] = [];

beforeEach(() => {
  folder = tempFolder();
});
afterEach(async () => {
  await daemon?.close();
  daemon = undefined;
  for (const end of cleanUp.splice(0).reverse()) end();
  folder[Symbol.dispose]();
});

async function start(changes: Partial<MirrorSettings> = {}): Promise<MirrorDaemon> {
  const settings: MirrorSettings = {
    address: "127.0.0.1",
    port: 0,
    maxConnections: 10,
    mirrorDirectory: folder.path,
    workers: 4,
    threads: 1,
    threadUrl: THREAD_URL,
    queueSize: 100,
    durability: "none",
    verifyWritten: false,
    digest: "xxh3",
    exportPort: undefined,
    keepTrashMs: 86_400_000,
    agent: "test/1",
    ...changes,
  };
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  daemon = await MirrorDaemon.start(settings, log, (error) => {
    throw error;
  });
  return daemon;
}

interface Followed {
  result: OrderResult;
  events: OrderEvent[];
}

async function order(...given: (FakeServer | OrderSource)[]): Promise<Followed> {
  return orderWith({}, ...given);
}

async function orderWith(
  terms: Partial<OrderRequest>,
  ...given: (FakeServer | OrderSource)[]
): Promise<Followed> {
  const events: OrderEvent[] = [];
  await follow(
    requestOf(
      given.map((one) => ("peers" in one ? of(one) : one)),
      terms,
    ),
    (event) => events.push(event),
  );
  return { result: events.at(-1) as OrderResult, events };
}

const requestOf = (sources: OrderSource[], terms: Partial<OrderRequest> = {}): OrderRequest => ({
  sources,
  attempts: 3,
  patienceMs: 0,
  include: [],
  exclude: [],
  ...terms,
});

/** Gives an order and resolves with its last event. */
function follow(
  request: OrderRequest,
  event: (event: OrderEvent) => void,
  signal: AbortSignal = new AbortController().signal,
): Promise<OrderEvent> {
  const mirror = { host: "127.0.0.1", port: daemon!.port };
  return askMirror(
    mirror,
    { do: "give", order: request },
    { agent: "test/1", timeoutMs: 5_000 },
    event,
    signal,
  );
}

const of = (server: FakeServer, changes: Partial<OrderSource> = {}): OrderSource => ({
  host: "127.0.0.1",
  port: server.port,
  path: ".",
  delayMs: 0,
  ...changes,
});

const contentsOf = (path: string): Buffer<ArrayBuffer> => Buffer.from(`the contents of ${path}`);
const entry = (path: string, changes: Partial<ListEntry> = {}): ListEntry => ({
  kind: "file",
  path,
  size: contentsOf(path).length,
  mtimeUs: 0,
  mode: 0o644,
  target: "",
  ...changes,
});

interface Script {
  entries: ListEntry[];
  /** What ends the list; by default right counts. */
  end?: Message;
  fetch?: (peer: RawPeer, requestId: number, path: string) => boolean;
}

/** A source that lists whatever it is told to, true or not, and serves every file that is asked for. */
function source({ entries, end, fetch }: Script, port = 0): FakeServer & { asked: string[] } {
  const asked: string[] = [];
  const server = fakeServer((peer, { type, requestId, payload }) => {
    if (type === HELLO)
      peer.send(
        naiveMessage({ type: "welcome", version: 1, capabilities: 1, maxRequests: 256, agent: "fake" }, 0),
      );
    if (type === LIST) {
      const count = (...kinds: string[]): number => entries.filter(({ kind }) => kinds.includes(kind)).length;
      const [files, directories] = [count("file"), count("directory")];
      const batches: Buffer[] = [];
      for (let at = 0; at < entries.length; at += 20) {
        batches.push(naiveMessage({ type: "entries", entries: entries.slice(at, at + 20) }, requestId));
      }
      const listed = end ?? {
        type: "listed",
        files,
        directories,
        others: entries.length - files - directories,
      };
      creditOf.set(peer, {
        left: payload.readUInt32LE(0),
        batches: [...batches, naiveMessage(listed, requestId)],
      });
      goOn(peer);
    }
    if (type === 17) {
      creditOf.get(peer)!.left += payload.readUInt32LE(0);
      goOn(peer);
    }
    if (type !== FETCH) return;
    const path = payload.toString("utf8", 23);
    asked.push(path);
    if (fetch?.(peer, requestId, path) !== true) peer.send(naiveFileAnswer(requestId, contentsOf(path)));
  }, port);
  cleanUp.push(() => server[Symbol.dispose]());
  return Object.assign(server, { asked });
}

const creditOf = new Map<RawPeer, { left: number; batches: Buffer[] }>();

function goOn(peer: RawPeer): void {
  const state = creditOf.get(peer)!;
  while (state.batches.length > 1 && state.left > 0) {
    peer.send(state.batches.shift()!);
    state.left--;
  }
  if (state.batches.length === 1) peer.send(state.batches.shift()!);
}

function filesBelow(directory: string): string[] {
  const entries = fs.readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.parentPath.includes("/.dray"))
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(directory.length + 1))
    .sort();
}

describe("a source that lists what it should not", () => {
  test("gets nothing of that written: every name is a failure, and the others arrive", async () => {
    await start();
    const hostile = [
      "../outside",
      "a/../../outside",
      "/etc/dray-was-here",
      "a//b",
      "./a",
      "a/",
      "..",
      ".",
      "",
      "nul\0byte",
      "x".repeat(256),
      "a/.dray-abc-1.tmp",
    ];
    const server = source({
      entries: [entry("good"), ...hostile.map((path) => entry(path)), entry("docs/good")],
    });
    const { result } = await order(server);
    expect(result.failures.map(({ path, code }) => [path, code])).toEqual(
      hostile.map((path) => [path, "name"]),
    );
    expect([result.files, result.failed, result.sources[0]!.status]).toEqual([2, hostile.length, "partial"]);
    expect(server.asked.sort()).toEqual(["docs/good", "good"]);
    expect(filesBelow(folder.path)).toEqual([
      `127.0.0.1_${server.port}/docs/good`,
      `127.0.0.1_${server.port}/good`,
    ]);
    expect(fs.existsSync("/etc/dray-was-here")).toBe(false);
  });

  test("or what it was not asked for", async () => {
    await start();
    const server = source({
      entries: [entry("docs/a"), entry("docs2/b"), entry("other"), entry("docs", { kind: "directory" })],
    });
    const { result } = await order(of(server, { path: "docs" }));
    expect(result.failures.map(({ path }) => path)).toEqual(["docs2/b", "other"]);
    expect(result.files).toBe(1);
  });

  test("or files and directories of the same name", async () => {
    await start();
    const server = source({ entries: [entry("a"), entry("a/b"), entry("c/d"), entry("c"), entry("e")] });
    const { result } = await order(server);
    expect(result.sources[0]!.status).toBe("partial");
    expect(filesBelow(folder.path)).toContain(`127.0.0.1_${server.port}/e`);
    expect(result.files + result.failed).toBe(5);
  });
});

describe("a list that is not complete", () => {
  test.each([
    ["counts wrongly", { end: { type: "listed", files: 99, directories: 0, others: 0 } }],
    [
      "ends in an error",
      { end: { type: "error", code: "storage", retryAfterMs: 0, message: "the disk failed" } },
    ],
  ] as [string, Partial<Script>][])(
    "because it %s never makes a complete source; what it listed arrives",
    async (_, script) => {
      await start();
      const server = source({ entries: [entry("a"), entry("b")], ...script });
      const { result } = await order(server);
      expect(result.sources[0]!.status).toBe("partial");
      expect(result.sources[0]!.error).toBeString();
      expect(filesBelow(folder.path)).toHaveLength(2);
    },
  );
});

describe("a disk that is full", () => {
  test.each(["batch", "strict", "none"] as const)(
    "parks the order, says so, and goes on by itself when there is room (durability %s)",
    async (durability) => {
      const small = smallFileSystem(4 * 1024 * 1024);
      if (small === undefined) return;
      cleanUp.push(() => small[Symbol.dispose]());
      await start({ mirrorDirectory: small.path, durability });
      let fill = (): void => {
        const filler = fs.openSync(small.join("filler"), "w");
        try {
          for (;;) fs.writeSync(filler, new Uint8Array(4096));
        } catch {
          fs.closeSync(filler);
        }
        fill = () => {};
      };
      const server = source({
        entries: Array.from({ length: 100 }, (_, index) => entry(`f${index}`)),
        // While the order runs: one that cannot be kept at all is not accepted.
        fetch: () => {
          fill();
          return false;
        },
      });
      const events: OrderEvent[] = [];
      const result = await follow(requestOf([of(server)]), (event) => {
        events.push(event);
        if (event.type === "parked") fs.unlinkSync(small.join("filler"));
      });
      expect(events.filter(({ type }) => type === "parked")).toMatchObject([{ code: "no-space" }]);
      expect(events.filter(({ type }) => type === "resumed")).toHaveLength(1);
      expect(result).toMatchObject({ files: 100, failed: 0, sources: [{ status: "complete" }] });
      expect(filesBelow(small.path).filter((path) => path.endsWith(".tmp"))).toEqual([]);
    },
    30_000,
  );

  test("refuses an order that it cannot keep, and the daemon lives on", async () => {
    const small = smallFileSystem(4 * 1024 * 1024);
    if (small === undefined) return;
    cleanUp.push(() => small[Symbol.dispose]());
    await start({ mirrorDirectory: small.path });
    const server = source({ entries: [entry("a")] });
    const filler = fs.openSync(small.join("filler"), "w");
    try {
      for (;;) fs.writeSync(filler, new Uint8Array(4096));
    } catch {
      fs.closeSync(filler);
    }
    const include = Array.from({ length: 256 }, (_, index) => `${index}`.padEnd(1000, "x"));
    expect(await rejectionCodeOf(orderWith({ include }, server))).toBe("no-space");
    fs.unlinkSync(small.join("filler"));
    const { result } = await order(server);
    expect([result.files, result.sources[0]!.status]).toEqual([1, "complete"]);
  });
});

/** An answer that the client takes for an error of this request alone. */
const failure = (code: "changed" | "not-found", requestId: number): Buffer =>
  naiveMessage({ type: "error", code, retryAfterMs: 0, message: `it is ${code}` }, requestId);

describe("a source that fails", () => {
  const codes = ({ failures }: OrderResult): string[][] => failures.map(({ path, code }) => [path, code]);

  test("is asked again for what may pass, and taken at its word where it will not", async () => {
    await start();
    const times = (path: string): number => server.asked.filter((one) => one === path).length;
    const server = source({
      entries: ["good", "changing", "missing", "always changing"].map((path) => entry(path)),
      fetch: (peer, requestId, path) => {
        const isChanging = path === "always changing" || (path === "changing" && times(path) < 3);
        if (path !== "missing" && !isChanging) return false;
        peer.send(failure(isChanging ? "changed" : "not-found", requestId));
        return true;
      },
    });
    const { result, events } = await orderWith({ attempts: 3 }, server);
    expect(Object.fromEntries(codes(result))).toEqual({ "always changing": "changed", missing: "not-found" });
    expect([result.files, result.failed, result.sources[0]!.status]).toEqual([2, 2, "partial"]);
    expect(["good", "changing", "missing", "always changing"].map(times)).toEqual([1, 3, 1, 3]);
    expect(events.filter(({ type }) => type === "failure")).toHaveLength(2);
    expect(filesBelow(folder.path).map((path) => path.split("/").at(-1))).toEqual(["changing", "good"]);
  });

  test("by losing connections over one file is left with that file alone: the others arrive", async () => {
    await start();
    const server = source({
      entries: ["first", "second", "deadly", "third", "fourth", "fifth"].map((path) => entry(path)),
      fetch: (peer, requestId, path) => {
        if (path !== "deadly") return false;
        peer.send(naiveFileAnswer(requestId, contentsOf(path)).subarray(0, 60));
        peer.end();
        return true;
      },
    });
    const { result } = await orderWith({ attempts: 3, patienceMs: 60_000 }, server);
    expect(codes(result)).toEqual([["deadly", "closed"]]);
    expect([result.files, result.sources[0]!.error]).toEqual([5, undefined]);
    expect(server.asked.filter((path) => path === "deadly").length).toBeLessThanOrEqual(3);
  });

  test("by damaging bytes on the way is asked again, and nothing damaged is kept", async () => {
    await start();
    let damaged = 0;
    const server = source({
      entries: ["a", "b", "c"].map((path) => entry(path)),
      fetch: (peer, requestId, path) => {
        if (path !== "b" || damaged++ > 0) return false;
        const answer = naiveFileAnswer(requestId, contentsOf(path));
        answer[answer.length - 30]! ^= 1;
        peer.send(answer);
        return true;
      },
    });
    const { result } = await order(server);
    expect([result.files, result.failed, result.sources[0]!.status]).toEqual([3, 0, "complete"]);
    expect(fs.readFileSync(folder.join(`127.0.0.1_${server.port}/b`))).toEqual(contentsOf("b"));
  });

  test("by taking every connection and answering nothing on it is given up when the patience ends", async () => {
    await start();
    const server = source({
      entries: Array.from({ length: 20 }, (_, index) => entry(`f${index}`)),
      fetch: (peer) => {
        peer.terminate();
        return true;
      },
    });
    const { result } = await orderWith({ patienceMs: 0, attempts: 100 }, server);
    expect(new Set(codes(result).map(([, code]) => code))).toEqual(new Set(["closed"]));
    expect([result.failed, result.sources[0]!.status]).toEqual([20, "unreachable"]);
    expect(server.peers.length).toBeLessThan(30);
    expect(filesBelow(folder.path)).toEqual([]);
  });

  test("by going away for good fails all that it owes, and is named unreachable", async () => {
    await start({ workers: 1 });
    const server = source({
      entries: Array.from({ length: 20 }, (_, index) => entry(`f${index}`)),
      fetch: () => {
        server[Symbol.dispose]();
        return true;
      },
    });
    const { result } = await orderWith({ patienceMs: 0, attempts: 1 }, server);
    expect(result.failed).toBe(20);
    expect(new Set(codes(result).map(([, code]) => code))).toContain("unreachable");
    expect(result.sources[0]).toMatchObject({ status: "unreachable", error: expect.any(String) });
  });

  test("by going away for a while is waited for, and in the end complete", async () => {
    await start({ workers: 2 });
    const script: Script = {
      entries: Array.from({ length: 20 }, (_, index) => entry(`f${index}`)),
      fetch: (_, __, path) => {
        if (path !== "f9" || isBack) return false;
        server[Symbol.dispose]();
        return true;
      },
    };
    let isBack = false;
    const server = source(script);
    const given = orderWith({ patienceMs: 60_000, attempts: 3 }, server);
    while (!server.asked.includes("f9")) await new Promise((resolve) => setImmediate(resolve));
    isBack = true;
    const back = source(script, server.port);
    const { result } = await given;
    expect([result.files, result.failed, result.sources[0]!.status]).toEqual([20, 0, "complete"]);
    expect(back.asked).toContain("f9");
  });
});

describe("an order", () => {
  test("with more and longer failures than a message holds still ends with its result", async () => {
    await start();
    const bad = Array.from({ length: 2000 }, (_, index) => entry(`../${index}${"\u0001".repeat(4000)}`));
    const { result, events } = await order(source({ entries: [entry("good"), ...bad] }));
    expect([result.files, result.failed]).toEqual([1, 2000]);
    expect(events.at(-1)?.type).toBe("result");
  });

  test("is finished in fair turns with another one that came first", async () => {
    await start({ workers: 2 });
    const many = source({ entries: Array.from({ length: 2000 }, (_, index) => entry(`m/${index}`)) });
    const few = source({ entries: [entry("one"), entry("two")] });
    const ended: string[] = [];
    const first = order(many).then(() => ended.push("many"));
    while (many.asked.length < 300) await new Promise((resolve) => setImmediate(resolve));
    const second = order(few).then(() => ended.push("few"));
    await Promise.all([first, second]);
    expect(ended).toEqual(["few", "many"]);
  });

  test("goes on without the initiator, and finish() waits for it", async () => {
    const mirror = await start();
    const gate = Promise.withResolvers<void>();
    const server = source({
      entries: [entry("a"), entry("held")],
      fetch: (peer, requestId, path) => {
        if (path !== "held") return false;
        void gate.promise.then(() => peer.send(naiveFileAnswer(requestId, contentsOf(path))));
        return true;
      },
    });
    const leaving = new AbortController();
    const given = rejectionCodeOf(follow(requestOf([of(server)]), () => {}, leaving.signal));
    while (!server.asked.includes("held")) await new Promise((resolve) => setImmediate(resolve));
    leaving.abort();
    expect(await given).toBe("interrupted");
    const finished = mirror.finish();
    gate.resolve();
    await finished;
    expect(filesBelow(folder.path)).toHaveLength(2);
  });

  test("that is parked by close() leaves nothing half-done, only a part that can be gone on with", async () => {
    const mirror = await start();
    const asked = Promise.withResolvers<void>();
    const server = source({
      entries: [entry("a"), entry("half")],
      fetch: (peer, requestId, path) => {
        if (path !== "half") return false;
        peer.send(naiveFileAnswer(requestId, new Uint8Array(2_000_000)).subarray(0, 900_000));
        asked.resolve();
        return true;
      },
    });
    const given = rejectionCodeOf(order(server));
    await asked.promise;
    void mirror.finish(); // does not end: the order has not, when close() is called
    await mirror.close();
    daemon = undefined;
    expect(await given).not.toBe("no error");
    for (const path of filesBelow(folder.path)) expect(path).toMatch(/\/(a|\.dray-part[0-9a-z]+-0\.tmp)$/);
  });
});
