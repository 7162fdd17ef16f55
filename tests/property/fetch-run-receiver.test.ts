import { expect, test } from "bun:test";
import { Replica } from "../../src/fetch/replica.ts";
import { RunReceiver, type RunTaker } from "../../src/fetch/run-receiver.ts";
import { seededRandom } from "../support/random.ts";

const PIECE_BYTES = 64;

interface Taken {
  piece: number;
  bytes: Uint8Array;
  wireDigest: bigint | undefined;
}

/** Feeds messages of these lengths, each with its digest as the wire has it. */
function feed(
  content: Uint8Array,
  lengths: readonly number[],
  first: number,
): { taken: Taken[]; received: number } {
  const taken: Taken[] = [];
  let received = 0;
  const taker: RunTaker = {
    pieceBytes: PIECE_BYTES,
    received: (_run, bytes) => (received += bytes),
    piece: (_run, piece, bytes, wireDigest) => taken.push({ piece, bytes: bytes.slice(), wireDigest }),
  };
  const pieces = { first, count: Math.ceil(content.length / PIECE_BYTES) };
  const source = { path: "x", isWhole: true, startsAt: 0, sizeBytes: 10_000, mtimeUs: 7 };
  const replica = new Replica(0, { host: "localhost", port: 1 });
  const offset = first * PIECE_BYTES;
  const run = { request: 1, replica, pieces, source, offset, lengthBytes: content.length };
  const receiver = new RunReceiver(run, taker);
  receiver.head({ sizeBytes: 10_000, mtimeUs: 7, mode: 0o644, offset, lengthBytes: content.length });
  let at = 0;
  for (const length of lengths) {
    const message = content.slice(at, at + length);
    const digest = new Uint8Array(8);
    new DataView(digest.buffer).setBigUint64(0, Bun.hash.xxHash3(message), true);
    receiver.piece(message, digest);
    message.fill(0xee); // valid only during the call
    at += length;
    expect(receiver.outstandingBytes).toBe(content.length - at);
  }
  return { taken, received };
}

test("however an answer is cut into messages, the same pieces come out, in order", () => {
  const random = seededRandom(11);
  for (let round = 0; round < 2_000; round++) {
    const content = new Uint8Array(random.integer(1, 6 * PIECE_BYTES));
    random.fill(content);
    const lengths: number[] = [];
    for (let left = content.length; left > 0;) {
      const length = Math.min(left, random.integer(1, 3 * PIECE_BYTES));
      lengths.push(length);
      left -= length;
    }
    const first = random.integer(0, 5);
    const { taken, received } = feed(content, lengths, first);
    expect(received).toBe(content.length);
    expect(taken.map(({ piece }) => piece)).toEqual(
      Array.from({ length: Math.ceil(content.length / PIECE_BYTES) }, (_, index) => first + index),
    );
    expect(Buffer.concat(taken.map(({ bytes }) => bytes))).toEqual(Buffer.from(content));
    for (const { bytes, wireDigest } of taken) {
      if (wireDigest !== undefined) expect(wireDigest).toBe(Bun.hash.xxHash3(bytes));
    }
  }
});

test("a message that is a piece is passed on with its digest", () => {
  const content = new Uint8Array(3 * PIECE_BYTES - 10);
  const { taken } = feed(content, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES - 10], 0);
  expect(taken.every(({ wireDigest }) => wireDigest !== undefined)).toBe(true);
});

test("another file than the one that was agreed on is refused", () => {
  const source = { path: "x", isWhole: true, startsAt: 0, sizeBytes: 100, mtimeUs: 7 };
  const replica = new Replica(0, { host: "localhost", port: 1 });
  const run = { request: 1, replica, pieces: { first: 0, count: 1 }, source, offset: 0, lengthBytes: 64 };
  const receiver = new RunReceiver(run, { pieceBytes: 64, received: () => {}, piece: () => {} });
  const head = { sizeBytes: 100, mtimeUs: 7, mode: 0o644, offset: 0, lengthBytes: 64 };
  receiver.head(head);
  expect(() => receiver.head({ ...head, sizeBytes: 101 })).toThrow("101 bytes");
  expect(() => receiver.head({ ...head, mtimeUs: 8 })).toThrow("changed");
});
