import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ContentStage, HELLO, SENT, fetch, idsOf, list, typesOf } from "../property/content-stage.ts";
import { NAIVE_HEADER_BYTES, naive, naiveFrame, naiveMessage } from "../property/naive-codec.ts";

let stage: ContentStage;
beforeEach(() => {
  stage = new ContentStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

const CODES = { protocol: 7, integrity: 5, unsupported: 11 };

function helloWith(fields: { magic?: string; min?: number; max?: number; tail?: string }): Buffer {
  const { magic = "DRAY", min = 1, max = 1, tail = "" } = fields;
  const payload = [
    Buffer.from(magic),
    naive.u16(min),
    naive.u16(max),
    naive.u32(0),
    naive.u16(0),
    naive.text("x"),
  ];
  return naiveFrame(1, 0, Buffer.concat([...payload, Buffer.from(tail)]));
}

function fetchWith(fields: { offset?: number; digest?: number }): Buffer {
  const { offset = 0, digest = 1 } = fields;
  const payload = [naive.i64(offset), naive.i64(1), naive.u32(0), naive.u8(digest), naive.text("docs/a")];
  return naiveFrame(20, 1, Buffer.concat(payload));
}

function damaged(frame: Buffer, at: number): Buffer {
  const copy = Buffer.from(frame);
  copy[at]! ^= 4;
  return copy;
}

describe("what is no conversation", () => {
  const pong = naiveMessage({ type: "pong" }, 0);
  const tooMany = Array.from({ length: 257 }, (_, id) => list(id + 1, 0));
  const cases: [string, keyof typeof CODES, Buffer[]][] = [
    ["another magic", "protocol", [helloWith({ magic: "HTTP" })]],
    ["only versions that are too new", "unsupported", [helloWith({ min: 2, max: 9 })]],
    ["only versions that are too old", "unsupported", [helloWith({ min: 0, max: 0 })]],
    ["bytes behind the HELLO's fields", "protocol", [helloWith({ tail: "x" })]],
    ["a request in place of HELLO", "protocol", [list(1)]],
    ["a request in place of HELLO, with a HELLO behind it", "protocol", [list(1), HELLO]],
    ["a second HELLO", "protocol", [HELLO, HELLO]],
    ["HTTP", "protocol", [Buffer.from("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")]],
    ["a frame of an unknown type", "protocol", [HELLO, naiveFrame(99, 1, new Uint8Array(0))]],
    ["a frame that is only for clients", "protocol", [HELLO, pong, naiveFrame(19, 1, new Uint8Array(24))]],
    ["a request with the id zero", "protocol", [HELLO, list(0)]],
    ["more than 256 requests", "protocol", [HELLO, ...tooMany]],
    ["an unknown digest", "protocol", [HELLO, fetchWith({ digest: 3 })]],
    ["a negative offset", "protocol", [HELLO, fetchWith({ offset: -1 })]],
    ["a flipped bit in a header", "integrity", [HELLO, damaged(list(1), 14)]],
    ["a flipped bit in a path", "integrity", [HELLO, damaged(fetch(1, "docs/a"), NAIVE_HEADER_BYTES + 25)]],
  ];

  test.each(cases)("%s: ERROR %s and the end of this connection, and of no other", async (_, code, bytes) => {
    const other = await stage.welcomed();
    other.send(fetch(1, "docs/a", 20));
    const peer = await stage.connect(...bytes);
    await peer.ended();
    const error = peer.frames.at(-1);
    expect([error?.type, error?.requestId]).toEqual([SENT.error, 0]);
    expect(error?.payload.readUInt16LE(0)).toBe(CODES[code]);
    expect(peer.rest.length).toBe(0);
    other.send(fetch(2, "docs/b"));
    await other.gotFrames(7);
    expect(idsOf(other)).toEqual([0, 1, 1, 1, 2, 2, 2]);
  });

  test("ends the connection even if the peer has sent more and goes on sending", async () => {
    const flood = new Uint8Array(3_000_000).fill(1);
    const peer = await stage.connect(HELLO, naiveFrame(99, 1, new Uint8Array(0)), flood);
    await peer.ended();
    expect(typesOf(peer)).toEqual([SENT.welcome, SENT.error]);
    peer.send(flood);
    peer.end();
    await peer.closed();
  });

  test("a stream that is cut inside a frame ends without an answer to it", async () => {
    const peer = await stage.connect(HELLO, list(1).subarray(0, 20));
    peer.end();
    await peer.ended();
    expect(typesOf(peer)).toEqual([SENT.welcome]);
  });
});

describe("more connections than allowed", () => {
  test("are told that the server is busy, until one leaves", async () => {
    await stage.restart({ maxConnections: 2 });
    const [first] = [await stage.welcomed(), await stage.welcomed()];
    const third = await stage.connect(HELLO);
    await third.ended();
    expect(typesOf(third)).toEqual([SENT.error]);
    expect(third.frames[0]!.payload.readUInt16LE(0)).toBe(12);
    expect(third.frames[0]!.payload.readUInt32LE(2)).toBeGreaterThan(0);
    third.end();
    await third.closed();
    first.end();
    await first.closed();
    const fourth = await stage.welcomed();
    expect(typesOf(fourth)).toEqual([SENT.welcome]);
  });

  test("do not count while they are being refused, even if they do not go away", async () => {
    await stage.restart({ maxConnections: 1 });
    const served = await stage.welcomed();
    const refused = [await stage.connect(HELLO), await stage.connect(HELLO)];
    for (const peer of refused) await peer.ended(); // and they do not end their side
    served.end();
    await served.closed();
    const next = await stage.welcomed();
    expect(typesOf(next)).toEqual([SENT.welcome]);
  });
});
