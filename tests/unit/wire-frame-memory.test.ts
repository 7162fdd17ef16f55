import { describe, expect, test } from "bun:test";
import { FrameDecoder } from "../../src/wire/frame.ts";
import { CLIENT_TAKES, SERVER_TAKES, limitsFor } from "../../src/wire/messages.ts";
import { allocationsOf } from "../property/allocations.ts";
import { NAIVE_HEADER_BYTES, naiveFrame } from "../property/naive-codec.ts";

const DATA = 22;
const ORDER = 32;

describe("the memory of a frame decoder", () => {
  const piece = new Uint8Array(8 + 1_000_000).fill(7);
  const frame = naiveFrame(DATA, 1, piece);

  test.each([1, 7, 1000, 65_536, 700_000])(
    "is at most about twice what arrived and never more than the frame, with chunks of %d bytes",
    (chunkBytes) => {
      // Single bytes and small chunks far enough to see the growth, not to the end.
      const untilBytes = Math.min(frame.length - 1, chunkBytes * 3000);
      const decoder = new FrameDecoder(limitsFor(CLIENT_TAKES));
      for (let at = 0; at < untilBytes; at += chunkBytes) {
        const end = Math.min(at + chunkBytes, untilBytes);
        const sizes = allocationsOf(() => decoder.push(frame.subarray(at, end), () => {}));
        expect(decoder.pendingBytes).toBe(end);
        for (const size of sizes)
          expect(size).toBeLessThanOrEqual(Math.min(Math.max(512, 2 * end), frame.length));
      }
    },
  );

  test("does not grow by what a header claims", () => {
    const decoder = new FrameDecoder(limitsFor(SERVER_TAKES));
    const header = naiveFrame(ORDER, 1, new Uint8Array(0), { payloadBytes: 262_144 });
    const sizes = allocationsOf(() => decoder.push(header, () => {}));
    expect(Math.max(0, ...sizes)).toBeLessThanOrEqual(512);
    expect(decoder.pendingBytes).toBe(NAIVE_HEADER_BYTES);
  });

  test("copies each byte of a frame that comes in small chunks only a few times", () => {
    const decoder = new FrameDecoder(limitsFor(CLIENT_TAKES));
    const sizes = allocationsOf(() => {
      for (let at = 0; at < frame.length; at += 1000) decoder.push(frame.subarray(at, at + 1000), () => {});
    });
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(4 * frame.length);
  });

  test("is not touched by frames that lie whole in one chunk: their payload is a view of it", () => {
    const decoder = new FrameDecoder(limitsFor(CLIENT_TAKES));
    const chunk = new Uint8Array(Buffer.concat([frame, frame]));
    let seen = 0;
    decoder.push(chunk, (type, requestId, payload) => {
      expect([type, requestId, payload.buffer === chunk.buffer]).toEqual([DATA, 1, true]);
      seen++;
    });
    expect(seen).toBe(2);
  });
});
