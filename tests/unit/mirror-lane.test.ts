import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import type { Job, JobItem, LaneSettings, Outcome } from "../../src/mirror/job.ts";
import { Lane } from "../../src/mirror/lane.ts";
import { naiveFileAnswer, naiveMessage } from "../property/naive-codec.ts";
import { type FakeServer, type RawPeer, fakeServer } from "../property/raw-peer.ts";
import { type TempFolder, smallFileSystem, tempFolder } from "../support/temp.ts";

const HELLO = 1;
const FETCH = 20;

let folder: TempFolder;
let lane: Lane;
const cleanUp: (() => void)[] = [];

beforeEach(() => {
  folder = tempFolder();
  lane = new Lane(settingsFor(folder.path));
});
afterEach(() => {
  lane.stop();
  for (const end of cleanUp.splice(0).reverse()) end();
  folder[Symbol.dispose]();
});

function settingsFor(mirrorDirectory: string): LaneSettings {
  return {
    mirrorDirectory,
    agent: "test/1",
    digest: "xxh3",
    isStrict: false,
    verifyWritten: true,
    distrusted: undefined,
  };
}

interface Asked {
  peer: RawPeer;
  requestId: number;
  path: string;
  offset: number;
  /** How often this path was asked for, this time included. */
  times: number;
}

const contentsOf = (path: string): Buffer<ArrayBuffer> => Buffer.from(`the contents of ${path}`);

/** A source that answers each FETCH as told; without an answer of its own, as it should be. */
function source(
  answer: (asked: Asked) => Buffer | "nothing" | undefined = () => undefined,
): FakeServer & { asked: string[] } {
  const asked: string[] = [];
  const server = fakeServer((peer, frame) => {
    if (frame.type === HELLO) {
      const welcome = {
        type: "welcome",
        version: 1,
        capabilities: 1,
        maxRequests: 256,
        agent: "fake/1",
      } as const;
      return peer.send(naiveMessage(welcome, 0));
    }
    if (frame.type !== FETCH) return;
    const path = frame.payload.toString("utf8", 23);
    asked.push(path);
    const times = asked.filter((one) => one === path).length;
    const offset = Number(frame.payload.readBigUInt64LE(0));
    const own = answer({ peer, requestId: frame.requestId, path, offset, times });
    if (own !== "nothing") peer.send(own ?? naiveFileAnswer(frame.requestId, contentsOf(path)));
  });
  cleanUp.push(() => server[Symbol.dispose]());
  return Object.assign(server, { asked });
}

const file = (path: string): JobItem => ({
  kind: "file",
  path,
  sizeBytes: contentsOf(path).length,
  mtimeUs: 0,
  mode: 0o644,
  target: "",
});

function jobFor(server: FakeServer, items: JobItem[], jobId = 1): Job {
  return {
    jobId,
    lane: 0,
    host: "127.0.0.1",
    port: server.port,
    delayMs: 0,
    sourceDirectory: "src_1",
    items,
    mode: { checksum: false, verify: false, dryRun: false, prunes: false },
    isNew: false,
    isMetered: false,
  };
}

const error = (code: "changed" | "not-found" | "busy", requestId: number, retryAfterMs = 0): Buffer =>
  naiveMessage({ type: "error", code, retryAfterMs, message: `it is ${code}` }, requestId);

const kinds = (outcomes: readonly Outcome[]): string[] =>
  outcomes.map((outcome) => (outcome.kind === "failed" ? outcome.code : outcome.kind));
const all = (): string[] =>
  fs
    .readdirSync(folder.path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort();

describe("a lane", () => {
  test("fetches a job's files over one connection, all asked for at once, and says what became of each", async () => {
    const waiting: Asked[] = [];
    const server = source((asked) => {
      waiting.push(asked);
      if (waiting.length === 5)
        for (const { requestId, path } of waiting)
          asked.peer.send(naiveFileAnswer(requestId, contentsOf(path)));
      return "nothing";
    });
    const items = ["a", "b", "docs/c", "docs/deep/d", "e"].map(file);
    const done = await lane.run(jobFor(server, [...items, { ...file("empty"), kind: "directory" }]));
    expect(kinds(done.outcomes)).toEqual([...items.map(() => "fetched"), "directory"]);
    for (const { path } of items)
      expect(fs.readFileSync(folder.join("src_1", path))).toEqual(contentsOf(path));
    expect(fs.statSync(folder.join("src_1/empty")).isDirectory()).toBe(true);
    expect(done.receivedBytes).toBe(items.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    expect(server.peers).toHaveLength(1);
  });

  test("asks for nothing that is there already", async () => {
    const server = source();
    await lane.run(jobFor(server, [file("a"), file("b")]));
    const again = await lane.run(jobFor(server, [file("a"), file("b"), file("c")], 2));
    expect(kinds(again.outcomes)).toEqual(["unchanged", "unchanged", "fetched"]);
    expect(server.asked).toEqual(["a", "b", "c"]);
    expect(server.peers).toHaveLength(1);
  });

  test("tries each file once, and says whether trying again can help", async () => {
    const server = source(({ requestId, path }) => {
      if (path === "changing") return error("changed", requestId);
      return path === "missing" ? error("not-found", requestId) : undefined;
    });
    const done = await lane.run(jobFor(server, ["good", "changing", "missing", "last"].map(file)));
    expect(kinds(done.outcomes)).toEqual(["fetched", "changed", "not-found", "fetched"]);
    expect(done.outcomes.slice(1, 3)).toMatchObject([{ mayPass: true }, { mayPass: false }]);
    expect(server.asked).toEqual(["good", "changing", "missing", "last"]);
    expect(done.connection).toEqual({ state: "kept" });
    expect(all()).toEqual(["good", "last"]);
  });

  test("of a lost connection blames the file that was under way, and returns what was behind it", async () => {
    const server = source(({ peer, requestId, path }) => {
      if (path !== "deadly") return undefined;
      peer.send(naiveFileAnswer(requestId, contentsOf(path)).subarray(0, 60));
      peer.end();
      return "nothing";
    });
    const items = ["first", "second", "deadly", "third", "fourth", "fifth"].map(file);
    const done = await lane.run(jobFor(server, items));
    expect(kinds(done.outcomes)).toEqual([
      "fetched",
      "fetched",
      "closed",
      "returned",
      "returned",
      "returned",
    ]);
    expect(done.outcomes[2]).toMatchObject({ mayPass: true });
    expect(done.connection).toMatchObject({ state: "lost", code: "closed" });
    expect(all()).toEqual(["first", "second"]);
    // The next job goes on over a connection of its own.
    const next = await lane.run(jobFor(server, ["third", "fourth", "fifth"].map(file), 2));
    expect(kinds(next.outcomes)).toEqual(["fetched", "fetched", "fetched"]);
    expect(next.connection).toEqual({ state: "kept" });
    expect(all()).toEqual(["fifth", "first", "fourth", "second", "third"]);
  });

  test("takes no damaged byte, and says that what was flipped on the way can be asked for again", async () => {
    const server = source(({ requestId, path, times }) => {
      const answer = naiveFileAnswer(requestId, contentsOf(path));
      if (path === "b" && times === 1) answer[answer.length - 30]! ^= 1;
      return answer;
    });
    const done = await lane.run(jobFor(server, ["a", "b", "c"].map(file)));
    expect(kinds(done.outcomes)).toEqual(["fetched", "integrity", "returned"]);
    expect(done.outcomes[1]).toMatchObject({ mayPass: true });
    expect(all()).toEqual(["a"]);
    const again = await lane.run(jobFor(server, ["b", "c"].map(file), 2));
    expect(kinds(again.outcomes)).toEqual(["fetched", "fetched"]);
    expect(fs.readFileSync(folder.join("src_1/b"))).toEqual(contentsOf("b"));
  });

  test("says that a source takes the connection and answers nothing on it", async () => {
    const server = source(({ peer }) => {
      peer.terminate();
      return "nothing";
    });
    const items = Array.from({ length: 20 }, (_, index) => file(`f${index}`));
    const done = await lane.run(jobFor(server, items));
    expect(kinds(done.outcomes)).toEqual(["closed", ...items.slice(1).map(() => "returned")]);
    expect(done.connection).toMatchObject({ state: "lost", code: "closed" });
    expect(server.peers).toHaveLength(1);
    expect(all()).toEqual([]);
  });

  test("says that a source is unreachable, and blames none of its files", async () => {
    const server = source();
    server[Symbol.dispose]();
    const done = await lane.run(jobFor(server, [file("a"), file("b")]));
    expect(kinds(done.outcomes)).toEqual(["returned", "returned"]);
    expect(done.connection).toMatchObject({ state: "unreachable", code: "unreachable" });
  });

  test("goes from one source to another, and closes the first one's connection", async () => {
    const [one, two] = [source(), source()];
    await lane.run(jobFor(one, [file("a")]));
    await lane.run({ ...jobFor(two, [file("a")], 2), sourceDirectory: "src_2" });
    await one.peers[0]!.ended();
    expect([fs.existsSync(folder.join("src_1/a")), fs.existsSync(folder.join("src_2/a"))]).toEqual([
      true,
      true,
    ]);
  });

  test("works on the next job while one is running, over the same connection", async () => {
    const held: Asked[] = [];
    const server = source((asked) => {
      if (asked.path !== "slow") return undefined;
      held.push(asked);
      return "nothing";
    });
    const first = lane.run(jobFor(server, [file("slow")]));
    const second = lane.run(jobFor(server, [file("slow2")], 2));
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const { peer, requestId } = held[0]!;
    peer.send(naiveFileAnswer(requestId, contentsOf("slow")));
    expect(kinds((await first).outcomes)).toEqual(["fetched"]);
    expect(kinds((await second).outcomes)).toEqual(["fetched"]);
    expect(server.peers).toHaveLength(1);
  });

  test("that is stopped ends what is under way, leaves nothing half-done, and dials no more", async () => {
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const server = source(({ peer, requestId, path }) => {
      if (path === "retried") return error("changed", requestId, 50);
      peer.send(naiveFileAnswer(requestId, new Uint8Array(200_000)).subarray(0, 100_000));
      resolve();
      return "nothing";
    });
    const running = lane.run(jobFor(server, [file("retried"), file("half")]));
    await asked;
    await new Promise((done) => setImmediate(done));
    lane.stop();
    const done = await running;
    expect(done.outcomes.some(({ kind }) => kind === "fetched")).toBe(false);
    expect(all()).toEqual([]);
    expect(server.peers).toHaveLength(1);
    const late = await lane.run(jobFor(server, [file("late")], 2));
    expect(kinds(late.outcomes)).toEqual(["returned"]);
    expect(late.connection).toMatchObject({ state: "unreachable", code: "interrupted" });
    expect(server.peers).toHaveLength(1);
  });

  test("leaves what came of a large file, and goes on with it in its next job", async () => {
    const large = new Uint8Array(1_000_000).map((_, index) => index * 13);
    const asked: number[] = [];
    const server = source(({ peer, requestId, offset }) => {
      asked.push(offset);
      if (asked.length > 1) return naiveFileAnswer(requestId, large.subarray(offset), { offset });
      peer.send(naiveFileAnswer(requestId, large, { pieceBytes: 100_000 }).subarray(0, 640_000));
      peer.end();
      return "nothing";
    });
    const resumingLane = new Lane({ ...settingsFor(folder.path), verifyWritten: false });
    cleanUp.push(() => resumingLane.stop());
    const item = { ...file("large"), sizeBytes: large.length };
    const first = await resumingLane.run(jobFor(server, [item]));
    expect(first.outcomes).toMatchObject([{ kind: "failed", code: "closed", mayPass: true }]);
    expect(all()).toEqual([expect.stringMatching(/^\.dray-part[0-9a-z]+-0\.tmp$/)]);
    const second = await resumingLane.run(jobFor(server, [item], 2));
    expect(kinds(second.outcomes)).toEqual(["fetched"]);
    expect(asked).toEqual([0, 600_000]);
    expect([first.receivedBytes, second.receivedBytes]).toEqual([600_000, 400_000]);
    expect(all()).toEqual(["large"]);
    expect(Buffer.compare(fs.readFileSync(folder.join("src_1/large")), large)).toBe(0);
  });

  test("whose disk gets full says so, returns what was behind it, and gives the room back", async () => {
    using small = smallFileSystem(2 * 1024 * 1024);
    if (small === undefined) return;
    const large = new Uint8Array(5_000_000).fill(7);
    const server = source(({ requestId, path }) =>
      path === "large" ? naiveFileAnswer(requestId, large) : undefined,
    );
    for (const verifyWritten of [false, true]) {
      const smallLane = new Lane({ ...settingsFor(small.path), verifyWritten });
      cleanUp.push(() => smallLane.stop());
      // The file is larger than it was listed.
      const done = await smallLane.run(jobFor(server, ["a", "large", "b", "c"].map(file)));
      expect(kinds(done.outcomes)).toEqual(["fetched", "full", "returned", "returned"]);
      expect(fs.readdirSync(small.join("src_1"))).toEqual(["a"]);
      const next = await smallLane.run(jobFor(server, ["b", "c"].map(file), 2));
      expect(kinds(next.outcomes)).toEqual(["fetched", "fetched"]);
      fs.rmSync(small.join("src_1"), { recursive: true });
    }
  });

  test("that cannot make one directory fails what belongs there, and nothing else", async () => {
    fs.mkdirSync(folder.join("src_1"));
    fs.writeFileSync(folder.join("src_1/taken"), "a file of ours");
    const server = source();
    const items = [{ ...file("taken"), kind: "directory" as const }, file("taken/x"), file("good/x")];
    const done = await lane.run(jobFor(server, items));
    expect(kinds(done.outcomes)).toEqual(["refused", "refused", "fetched"]);
    expect(fs.readFileSync(folder.join("src_1/taken"), "utf8")).toBe("a file of ours");
  });
});
