import { expect, test } from "bun:test";
import fc from "fast-check";
import { SizeStatistics } from "../../src/mirror/size-statistics.ts";
import { runs } from "./runs.ts";

const sizes = fc.array(
  fc.oneof(
    fc.nat(100),
    fc.nat(2 ** 31 - 1),
    fc.integer({ min: 2 ** 40, max: 2 ** 40 + 100 }),
    fc.integer({ min: 0, max: 2 ** 43 }),
  ),
  { minLength: 1, maxLength: 60 },
);

function statisticsOf(sizes: readonly number[]): SizeStatistics {
  const statistics = new SizeStatistics();
  for (const size of sizes) statistics.add(size);
  return statistics;
}

/** In two passes and exact integers: n·Σ(n·x − Σx)² / n⁴ is the population variance. */
function naive(sizes: readonly number[]): { sum: number; mean: number; variance: number } {
  const count = BigInt(sizes.length);
  const sum = sizes.reduce((sum, size) => sum + BigInt(size), 0n);
  const squares = sizes.reduce((total, size) => total + (count * BigInt(size) - sum) ** 2n, 0n);
  const scaled = (squares * 1_000_000n) / count ** 3n;
  return { sum: Number(sum), mean: Number((sum * 1_000_000n) / count) / 1e6, variance: Number(scaled) / 1e6 };
}

test("count, sum, mean, population variance and deviation are those of two passes in exact numbers", () => {
  fc.assert(
    fc.property(sizes, (sizes) => {
      const statistics = statisticsOf(sizes);
      const { sum, mean, variance } = naive(sizes);
      // What a mean as a double can be off, times what the sizes differ by.
      const blurred = 2 ** -51 * mean * (Math.max(...sizes) - Math.min(...sizes)) * sizes.length;
      const close = (value: number, expected: number, slack = 0): void =>
        expect(Math.abs(value - expected)).toBeLessThanOrEqual(1e-9 * Math.abs(expected) + 1e-3 + slack);
      expect(statistics.count).toBe(sizes.length);
      expect(statistics.sumBytes).toBe(sum);
      close(statistics.mean, mean);
      close(statistics.variance, variance, blurred);
      close(statistics.standardDeviation ** 2, variance, blurred);
    }),
    runs(1000),
  );
});

test("equal sizes have no variance at all, however large and many they are", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 52 }), fc.integer({ min: 1, max: 2 }), (size, count) => {
      const statistics = statisticsOf(repeated(count, size));
      expect([statistics.mean, statistics.variance, statistics.standardDeviation]).toEqual([size, 0, 0]);
    }),
    runs(200),
  );
  const statistics = statisticsOf(repeated(100_000, 80_000_000_123));
  expect([statistics.mean, statistics.variance]).toEqual([80_000_000_123, 0]);
});

test("large sizes that differ a little keep their variance, where a sum of squares would lose it", () => {
  const { variance, mean } = statisticsOf([2 ** 40, 2 ** 40 + 2, 2 ** 40 + 4]);
  expect(mean).toBeCloseTo(2 ** 40 + 2, 3);
  expect(variance).toBeCloseTo(8 / 3, 6);
});

test("no sizes and one size are no division by zero", () => {
  const none = new SizeStatistics();
  expect([none.count, none.sumBytes, none.mean, none.variance, none.standardDeviation]).toEqual([
    0, 0, 0, 0, 0,
  ]);
  const one = statisticsOf([7]);
  expect([one.count, one.sumBytes, one.mean, one.variance, one.standardDeviation]).toEqual([1, 7, 7, 0, 0]);
});

function repeated(count: number, sizeBytes: number): number[] {
  return Array.from({ length: count }, () => sizeBytes);
}
