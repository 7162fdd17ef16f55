import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  countOf,
  formatBytes,
  formatCompactCount,
  formatCount,
  formatDuration,
  formatRate,
  formatTimeLeft,
} from "../../src/report/units.ts";

describe("formatBytes", () => {
  test.each([
    [0, "0 B"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [10 * 1024, "10.0 KiB"],
    [100 * 1024, "100 KiB"],
    [1023 * 1024, "1023 KiB"],
    [1024 * 1024 - 1, "1.00 MiB"],
    [3 * 1024 ** 3, "3.00 GiB"],
    [Number.MAX_SAFE_INTEGER, "8.00 PiB"],
    [-5, "0 B"],
  ])("%d is %s", (sizeBytes, text) => expect(formatBytes(sizeBytes)).toBe(text));

  test("says the size within half a percent, in at most eight columns", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (sizeBytes) => {
        const text = formatBytes(sizeBytes);
        const [value, unit] = text.split(" ");
        const power = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].indexOf(unit ?? "");
        expect(Math.abs(Number(value) * 1024 ** power - sizeBytes)).toBeLessThanOrEqual(sizeBytes * 0.00501);
        expect(text.length).toBeLessThanOrEqual(8);
      }),
    );
  });

  test("a rate is a size a second", () => expect(formatRate(1536)).toBe("1.50 KiB/s"));
});

describe("counts", () => {
  test.each([
    [0, "0"],
    [999, "999"],
    [1000, "1,000"],
    [1234567, "1,234,567"],
  ])("%d is %s", (count, text) => expect(formatCount(count)).toBe(text));

  test.each([
    [99_999, "99999"],
    [100_000, "100k"],
    [999_999, "999k"],
    [1_290_000, "1.2M"],
    [12_900_000, "12M"],
    [4_000_000_000, "4.0G"],
  ])("%d is %s where room is short", (count, text) => expect(formatCompactCount(count)).toBe(text));

  test("a compact count takes five columns at most and never claims too much", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 999_999_999_999 }), (count) => {
        const text = formatCompactCount(count);
        expect(text.length).toBeLessThanOrEqual(5);
        const factor = { k: 1e3, M: 1e6, G: 1e9 }[text.slice(-1)] ?? 1;
        expect(Number.parseFloat(text) * factor).toBeLessThanOrEqual(count);
      }),
    );
  });

  test("one file, two files", () => {
    expect(countOf(1, "file")).toBe("1 file");
    expect(countOf(2, "file")).toBe("2 files");
    expect(countOf(0, "file")).toBe("0 files");
  });
});

describe("formatDuration", () => {
  test.each([
    [0, "0 ms"],
    [430.4, "430 ms"],
    [999.6, "1.0 s"],
    [12_340, "12.3 s"],
    [59_960, "1 min 00 s"],
    [192_000, "3 min 12 s"],
    [3_599_600, "1 h 00 min"],
    [7_380_000, "2 h 03 min"],
    [86_390_000, "1 d 00 h"],
    [273_600_000, "3 d 04 h"],
    [-1, "0 ms"],
  ])("%d ms is %s", (durationMs, text) => expect(formatDuration(durationMs)).toBe(text));
});

describe("formatTimeLeft", () => {
  test.each([
    [0, "0:00"],
    [1, "0:01"],
    [61_000, "1:01"],
    [754_000, "12:34"],
    [3_599_001, "1:00:00"],
    [3_723_000, "1:02:03"],
    [86_400_000, "1d 00h"],
    [273_600_000, "3d 04h"],
    [1e15, "> 99 d"],
  ])("%d ms is %s", (durationMs, text) => expect(formatTimeLeft(durationMs)).toBe(text));

  test("takes at most eight columns", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e20, noNaN: true }), (durationMs) => {
        expect(formatTimeLeft(durationMs).length).toBeLessThanOrEqual(8);
      }),
    );
  });
});
