import { expect, test } from "bun:test";
import fc from "fast-check";
import { SizeStatistics } from "../../src/mirror/size-statistics.ts";
import { runs } from "./runs.ts";

const sizes = fc.array(
  fc.oneof(
    fc.nat(100),
    fc.integer({ min: 2 ** 40, max: 2 ** 40 + 100 }),
    fc.integer({ min: 0, max: 2 ** 43 }),
  ),
  { maxLength: 40 },
);

function statisticsOf(sizes: readonly number[]): SizeStatistics {
  const statistics = new SizeStatistics();
  for (const size of sizes) statistics.add(size);
  return statistics;
}

/** In two passes over all sizes, in exact integers but for the last division. */
function naive(sizes: readonly number[]): { mean: number; variance: number } {
  if (sizes.length === 0) return { mean: 0, variance: 0 };
  const count = BigInt(sizes.length);
  const sum = sizes.reduce((sum, size) => sum + BigInt(size), 0n);
  const squares = sizes.reduce((total, size) => total + (count * BigInt(size) - sum) ** 2n, 0n);
  return {
    mean: Number((sum * 1_000_000n) / count) / 1e6,
    variance: Number((squares * 1_000_000n) / count ** 3n) / 1e6,
  };
}

test("statistics of parts, merged in any grouping, are those of the whole", () => {
  fc.assert(
    fc.property(fc.array(sizes, { maxLength: 8 }), fc.nat(8), (parts, split) => {
      const merged = [parts.slice(0, split), parts.slice(split)].map((group) => {
        const total = new SizeStatistics();
        for (const part of group) total.merge(statisticsOf(part));
        return total;
      });
      const [total, rest] = merged as [SizeStatistics, SizeStatistics];
      total.merge(rest);
      const all = parts.flat();
      const { mean, variance } = naive(all);
      expect(total.count).toBe(all.length);
      expect(total.sumBytes).toBe(all.reduce((sum, size) => sum + size, 0));
      expect(Math.abs(total.mean - mean)).toBeLessThanOrEqual(1e-9 * mean + 1e-3);
      expect(Math.abs(total.variance - variance)).toBeLessThanOrEqual(1e-9 * variance + 1e-3);
    }),
    runs(500),
  );
});

test("merging leaves the other one as it is, and one can go on with both", () => {
  const total = statisticsOf([1, 2]);
  const part = statisticsOf([3]);
  total.merge(part);
  total.add(6);
  expect([total.count, total.sumBytes, total.mean, total.variance]).toEqual([4, 12, 3, 3.5]);
  expect([part.count, part.sumBytes, part.mean, part.variance]).toEqual([1, 3, 3, 0]);
});

test("merging nothing into nothing is no division by zero", () => {
  const none = new SizeStatistics();
  none.merge(new SizeStatistics());
  expect([none.count, none.sumBytes, none.mean, none.variance, none.standardDeviation]).toEqual([
    0, 0, 0, 0, 0,
  ]);
});
