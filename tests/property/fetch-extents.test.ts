import { expect, test } from "bun:test";
import fc from "fast-check";
import { Extents } from "../../src/fetch/extents.ts";
import { runs } from "./runs.ts";

const SIZE = 64;

const steps = fc.array(
  fc.record({
    does: fc.constantFrom("add" as const, "remove" as const),
    offset: fc.nat(SIZE - 1),
    lengthBytes: fc.nat(12),
  }),
  { maxLength: 60 },
);

/** The gaps of a naive model: one flag a byte. */
function naiveGaps(there: readonly boolean[]): { offset: number; lengthBytes: number }[] {
  const gaps: { offset: number; lengthBytes: number }[] = [];
  for (const [offset, isThere] of there.entries()) {
    const last = gaps.at(-1);
    if (isThere) continue;
    if (last !== undefined && last.offset + last.lengthBytes === offset) last.lengthBytes++;
    else gaps.push({ offset, lengthBytes: 1 });
  }
  return gaps;
}

test("extents cover, lack and count exactly what a flag for each byte would", () => {
  fc.assert(
    fc.property(steps, (steps) => {
      const extents = new Extents();
      const there = Array.from({ length: SIZE }, () => false);
      for (const { does, offset, lengthBytes: wanted } of steps) {
        const lengthBytes = Math.min(wanted, SIZE - offset);
        const run = there.slice(offset, offset + lengthBytes);
        if (does === "add") expect(extents.add({ offset, lengthBytes })).toBe(!run.includes(true));
        else extents.remove({ offset, lengthBytes });
        there.fill(does === "add", offset, offset + lengthBytes);
        expect(extents.coveredBytes).toBe(there.filter(Boolean).length);
        expect(extents.gaps(SIZE)).toEqual(naiveGaps(there));
      }
    }),
    runs(300),
  );
});
