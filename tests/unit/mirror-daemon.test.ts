import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { asDrayError } from "../../src/errors/dray-error.ts";
import { giveOrder } from "../../src/mirror/give-order.ts";
import { MirrorDaemon, type MirrorSettings } from "../../src/mirror/mirror-daemon.ts";
import { THREAD_URL } from "../../src/thread-url.ts";
import type { ListEntry } from "../../src/wire/entries.ts";
import type { Message } from "../../src/wire/messages.ts";
import type { OrderEvent, OrderResult, OrderSource } from "../../src/wire/order.ts";
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

async function order(...sources: (FakeServer | OrderSource)[]): Promise<Followed> {
  const events: OrderEvent[] = [];
  const result = await giveOrder(
    { host: "127.0.0.1", port: daemon!.port },
    { sources: sources.map((one) => ("peers" in one ? of(one) : one)) },
    { agent: "test/1", timeoutMs: 5_000 },
    (event) => events.push(event),
  );
  return { result, events };
}

const of = (server: FakeServer, changes: Partial<OrderSource> = {}): OrderSource => ({
  host: "127.0.0.1",
  port: server.port,
  path: ".",
  delayMs: 0,
  ...changes,
});

const contentsOf = (path: string): Buffer => Buffer.from(`the contents of ${path}`);
const entry = (path: string, changes: Partial<ListEntry> = {}): ListEntry => ({
  kind: "file",
  path,
  size: contentsOf(path).length,
  mtimeUs: 0,
  mode: 0o644,
  ...changes,
});

interface Script {
  entries: ListEntry[];
  /** What ends the list; by default right counts. */
  end?: Message;
  fetch?: (peer: RawPeer, requestId: number, path: string) => boolean;
}

/** A source that lists whatever it is told to, true or not, and serves every file that is asked for. */
function source({ entries, end, fetch }: Script): FakeServer & { asked: string[] } {
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
  });
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
    "fails the order clearly, and the daemon lives on (durability %s)",
    async (durability) => {
      const small = smallFileSystem(4 * 1024 * 1024);
      if (small === undefined) return;
      cleanUp.push(() => small[Symbol.dispose]());
      await start({ mirrorDirectory: small.path, durability });
      const server = source({ entries: Array.from({ length: 100 }, (_, index) => entry(`f${index}`)) });
      const filler = fs.openSync(small.join("filler"), "w");
      try {
        for (;;) fs.writeSync(filler, new Uint8Array(4096));
      } catch {
        fs.closeSync(filler);
      }
      const outcome = await order(server).then(
        ({ result }) => result.failures.map(({ code }) => code),
        (error: unknown) => [asDrayError(error).code],
      );
      expect(new Set(outcome)).toEqual(new Set(["no-space"]));
      fs.unlinkSync(small.join("filler"));
      const { result } = await order(server);
      expect([result.files, result.sources[0]!.status]).toEqual([100, "complete"]);
      expect(filesBelow(small.path).filter((path) => path.endsWith(".tmp"))).toEqual([]);
    },
  );
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
    const given = rejectionCodeOf(
      giveOrder(
        { host: "127.0.0.1", port: mirror.port },
        { sources: [of(server)] },
        { agent: "test/1", timeoutMs: 5_000 },
        () => {},
        leaving.signal,
      ),
    );
    while (!server.asked.includes("held")) await new Promise((resolve) => setImmediate(resolve));
    leaving.abort();
    expect(await given).toBe("interrupted");
    const finished = mirror.finish();
    gate.resolve();
    await finished;
    expect(filesBelow(folder.path)).toHaveLength(2);
  });

  test("that is given up by close() leaves no temp file and nothing half-done", async () => {
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
    await mirror.close();
    daemon = undefined;
    expect(await given).not.toBe("no error");
    expect(filesBelow(folder.path).filter((path) => !path.endsWith("/a"))).toEqual([]);
  });
});
