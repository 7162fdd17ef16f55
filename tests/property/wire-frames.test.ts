import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import { FrameDecoder } from "../../src/wire/frame.ts";
import {
  CLIENT_TAKES,
  type Message,
  type MessageType,
  SERVER_TAKES,
  decodeMessage,
  limitsFor,
} from "../../src/wire/messages.ts";
import {
  PAYLOAD_LIMITS,
  arbitraryCuts,
  arbitraryMessageOf,
  arbitraryRequestId,
  cut,
} from "./arbitrary-messages.ts";
import { NAIVE_HEADER_BYTES, type NaiveFrame, naiveFrame, naiveFrames, naiveMessage } from "./naive-codec.ts";
import { runs } from "./runs.ts";

const SIDES = { server: SERVER_TAKES, client: CLIENT_TAKES } as const;
const arbitrarySide = fc.constantFrom<(keyof typeof SIDES)[]>("server", "client");

/** A stream of messages that one side takes. */
const arbitraryStream = arbitrarySide.chain((side) =>
  fc
    .array(fc.tuple(arbitraryMessageOf(SIDES[side]), arbitraryRequestId), { minLength: 1, maxLength: 12 })
    .map((messages) => ({
      side,
      stream: Buffer.concat(messages.map(([message, requestId]) => naiveMessage(message, requestId))),
    })),
);

/** Feeds the chunks one by one, each in memory that is scribbled over afterwards. */
function decodeAll(
  decoder: FrameDecoder,
  chunks: readonly Uint8Array[],
  onFrame?: (frame: NaiveFrame) => void,
): NaiveFrame[] {
  const frames: NaiveFrame[] = [];
  for (const chunk of chunks) {
    const memory = new Uint8Array(chunk);
    decoder.push(memory, (type, requestId, payload) => {
      const frame = { type, requestId, payload: Buffer.from(payload) };
      frames.push(frame);
      onFrame?.(frame);
    });
    memory.fill(0xee);
  }
  return frames;
}

describe("a stream of frames", () => {
  test("gives the same frames however it is split", () => {
    const splitStream = arbitraryStream.chain(({ side, stream }) =>
      fc.tuple(fc.constant(side), fc.constant(stream), arbitraryCuts(stream.length)),
    );
    fc.assert(
      fc.property(splitStream, ([side, stream, cuts]) => {
        const decoder = new FrameDecoder(limitsFor(SIDES[side]));
        expect(decodeAll(decoder, cut(stream, cuts))).toEqual(naiveFrames(stream).frames);
        expect(decoder.pendingBytes).toBe(0);
      }),
      runs(700),
    );
  });

  test("gives the same frames byte by byte", () => {
    fc.assert(
      fc.property(arbitraryStream, ({ side, stream }) => {
        const decoder = new FrameDecoder(limitsFor(SIDES[side]));
        const chunks = Array.from(stream, (byte) => Uint8Array.of(byte));
        expect(decodeAll(decoder, chunks)).toEqual(naiveFrames(stream).frames);
      }),
      runs(60),
    );
  });

  test("gives the same frames when every cut is at or beside the edge of a header", () => {
    fc.assert(
      fc.property(
        arbitraryStream,
        fc.infiniteStream(fc.integer({ min: 0, max: 15 })),
        ({ side, stream }, masks) => {
          const cuts: number[] = [];
          let start = 0;
          for (const { payload } of naiveFrames(stream).frames) {
            const mask: number = masks.next().value;
            const edges = [start + 1, start + NAIVE_HEADER_BYTES - 1, start + NAIVE_HEADER_BYTES, start];
            cuts.push(...edges.filter((_, bit) => (mask & (1 << bit)) !== 0));
            start += NAIVE_HEADER_BYTES + payload.length;
          }
          cuts.sort((a, b) => a - b);
          const decoder = new FrameDecoder(limitsFor(SIDES[side]));
          expect(decodeAll(decoder, cut(stream, cuts))).toEqual(naiveFrames(stream).frames);
        },
      ),
      runs(400),
    );
  });

  test("says how much of an unfinished frame it holds, wherever the stream ends", () => {
    const cutStream = arbitraryStream.chain(({ side, stream }) =>
      fc.tuple(
        fc.constant(side),
        fc.integer({ min: 0, max: stream.length }).map((end) => stream.subarray(0, end)),
      ),
    );
    fc.assert(
      fc.property(cutStream, ([side, stream]) => {
        const decoder = new FrameDecoder(limitsFor(SIDES[side]));
        decodeAll(decoder, [stream]);
        expect(decoder.pendingBytes).toBe(naiveFrames(stream).rest.length);
      }),
      runs(300),
    );
  });

  test("hands out nothing more once it is stopped, not even from the same chunk", () => {
    fc.assert(
      fc.property(arbitraryStream, fc.nat(), fc.boolean(), ({ side, stream }, at, isWhole) => {
        const all = naiveFrames(stream).frames;
        const wanted = (at % all.length) + 1;
        const decoder = new FrameDecoder(limitsFor(SIDES[side]));
        const chunks = isWhole
          ? [stream]
          : cut(
              stream,
              [10, 20, 30].filter((edge) => edge < stream.length),
            );
        let seen = 0;
        const frames = decodeAll(decoder, chunks, () => {
          if (++seen === wanted) decoder.stop();
        });
        expect(frames).toEqual(all.slice(0, wanted));
        expect(decoder.pendingBytes).toBe(0);
      }),
      runs(200),
    );
  });
});

describe("a damaged stream", () => {
  const mutation = fc.record({
    kind: fc.constantFrom("flip", "insert", "delete", "truncate", "replace"),
    at: fc.nat(),
    bit: fc.nat(7),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }),
  });

  const damaged = fc
    .tuple(arbitraryStream, fc.array(mutation, { minLength: 1, maxLength: 4 }))
    .map(([{ side, stream }, mutations]) => {
      let bytes: Buffer = Buffer.from(stream);
      for (const { kind, at, bit, bytes: extra } of mutations) {
        const position = bytes.length === 0 ? 0 : at % bytes.length;
        const before = bytes.subarray(0, position);
        if (kind === "flip" && bytes.length > 0) bytes[position]! ^= 1 << bit;
        else if (kind === "insert") bytes = Buffer.concat([before, extra, bytes.subarray(position)]);
        else if (kind === "delete") bytes = Buffer.concat([before, bytes.subarray(position + extra.length)]);
        else if (kind === "truncate") bytes = Buffer.from(before);
        else if (kind === "replace")
          bytes = Buffer.concat([before, extra, bytes.subarray(position + extra.length)]);
      }
      return { side, original: stream, bytes };
    });

  /** Decodes frames and messages; what ends it is a DrayError that blames the peer, or nothing does. */
  function takeAll(side: keyof typeof SIDES, chunks: readonly Uint8Array[]): NaiveFrame[] {
    const decoder = new FrameDecoder(limitsFor(SIDES[side]));
    const frames: NaiveFrame[] = [];
    let arrivedBytes = 0;
    try {
      for (const chunk of chunks) {
        arrivedBytes += chunk.length;
        decodeAll(decoder, [chunk], (frame) => {
          frames.push(frame);
          decodeMessage(frame.type, frame.payload);
        });
        expect(decoder.pendingBytes).toBeLessThanOrEqual(arrivedBytes);
      }
    } catch (error) {
      expect(error).toBeInstanceOf(DrayError);
      expect(["protocol", "integrity"]).toContain((error as DrayError).code);
    }
    return frames;
  }

  test("ends in an error that blames the peer and nothing else", () => {
    fc.assert(
      fc.property(damaged, fc.array(fc.nat(5000), { maxLength: 6 }), ({ side, bytes }, cuts) => {
        const edges = cuts.filter((edge) => edge <= bytes.length).sort((a, b) => a - b);
        takeAll(side, cut(bytes, edges));
      }),
      runs(2500),
    );
  });

  test("that is garbage ends in an error that blames the peer and nothing else", () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      // Plausible headers with nonsense behind them.
      fc
        .tuple(fc.nat(40), arbitraryRequestId, fc.uint8Array({ maxLength: 60 }), fc.nat(100))
        .map(([type, requestId, payload, payloadBytes]) =>
          naiveFrame(type, requestId, payload, { payloadBytes }),
        ),
    );
    fc.assert(
      fc.property(arbitrarySide, fc.array(garbage, { maxLength: 5 }), (side, parts) => {
        takeAll(side, parts);
      }),
      runs(2500),
    );
  });

  test("with one flipped bit never gives a frame that was not sent", () => {
    fc.assert(
      fc.property(arbitraryStream, fc.nat(), fc.nat(7), ({ side, stream }, at, bit) => {
        const bytes = Buffer.from(stream);
        bytes[at % bytes.length]! ^= 1 << bit;
        const original = naiveFrames(stream).frames;
        const taken = takeAll(side, [bytes]);
        expect(taken).toEqual(original.slice(0, taken.length));
        expect(taken.length).toBeLessThan(original.length);
      }),
      runs(1000),
    );
  });
});

describe("a header", () => {
  const cases = Object.entries(SIDES).flatMap(([side, types]) => types.map((type) => ({ side, type })));

  test.each(cases)("of $type over its limit is refused by the $side with its last byte", ({ side, type }) => {
    const limitBytes = PAYLOAD_LIMITS[type];
    const headerOf = (payloadBytes: number): Uint8Array => {
      const [frame] = naiveFrames(naiveMessage(ONE_OF_EACH[type], 1)).frames;
      return naiveFrame(frame!.type, 1, new Uint8Array(0), { payloadBytes });
    };
    for (const isSplit of [false, true]) {
      const decoder = new FrameDecoder(limitsFor(SIDES[side as keyof typeof SIDES]));
      const header = headerOf(limitBytes + 1);
      const push = (bytes: Uint8Array): void => decoder.push(bytes, () => {});
      if (isSplit) for (const byte of header.subarray(0, -1)) push(Uint8Array.of(byte));
      expect(() => push(isSplit ? header.subarray(-1) : header)).toThrow(/over the limit/);
    }
    const decoder = new FrameDecoder(limitsFor(SIDES[side as keyof typeof SIDES]));
    if (limitBytes > 0) decoder.push(headerOf(limitBytes), () => {});
    expect(decoder.pendingBytes).toBe(limitBytes > 0 ? NAIVE_HEADER_BYTES : 0);
  });

  test("with flags or reserved bits, or of a type that this side does not take, is refused at once", () => {
    const takenBy = (side: keyof typeof SIDES): number[] =>
      SIDES[side].map((type) => naiveFrames(naiveMessage(ONE_OF_EACH[type], 0)).frames[0]!.type);
    for (const side of ["server", "client"] as const) {
      for (let type = 0; type < 256; type++) {
        const decoder = new FrameDecoder(limitsFor(SIDES[side]));
        const push = (): void =>
          decoder.push(naiveFrame(type, 0, new Uint8Array(0), { payloadBytes: 4 }), () => {});
        if (!takenBy(side).includes(type)) expect(push).toThrow(/no place here/);
      }
    }
    for (const odd of [{ flags: 1 }, { flags: 128 }, { reserved: 1 }, { reserved: 0x8000 }]) {
      const decoder = new FrameDecoder(limitsFor(SERVER_TAKES));
      expect(() => decoder.push(naiveFrame(4, 0, new Uint8Array(0), odd), () => {})).toThrow(DrayError);
    }
  });
});

const none = new Uint8Array(0);
const ONE_OF_EACH: Record<MessageType, Message> = {
  hello: { type: "hello", versionMin: 1, versionMax: 1, capabilities: 0, token: none, agent: "" },
  welcome: { type: "welcome", version: 1, capabilities: 0, maxRequests: 1, agent: "" },
  error: { type: "error", code: "busy", retryAfterMs: 0, message: "" },
  ping: { type: "ping" },
  pong: { type: "pong" },
  list: { type: "list", credit: 0, path: "." },
  more: { type: "more", credit: 0 },
  entries: { type: "entries", entries: [] },
  listed: { type: "listed", files: 0, directories: 0, others: 0 },
  fetch: { type: "fetch", offset: 0, length: 0, delayMs: 0, digest: "xxh3", path: "." },
  file: { type: "file", size: 0, mtimeUs: 0, mode: 0, offset: 0, length: 0 },
  data: { type: "data", payload: none },
  end: { type: "end", length: 0, chain: none },
  sums: { type: "sums", pieceBytes: 4096, digest: "xxh3", path: "." },
  digests: { type: "digests", payload: none },
  recall: { type: "recall", pieceBytes: 4096, digest: "xxh3", path: "." },
  order: { type: "order", json: "" },
  event: { type: "event", json: "" },
  put: { type: "put", path: "a", size: 0, mtimeUs: 0, mode: 0, digest: "xxh3", eager: true },
  ready: { type: "ready", offset: 0 },
  done: { type: "done", count: 1 },
  remove: { type: "remove", path: "a" },
  rename: { type: "rename", from: "a", to: "b" },
  cache: { type: "cache" },
  cached: { type: "cached", entries: [] },
};
