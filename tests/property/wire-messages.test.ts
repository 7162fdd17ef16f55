import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import {
  type Message,
  dataFrameOverhead,
  decodeMessage,
  encodeMessage,
  messageBytes,
  sealDataFrame,
  writeMessage,
} from "../../src/wire/messages.ts";
import { PAYLOAD_LIMITS, arbitraryMessage, arbitraryRequestId } from "./arbitrary-messages.ts";
import { NAIVE_HEADER_BYTES, naive, naiveFrame, naiveMessage } from "./naive-codec.ts";
import { runs } from "./runs.ts";

describe("every message", () => {
  test("has the bytes of the protocol document", () => {
    fc.assert(
      fc.property(arbitraryMessage, arbitraryRequestId, (message, requestId) => {
        const frame = encodeMessage(message, requestId);
        expect(Buffer.from(frame).equals(naiveMessage(message, requestId))).toBe(true);
        expect(messageBytes(message)).toBe(frame.length);
      }),
      runs(1500),
    );
  });

  test("comes back as it was from the bytes of somebody else's encoder", () => {
    fc.assert(
      fc.property(arbitraryMessage, (message) => {
        const frame = new Uint8Array(naiveMessage(message, 7));
        expect(decoded(frame)).toEqual(message);
      }),
      runs(1500),
    );
  });

  test("is written at any offset without touching the bytes around it", () => {
    fc.assert(
      fc.property(arbitraryMessage, fc.nat(50), fc.nat(50), (message, before, after) => {
        const bytes = messageBytes(message);
        const target = new Uint8Array(before + bytes + after).fill(0xa5);
        expect(writeMessage(message, 9, target, before)).toBe(before + bytes);
        const expected = Buffer.concat([
          Buffer.alloc(before, 0xa5),
          naiveMessage(message, 9),
          Buffer.alloc(after, 0xa5),
        ]);
        expect(Buffer.compare(target, expected)).toBe(0);
      }),
      runs(500),
    );
  });

  test("with lone surrogates carries the replacement character, and its length still adds up", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.integer({ min: 0xd7f0, max: 0xe00f }).map(String.fromCharCode) }),
        (text) => {
          const frame = encodeMessage({ type: "error", code: "name", retryAfterMs: 0, message: text });
          expect(decoded(frame)).toMatchObject({
            message: text.toWellFormed(),
          });
        },
      ),
      runs(300),
    );
  });

  test.each(filledToTheLimit())(
    "%s holds exactly its limit, and one byte more is the caller's fault",
    (_, fill) => {
      const full = fill(0);
      const frame = encodeMessage(full, 1);
      expect(frame.length).toBe(NAIVE_HEADER_BYTES + PAYLOAD_LIMITS[full.type]);
      expect(Buffer.compare(frame, naiveMessage(full, 1))).toBe(0);
      expect(decoded(frame)).toEqual(full);
      expect(() => encodeMessage(fill(1), 1)).toThrow(RangeError);
    },
  );
});

/** For each message of variable length: one whose payload is at its limit, plus some bytes. */
function filledToTheLimit(): [string, (extraBytes: number) => Message][] {
  const text = (bytes: number): string => "ä".repeat(Math.floor(bytes / 2)) + "x".repeat(bytes % 2);
  return [
    [
      "hello",
      (extra) => ({
        type: "hello",
        versionMin: 1,
        versionMax: 1,
        capabilities: 0,
        token: new Uint8Array(500).fill(7),
        agent: text(1024 - 16 - 500 + extra),
      }),
    ],
    [
      "welcome",
      (extra) => ({
        type: "welcome",
        version: 1,
        capabilities: 1,
        maxRequests: 9,
        agent: text(1024 - 16 + extra),
      }),
    ],
    [
      "error",
      (extra) => ({ type: "error", code: "busy", retryAfterMs: 1, message: text(16_384 - 8 + extra) }),
    ],
    ["list", (extra) => ({ type: "list", credit: 1, path: text(8192 - 6 + extra) })],
    [
      "fetch",
      (extra) => ({
        type: "fetch",
        offset: 0,
        length: 0,
        delayMs: 0,
        digest: "xxh3",
        path: text(8192 - 23 + extra),
      }),
    ],
    [
      "entries",
      (extra) => {
        const one = { kind: "file", size: 1, mtimeUs: -1, mode: 0o644, target: "" } as const;
        const half = 131_072 / 2 - 23;
        return {
          type: "entries",
          entries: [
            { ...one, path: text(half) },
            { ...one, path: text(half + extra) },
          ],
        };
      },
    ],
    ["data", (extra) => ({ type: "data", payload: new Uint8Array(32 + 1_048_576 + extra).fill(3) })],
    ["end", (extra) => ({ type: "end", length: 1, chain: new Uint8Array(32 + extra).fill(9) })],
    ["sums", (extra) => ({ type: "sums", pieceBytes: 4096, digest: "xxh3", path: text(8192 - 7 + extra) })],
    [
      "recall",
      (extra) => ({ type: "recall", pieceBytes: 4096, digest: "xxh3", path: text(8192 - 7 + extra) }),
    ],
    ["digests", (extra) => ({ type: "digests", payload: new Uint8Array(4096 + extra).fill(5) })],
    ["order", (extra) => ({ type: "order", json: text(262_144 + extra) })],
    ["event", (extra) => ({ type: "event", json: text(4_194_304 + extra) })],
    [
      "put",
      (extra) => ({
        type: "put",
        size: 262_144,
        mtimeUs: -1,
        mode: 0o644,
        digest: "sha256",
        eager: true,
        path: text(8192 - 22 + extra),
      }),
    ],
    ["remove", (extra) => ({ type: "remove", path: text(8192 - 2 + extra) })],
    ["rename", (extra) => ({ type: "rename", from: text(8190), to: text(8190 + extra) })],
    [
      "cached",
      (extra) => {
        const one = { size: 1, hits: 2, pins: 3 } as const;
        const half = 131_072 / 2 - 22;
        return {
          type: "cached",
          entries: [
            { ...one, path: text(half) },
            { ...one, path: text(half + extra) },
          ],
        };
      },
    ],
  ];
}

describe("a payload of any bytes", () => {
  const isMessageOrBreach = (frameType: number, payload: Uint8Array): void => {
    let message: Message;
    try {
      message = decodeMessage(frameType, payload);
    } catch (error) {
      expect(error).toBeInstanceOf(DrayError);
      expect((error as DrayError).code).toBe("protocol");
      return;
    }
    // Whatever is taken means exactly these bytes: nothing is skipped, nothing is read twice.
    if (message.type === "error") return; // codes of newer peers read as "refused"
    if (payload.length > PAYLOAD_LIMITS[message.type]) return; // the decoder of frames refuses those
    expect(Buffer.compare(encodeMessage(message, 0), naiveFrame(frameType, 0, payload))).toBe(0);
  };

  test("is one message, or a breach of protocol", () => {
    fc.assert(fc.property(fc.nat(40), fc.uint8Array({ maxLength: 80 }), isMessageOrBreach), runs(4000));
  });

  test("that was a message before it was damaged is another one, or a breach of protocol", () => {
    const damaged = fc
      .tuple(arbitraryMessage, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(2))
      .map(([message, at, byte, how]) => {
        const frame = naiveMessage(message, 0);
        const payload = frame.subarray(NAIVE_HEADER_BYTES);
        const position = payload.length === 0 ? 0 : at % payload.length;
        const rest = payload.subarray(position + (how === 0 ? 0 : 1));
        const inserted = how === 2 ? [] : [byte];
        return [
          frame[TYPE_AT]!,
          Buffer.concat([payload.subarray(0, position), Buffer.from(inserted), rest]),
        ] as const;
      });
    fc.assert(
      fc.property(damaged, ([frameType, payload]) => isMessageOrBreach(frameType, payload)),
      runs(2000),
    );
  });
});

describe("a PUT", () => {
  const flagsAt = 8 + 8 + 2 + 1;

  test("of more than 262,144 bytes that are to follow at once is a breach of protocol", () => {
    const put = { type: "put", path: "a", mtimeUs: 0, mode: 0, digest: "xxh3", eager: true } as const;
    const most = new Uint8Array(naiveMessage({ ...put, size: 262_144 }, 1));
    expect(decoded(most)).toMatchObject({ size: 262_144, eager: true });
    const over = new Uint8Array(naiveMessage({ ...put, size: 262_145 }, 1));
    expect(() => decoded(over)).toThrow("over the limit of 262144");
  });

  test("with a flag that nobody knows is a breach of protocol", () => {
    const put = { type: "put", path: "a", size: 1, mtimeUs: 0, mode: 0, digest: "xxh3" } as const;
    const frame = new Uint8Array(naiveMessage({ ...put, eager: true }, 1));
    for (let bit = 1; bit < 8; bit++) {
      frame[NAIVE_HEADER_BYTES + flagsAt] = 1 << bit;
      expect(() => decoded(frame)).toThrow("unknown flags");
    }
  });
});

describe("sealDataFrame", () => {
  test("is the DATA message around the piece, with either digest, at any offset", () => {
    const piece = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 3000 }),
      fc.constantFrom(65_536, 262_144, 1_048_576).map((bytes) => new Uint8Array(bytes).fill(bytes)),
    );
    fc.assert(
      fc.property(
        piece,
        fc.constantFrom("xxh3", "sha256"),
        arbitraryRequestId,
        fc.nat(99),
        (piece, kind, id, at) => {
          const digest =
            kind === "sha256"
              ? createHash("sha256").update(piece).digest()
              : naive.i64(asSigned(Bun.hash.xxHash3(piece)));
          const expected = naiveMessage({ type: "data", payload: Buffer.concat([digest, piece]) }, id);
          const target = new Uint8Array(at + expected.length + 1).fill(0xa5);
          expect(dataFrameOverhead(kind)).toBe(NAIVE_HEADER_BYTES + digest.length);
          target.set(piece, at + dataFrameOverhead(kind));
          const sealed = sealDataFrame(target, at, id, kind, piece.length);
          expect(Buffer.compare(sealed, digest)).toBe(0);
          expect(Buffer.compare(target.subarray(at, -1), expected)).toBe(0);
          expect([...target.subarray(0, at), target.at(-1)].every((byte) => byte === 0xa5)).toBe(true);
        },
      ),
      runs(200),
    );
  });
});

const TYPE_AT = 8;

function decoded(frame: Uint8Array): Message {
  return decodeMessage(frame[TYPE_AT]!, frame.subarray(NAIVE_HEADER_BYTES));
}

function asSigned(unsigned: bigint): bigint {
  return BigInt.asIntN(64, unsigned);
}
