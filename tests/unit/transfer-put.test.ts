import { afterEach, describe, expect, test } from "bun:test";
import { DrayError, asDrayError } from "../../src/errors/dray-error.ts";
import { Client } from "../../src/transfer/client.ts";
import type { Message } from "../../src/wire/messages.ts";
import { type NaiveFrame, naiveMessage } from "../property/naive-codec.ts";
import { type FakeServer, type RawPeer, fakeServer } from "../property/raw-peer.ts";
import { putBytes } from "../support/put-bytes.ts";

const HELLO = 1;
const DATA = 22;
const END = 23;
const PUT = 40;

let server: FakeServer | undefined;
let client: Client | undefined;
afterEach(() => {
  client?.close();
  server?.[Symbol.dispose]();
});

type Answer = (peer: RawPeer, frame: NaiveFrame) => void;

/** A client of a server that shakes hands, and then says what it is told to. */
async function connectTo(answer: Answer): Promise<Client> {
  const capabilities = 8;
  server = fakeServer((peer, frame) => {
    if (frame.type !== HELLO) return answer(peer, frame);
    peer.send(
      naiveMessage({ type: "welcome", version: 1, capabilities, maxRequests: 256, agent: "fake" }, 0),
    );
  });
  client = await Client.connect(
    { host: "127.0.0.1", port: server.port },
    { agent: "test", timeoutMs: 5_000 },
  );
  return client;
}

const say = (peer: RawPeer, message: Message, requestId: number): void =>
  peer.send(naiveMessage(message, requestId));
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: unknown) => asDrayError(error).code,
  );
const framesOf = (type: number): NaiveFrame[] =>
  server!.peers[0]!.frames.filter((frame) => frame.type === type);
const small = new Uint8Array(1000).fill(1);
const large = new Uint8Array(30_000_000).fill(2);

describe("a PUT", () => {
  test("of small files is sent with its body at once, any number of them without an answer", async () => {
    const to = await connectTo(() => {});
    const puts = Array.from({ length: 100 }, (_, index) => codeOf(putBytes(to, `f${index}`, small, 1)));
    const peer = server!.peers[0]!;
    await peer.gotFrames(1 + 300);
    expect(peer.frames.slice(1).map(({ type }) => type)).toEqual(
      Array.from({ length: 100 }, () => [PUT, DATA, END]).flat(),
    );
    for (const { requestId } of framesOf(PUT)) say(peer, { type: "done", count: 1 }, requestId);
    expect(new Set(await Promise.all(puts))).toEqual(new Set(["none"]));
  });

  test("of a large file waits for READY, and goes on from its offset", async () => {
    const to = await connectTo((peer, { type, requestId }) => {
      if (type === PUT) say(peer, { type: "ready", offset: 29_000_000 }, requestId);
      if (type === END) say(peer, { type: "done", count: 1 }, requestId);
    });
    let sentBytes = 0;
    expect(await putBytes(to, "f", large, 1, (bytes) => (sentBytes += bytes))).toBe(29_000_000);
    expect(sentBytes).toBe(1_000_000);
    expect(framesOf(DATA).reduce((sum, { payload }) => sum + payload.length - 8, 0)).toBe(1_000_000);
  });

  test("that is refused while it is sent stops soon, says END, and the next one follows", async () => {
    const to = await connectTo((peer, { type, requestId }) => {
      const count = framesOf(DATA).length;
      if (type === PUT && requestId === 1) say(peer, { type: "ready", offset: 0 }, requestId);
      if (type === DATA && count === 3)
        say(peer, { type: "error", code: "no-space", retryAfterMs: 0, message: "full" }, requestId);
      if (type === END && requestId === 2) say(peer, { type: "done", count: 1 }, requestId);
    });
    const refused = codeOf(putBytes(to, "f", large, 1));
    const next = putBytes(to, "g", small, 1);
    expect(await refused).toBe("no-space");
    await next;
    expect(framesOf(END).map(({ requestId }) => requestId)).toEqual([1, 2]);
    expect(framesOf(DATA).filter(({ requestId }) => requestId === 1).length).toBeLessThan(115);
  });

  test("that is refused before READY says END and sends nothing", async () => {
    const to = await connectTo((peer, { type, requestId }) => {
      if (type === PUT)
        say(peer, { type: "error", code: "refused", retryAfterMs: 0, message: "not yours" }, requestId);
    });
    expect(await codeOf(putBytes(to, "f", large, 1))).toBe("refused");
    await server!.peers[0]!.gotFrames(3);
    expect(server!.peers[0]!.frames.map(({ type }) => type)).toEqual([HELLO, PUT, END]);
  });

  test("of a file that changes while it is read says an END that cannot be taken for whole", async () => {
    const to = await connectTo((peer, { type, requestId }) => {
      if (type === PUT) say(peer, { type: "ready", offset: 0 }, requestId);
      if (type === END)
        say(peer, { type: "error", code: "integrity", retryAfterMs: 0, message: "?" }, requestId);
    });
    const request = {
      path: "f",
      size: 1_000_000,
      mtimeUs: 1,
      mode: 0,
      digest: "xxh3",
      eager: false,
    } as const;
    for (const failing of ["readFully", "assertUnchanged"] as const) {
      const source = { readFully: (): void => {}, assertUnchanged: (): void => {} };
      source[failing] = () => {
        throw new DrayError("changed", "somebody wrote to it");
      };
      expect(await codeOf(to.put(request, source, () => {}))).toBe("changed");
    }
    for (const { payload } of framesOf(END)) expect(Number(payload.readBigInt64LE(0))).toBe(1_000_001);
  });

  test("whose server takes nothing is not read into memory", async () => {
    const to = await connectTo((peer, { type, requestId }) => {
      if (type !== PUT) return;
      say(peer, { type: "ready", offset: 0 }, requestId);
      peer.pause();
    });
    let sentBytes = 0;
    const huge = new Uint8Array(200_000_000);
    const put = codeOf(putBytes(to, "f", huge, 1, (bytes) => (sentBytes += bytes)));
    let before = -1;
    while (sentBytes === 0 || sentBytes !== before) {
      before = sentBytes;
      await Bun.sleep(100);
    }
    // What the system holds for the two sockets, and one turn of ours.
    expect(sentBytes).toBeLessThan(50_000_000);
    to.close();
    expect(await put).toBe("interrupted");
  });
});

describe("a server that answers a PUT with", () => {
  test.each<[string, Message[]]>([
    ["READY behind the end of the file", [{ type: "ready", offset: large.length + 1 }]],
    ["LISTED", [{ type: "listed", files: 0, directories: 0, others: 0 }]],
    ["FILE", [{ type: "file", size: 1, mtimeUs: 1, mode: 0, offset: 0, length: 1 }]],
    [
      "READY twice",
      [
        { type: "ready", offset: 0 },
        { type: "ready", offset: 0 },
      ],
    ],
  ])("%s is not believed", async (_, answers) => {
    const to = await connectTo((peer, { type, requestId }) => {
      if (type === PUT) for (const answer of answers) say(peer, answer, requestId);
    });
    expect(await codeOf(putBytes(to, "f", large, 1))).toBe("protocol");
  });

  test("READY to a small file that has been sent already is not believed either", async () => {
    const to = await connectTo((peer, { type, requestId }) => {
      if (type === END) say(peer, { type: "ready", offset: 0 }, requestId);
    });
    expect(await codeOf(putBytes(to, "f", small, 1))).toBe("protocol");
  });
});
