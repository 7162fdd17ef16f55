import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import { SyncDecoder } from "../../src/wire/sync-decoder.ts";
import { chunkHeadBytes, encodeSyncMessage, writeChunkHead } from "../../src/wire/sync-encoder.ts";
import type { SyncEvent } from "../../src/wire/sync-messages.ts";
import { allocationsOf } from "./allocations.ts";
import { arbitraryCuts, cut } from "./arbitrary-messages.ts";
import { type NaiveSync, naiveSyncBytes, naiveSyncMessages } from "./naive-sync-codec.ts";
import { runs } from "./runs.ts";

const HEAD_LIMIT_BYTES = 24 + 65_535;

const md5 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));
const text = fc.oneof(
  fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
  fc.constantFrom("a", "\uFEFF", "\0", "a\nb", "\u{10FFFF}", "n".repeat(65_535), "é".repeat(32_767)),
);
const rawName = fc.oneof(
  text.map((name) => Buffer.from(name)),
  fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
);
const data = fc.oneof(
  fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 0, max: 70_000 }).map((length) => Buffer.alloc(length, length)),
);
const code = fc.oneof(
  fc.integer({ min: 0, max: 0xffff }),
  fc.constantFrom(1, 2, 4, 8, 16, 32, 64, 128, 0x8000),
);

const arbitrarySync: fc.Arbitrary<NaiveSync> = fc.oneof(
  fc.record({ kind: fc.constant("chunk" as const), rawName, md5, data, missing: fc.constant(0) }),
  fc.record({ kind: fc.constantFrom("close", "abort", "delete", "request"), rawName, md5 }),
  fc.record({ kind: fc.constant("status" as const), code }),
);
const arbitraryStream = fc.array(arbitrarySync, { minLength: 1, maxLength: 8 });
const joined = (messages: readonly NaiveSync[]): Buffer => Buffer.concat(messages.map(naiveSyncBytes));

interface Decoded {
  messages: NaiveSync[];
  end: "between" | "inside" | "broken";
}

/** Puts the events together again; each piece of the stream lies in memory that is scribbled over afterwards. */
function decode(pieces: Iterable<Uint8Array>, decoder = new SyncDecoder()): Decoded {
  const messages: NaiveSync[] = [];
  let open: (NaiveSync & { kind: "chunk" }) | undefined;
  const onEvent = (event: SyncEvent): void => {
    if (event.type === "chunkData") {
      if (open === undefined) throw new Error("data outside a chunk");
      expect(event.data.length).toBeGreaterThan(0);
      open.data = Buffer.concat([open.data, event.data]);
      open.missing -= event.data.length;
    } else if (event.type === "chunkEnd") {
      expect(open?.missing).toBe(0);
      open = undefined;
    } else {
      expect(open).toBeUndefined();
      messages.push(plain(event));
      if (event.type === "chunkHead") open = messages.at(-1) as typeof open;
    }
  };
  try {
    for (const piece of pieces) {
      const memory = new Uint8Array(piece);
      decoder.push(memory, onEvent);
      memory.fill(0xee);
    }
  } catch (error) {
    expect(error).toBeInstanceOf(DrayError);
    expect((error as DrayError).code).toBe("protocol");
    return { messages, end: "broken" };
  }
  return { messages, end: decoder.isInsideMessage ? "inside" : "between" };
}

function plain(event: Exclude<SyncEvent, { type: "chunkData" | "chunkEnd" }>): NaiveSync {
  if (event.type === "status") return { kind: "status", code: event.code };
  const subject = { rawName: Buffer.from(event.rawName), md5: Buffer.from(event.md5) };
  if (event.type !== "chunkHead") return { kind: event.type, ...subject };
  return { kind: "chunk", ...subject, data: Buffer.alloc(0), missing: event.sizeBytes };
}

describe("a stream of the sync protocol", () => {
  test("comes through encoder and decoder as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(arbitrarySync, text), { minLength: 1, maxLength: 8 }), (pairs) => {
        const messages = pairs.map(([message, name]) =>
          message.kind === "status" ? message : { ...message, rawName: Buffer.from(name) },
        );
        const bytes = messages.map((message) => {
          if (message.kind === "status") return encodeSyncMessage({ type: "status", code: message.code });
          const name = message.rawName.toString();
          if (message.kind !== "chunk")
            return encodeSyncMessage({ type: message.kind, name, md5: message.md5 });
          const chunk = new Uint8Array(3 + chunkHeadBytes(name) + message.data.length);
          const dataAt = writeChunkHead(chunk, 3, name, message.md5, message.data.length);
          chunk.set(message.data, dataAt);
          return chunk.subarray(3);
        });
        const stream = Buffer.concat(bytes);
        expect(stream.equals(joined(messages))).toBe(true);
        expect(decode([stream])).toEqual({ messages, end: "between" });
      }),
      runs(300),
    );
  });

  test("gives the same messages however it is split", () => {
    const split = arbitraryStream
      .map(joined)
      .chain((stream) => fc.tuple(fc.constant(stream), arbitraryCuts(stream.length)));
    fc.assert(
      fc.property(split, ([stream, cuts]) => {
        expect(decode(cut(stream, cuts))).toEqual(naiveSyncMessages(stream));
      }),
      runs(500),
    );
  });

  test("gives the same messages at every single split and byte by byte", () => {
    const short = fc.array(arbitrarySync, { minLength: 1, maxLength: 4 }).map(joined);
    fc.assert(
      fc.property(
        short.filter((stream) => stream.length < 400),
        (stream) => {
          const whole = naiveSyncMessages(stream);
          expect(decode(Array.from(stream, (byte) => Uint8Array.of(byte)))).toEqual(whole);
          for (let at = 0; at <= stream.length; at++) expect(decode(cut(stream, [at]))).toEqual(whole);
        },
      ),
      runs(60),
    );
  });

  test("says whether it was cut off, wherever it ends", () => {
    const cutOff = arbitraryStream
      .map(joined)
      .chain((stream) => fc.integer({ min: 0, max: stream.length }).map((end) => stream.subarray(0, end)));
    fc.assert(
      fc.property(cutOff, (stream) => expect(decode([stream])).toEqual(naiveSyncMessages(stream))),
      runs(300),
    );
  });

  test("gives nothing more once the decoder is stopped, not even from the same bytes", () => {
    fc.assert(
      fc.property(arbitraryStream, fc.nat(), (messages, at) => {
        const count = (onEvent: (event: SyncEvent, seen: number) => void): number => {
          let seen = 0;
          decoder.push(joined(messages), (event) => onEvent(event, ++seen));
          return seen;
        };
        let decoder = new SyncDecoder();
        const all = count(() => {});
        const wanted = (at % all) + 1;
        decoder = new SyncDecoder();
        expect(count((_, seen) => seen === wanted && decoder.stop())).toBe(wanted);
        expect(decoder.isInsideMessage).toBe(false);
        expect(count(() => {})).toBe(0);
      }),
      runs(200),
    );
  });
});

describe("any bytes at all", () => {
  const randomBytes = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      fc.integer({ min: 0, max: 8 }).map((type) => Buffer.from([type, 0])),
      arbitrarySync.map(naiveSyncBytes),
    ),
    { maxLength: 8 },
  );
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 });

  test("are read as the plain codec reads them, or end in a breach of protocol", () => {
    const noise = fc.tuple(randomBytes, damage).map(([parts, flips]) => {
      const stream = Buffer.concat(parts);
      for (const [at, mask] of flips) if (stream.length > 0) stream[at % stream.length]! ^= mask;
      return stream;
    });
    fc.assert(
      fc.property(noise, fc.array(fc.nat(400), { maxLength: 6 }), (stream, cuts) => {
        const edges = cuts.filter((edge) => edge <= stream.length).sort((a, b) => a - b);
        expect(decode(cut(stream, edges))).toEqual(naiveSyncMessages(stream));
      }),
      runs(3000),
    );
  });

  test("are refused as soon as two of them are no type", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), (type) => {
        fc.pre(type < 1 || type > 6);
        expect(() => new SyncDecoder().push(Buffer.from([type & 255, type >> 8]), () => {})).toThrow(
          DrayError,
        );
      }),
      runs(200),
    );
  });

  test("after a breach are passed over", () => {
    const decoder = new SyncDecoder();
    expect(() => decoder.push(Buffer.from([9, 9, 2, 0, 1, 0]), () => {})).toThrow("0x0909");
    expect(decode([Buffer.from([2, 0, 1, 0])], decoder)).toEqual({ messages: [], end: "between" });
  });

  test("are never kept but for a head, nor more of that than twice what arrived", () => {
    fc.assert(
      fc.property(arbitraryStream, fc.integer({ min: 1, max: 5000 }), (messages, step) => {
        const stream = joined(messages);
        const decoder = new SyncDecoder();
        for (let at = 0; at < stream.length; at += step) {
          const sizes = allocationsOf(() => decoder.push(stream.subarray(at, at + step), () => {}));
          const limit = Math.min(HEAD_LIMIT_BYTES, Math.max(512, 2 * (at + step)));
          for (const size of sizes) expect(size).toBeLessThanOrEqual(limit);
        }
      }),
      runs(60),
    );
  });
});

test("a chunk of 4 GiB less one byte streams through in constant memory", () => {
  const sizeBytes = 0xffff_ffff;
  const head = naiveSyncBytes({
    kind: "chunk",
    rawName: Buffer.from("big"),
    md5: Buffer.alloc(16, 5),
    data: Buffer.alloc(0),
    missing: sizeBytes,
  });
  const decoder = new SyncDecoder();
  const events: SyncEvent["type"][] = [];
  let passedBytes = 0;
  const onEvent = (event: SyncEvent): void => {
    if (event.type === "chunkData") {
      expect(event.data.buffer).toBe(piece.buffer);
      passedBytes += event.data.length;
    } else events.push(event.type);
  };
  const piece = new Uint8Array(16 * 1024 * 1024);
  const sizes = allocationsOf(() => {
    decoder.push(head, onEvent);
    while (passedBytes < sizeBytes) {
      decoder.push(piece.subarray(0, Math.min(piece.length, sizeBytes - passedBytes)), onEvent);
    }
  });
  expect(events).toEqual(["chunkHead", "chunkEnd"]);
  expect(passedBytes).toBe(sizeBytes);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1024);
  expect(decoder.isInsideMessage).toBe(false);
});
