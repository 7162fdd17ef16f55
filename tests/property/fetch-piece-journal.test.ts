import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type JournaledPiece,
  type PartVersion,
  encodeHead,
  readJournal,
} from "../../src/fetch/piece-journal.ts";
import { codeOf } from "./error-code.ts";
import { runs } from "./runs.ts";

const PIECE = 1000;
const version: PartVersion = {
  origin: "[::1]:9000",
  path: "docs/ö\n, a.bin",
  sizeBytes: 2 ** 40,
  mtimeUs: 1_700_000_000_123_456,
};

type Step =
  { do: "piece"; index: number; lengthBytes: number; digest: bigint } | { do: "lose" } | { do: "sync" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("piece" as const),
      index: fc.nat({ max: 2 ** 29 }),
      lengthBytes: fc.integer({ min: 1, max: PIECE }),
      digest: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "lose" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "sync" as const }) },
);

interface Written {
  bytes: Buffer;
  headBytes: number;
  /** What the journal says after each record, the first one without any. */
  states: JournaledPiece[][];
}

/** Writes a journal, and keeps a plain model of what it says. */
function write(steps: readonly Step[], nonce = 7n): Written {
  const { bytes, records } = encodeHead(version, nonce);
  const parts: Uint8Array[] = [bytes];
  let state: JournaledPiece[] = [];
  const states = [state];
  for (const step of steps) {
    if (step.do === "piece") {
      const piece = { offset: step.index * PIECE, lengthBytes: step.lengthBytes, digest: step.digest };
      if (state.some(({ offset }) => offset === piece.offset)) continue;
      parts.push(records.piece(piece).slice());
      state = [...state, { ...piece, isSynced: false }];
    } else if (step.do === "sync") {
      parts.push(records.synced(records.count).slice());
      state = state.map((piece) => ({ ...piece, isSynced: true }));
    } else {
      const [lost, ...others] = state;
      if (lost === undefined) continue;
      parts.push(records.lost(lost).slice());
      state = others;
    }
    states.push(state);
  }
  return { bytes: Buffer.concat(parts), headBytes: bytes.length, states };
}

describe("the journal of pieces", () => {
  test("says what was written into it, and goes on from there", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.array(step, { maxLength: 5 }), (first, more) => {
        const { bytes, states } = write(first);
        const read = readJournal(bytes);
        expect(read.version).toEqual(version);
        expect(read.validBytes).toBe(bytes.length);
        expect(read.pieces).toEqual(states.at(-1)!);
        const appended = more.flatMap((step) =>
          step.do === "sync" ? [read.records.synced(read.records.count).slice()] : [],
        );
        const longer = readJournal(Buffer.concat([bytes, ...appended]));
        expect(longer.validBytes).toBe(bytes.length + appended.length * 32);
      }),
      runs(200),
    );
  });

  test("a mark covers only the pieces that were written before the sync began", () => {
    const { bytes, records } = encodeHead(version, 1n);
    const early = records.piece({ offset: 0, lengthBytes: 5, digest: 1n }).slice();
    const count = records.count;
    const late = records.piece({ offset: 5, lengthBytes: 5, digest: 2n }).slice();
    const mark = records.synced(count).slice();
    const { pieces } = readJournal(Buffer.concat([bytes, early, late, mark]));
    expect(pieces.map(({ isSynced }) => isSynced)).toEqual([true, false]);
  });

  test("cut off anywhere, it says what it said at that time", () => {
    const { bytes, headBytes, states } = write([
      ...Array.from({ length: 6 }, (_, index): Step => ({ do: "piece", index, lengthBytes: 9, digest: 3n })),
      { do: "sync" },
      { do: "lose" },
      { do: "piece", index: 40, lengthBytes: 1, digest: 4n },
    ]);
    for (let length = 0; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      if (length < headBytes) {
        expect(codeOf(() => readJournal(cut))).toBe("integrity");
        continue;
      }
      const whole = Math.floor((length - headBytes) / 32);
      const read = readJournal(cut);
      expect(read.pieces).toEqual(states[whole]!);
      expect(read.validBytes).toBe(headBytes + whole * 32);
    }
  });

  test("every flipped bit is found: nothing at or behind it is believed", () => {
    const { bytes, headBytes, states } = write([
      { do: "piece", index: 0, lengthBytes: 9, digest: 3n },
      { do: "piece", index: 1, lengthBytes: 9, digest: 2n ** 64n - 1n },
      { do: "sync" },
      { do: "piece", index: 2 ** 29, lengthBytes: 9, digest: 0n },
      { do: "lose" },
    ]);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >>> 3]! ^= 1 << (bit & 7);
      if (bit >>> 3 < headBytes) {
        expect(codeOf(() => readJournal(flipped))).toBe("integrity");
        continue;
      }
      const before = Math.floor(((bit >>> 3) - headBytes) / 32);
      expect(readJournal(flipped).pieces).toEqual(states[before]!);
    }
  });

  test("records of another journal of the same version, or in another order, are not believed", () => {
    const steps: Step[] = [0, 1, 2].map((index) => ({ do: "piece", index, lengthBytes: 9, digest: 5n }));
    const ours = write(steps);
    const other = write(steps, 8n);
    const { headBytes } = ours;
    const mixed = Buffer.concat([ours.bytes.subarray(0, headBytes), other.bytes.subarray(headBytes)]);
    expect(readJournal(mixed).pieces).toEqual([]);
    const record = (at: number): Buffer => ours.bytes.subarray(headBytes + at * 32, headBytes + at * 32 + 32);
    const swapped = Buffer.concat([ours.bytes.subarray(0, headBytes), record(0), record(2), record(1)]);
    expect(readJournal(swapped).pieces).toHaveLength(1);
  });

  test("garbage is refused, whatever it is", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
        expect(codeOf(() => readJournal(garbage))).toBe("integrity");
      }),
      runs(200),
    );
  });
});
