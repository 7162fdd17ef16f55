import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RateMeter } from "../../src/report/rate.ts";

function steady(
  meter: RateMeter,
  fromMs: number,
  toMs: number,
  everyMs: number,
  perSecond: number,
  start = 0,
): number {
  let total = start;
  for (let atMs = fromMs; atMs <= toMs; atMs += everyMs) {
    total = start + ((atMs - fromMs) / 1000) * perSecond;
    meter.record(atMs, total);
  }
  return total;
}

describe("RateMeter", () => {
  test("says nothing until it has seen half a second", () => {
    const meter = new RateMeter();
    expect(meter.perSecond(0)).toBeUndefined();
    meter.record(0, 0);
    meter.record(400, 4_000_000);
    expect(meter.perSecond(400)).toBeUndefined();
    meter.record(500, 5_000_000);
    expect(meter.perSecond(500)).toBe(10_000_000);
  });

  test("takes the first total as its starting point, so that joining late shows no jump", () => {
    const meter = new RateMeter();
    meter.record(90_000, 5e12);
    meter.record(91_000, 5e12 + 1000);
    expect(meter.perSecond(91_000)).toBe(1000);
  });

  test.each([1, 7, 40, 100, 333, 1000, 4000])(
    "is exact for a steady rate reported every %d ms",
    (everyMs) => {
      const meter = new RateMeter();
      steady(meter, 0, 20_000, everyMs, 1_000_000);
      const lastMs = Math.floor(20_000 / everyMs) * everyMs;
      expect(meter.perSecond(lastMs)).toBeCloseTo(1_000_000, -3);
    },
  );

  test("forgets what is older than its window", () => {
    const meter = new RateMeter();
    const total = steady(meter, 0, 10_000, 200, 1_000_000);
    steady(meter, 10_200, 15_400, 200, 1000, total);
    expect(meter.perSecond(15_400)).toBeCloseTo(1000, -2);
  });

  test("smooths bursts: ten files each second read as ten a second, not as none or a hundred", () => {
    const meter = new RateMeter();
    for (let second = 0; second <= 10; second += 1) meter.record(second * 1000, second * 10);
    for (const atMs of [10_000, 10_300, 10_900]) {
      expect(meter.perSecond(atMs)).toBeGreaterThan(7);
      expect(meter.perSecond(atMs)).toBeLessThan(13);
    }
  });

  test("falls while nothing comes, and is 0 once the window is empty", () => {
    const meter = new RateMeter();
    steady(meter, 0, 5000, 200, 1000);
    const rates = [5000, 6000, 8000, 9900].map((atMs) => meter.perSecond(atMs) ?? Number.NaN);
    expect(rates.toSorted((a, b) => b - a)).toEqual(rates);
    expect(meter.perSecond(10_000)).toBe(0);
    expect(meter.perSecond(1e9)).toBe(0);
  });

  test("starts anew when the total falls or the clock goes back, instead of going negative", () => {
    const meter = new RateMeter();
    steady(meter, 0, 3000, 100, 1000);
    meter.record(3100, 5);
    expect(meter.perSecond(3100)).toBeUndefined();
    meter.record(4100, 105);
    expect(meter.perSecond(4100)).toBe(100);
    meter.record(50, 200);
    expect(meter.perSecond(50)).toBeUndefined();
  });

  test("is never negative and never above the fastest step, whatever comes when", () => {
    const steps = fc.array(
      fc.record({ gapMs: fc.integer({ min: 100, max: 9000 }), perSecond: fc.nat(1_000_000) }),
      {
        minLength: 1,
      },
    );
    fc.assert(
      fc.property(steps, (taken) => {
        const meter = new RateMeter();
        let [atMs, total, fastest] = [0, 0, 0];
        meter.record(atMs, total);
        for (const { gapMs, perSecond } of taken) {
          atMs += gapMs;
          total += (perSecond * gapMs) / 1000;
          fastest = Math.max(fastest, perSecond);
          meter.record(atMs, total);
          const rate = meter.perSecond(atMs) ?? 0;
          expect(rate).toBeGreaterThanOrEqual(0);
          expect(rate).toBeLessThanOrEqual(fastest + 1e-3);
        }
      }),
    );
  });
});
