import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../src/options/units.ts";

test.each([
  ["4096", 4096],
  ["0", 0],
  ["1B", 1],
  ["64MiB", 64 * 1024 * 1024],
  ["64 mib", 64 * 1024 * 1024],
  ["500k", 500 * 1024],
  ["500kB", 500_000],
  ["1G", 1024 ** 3],
  ["1GB", 1_000_000_000],
  ["1.5KiB", 1536],
  [".5M", 512 * 1024],
  ["2TiB", 2 * 1024 ** 4],
])("the size %s is %d bytes", (text, sizeBytes) => {
  expect(parseSize(text)).toBe(sizeBytes);
});

test.each([
  ["30s", 30_000],
  ["200ms", 200],
  ["5m", 300_000],
  ["1h", 3_600_000],
  ["2d", 172_800_000],
  ["0.5", 500],
  ["10", 10_000],
  ["1.005", 1005],
  ["0", 0],
])("the time %s is %d ms", (text, durationMs) => {
  expect(parseDuration(text)).toBe(durationMs);
});

test.each(["", " ", "-1", "1e3", "0x10", "1.", "ten", "5 0", "1,5", "Infinity", "9".repeat(20), "3x", "s"])(
  "%p is neither a size nor a time",
  (text) => {
    expect(parseSize(text)).toBeUndefined();
    expect(parseDuration(text)).toBeUndefined();
  },
);

test("units of times are not taken for sizes, nor the other way round", () => {
  expect(parseSize("5s")).toBeUndefined();
  expect(parseDuration("5MiB")).toBeUndefined();
  // Upper case would be mega.
  expect(parseDuration("5M")).toBeUndefined();
});

test("every size and time survives being written and read", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (amount) => {
      expect(parseSize(formatSize(amount))).toBe(amount);
      expect(parseDuration(formatDuration(amount))).toBe(amount);
    }),
  );
});

test("the written form is the one that people would choose", () => {
  expect([64 * 1024 ** 2, 1_000_000, 1000, 0].map(formatSize)).toEqual(["64MiB", "1MB", "1000B", "0"]);
  expect([10_000, 1500, 90_000, 7_200_000, 0].map(formatDuration)).toEqual([
    "10s",
    "1500ms",
    "90s",
    "2h",
    "0s",
  ]);
});
