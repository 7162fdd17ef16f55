import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Pace } from "../../src/transfer/pace.ts";
import { runs } from "../property/runs.ts";

/** Asks every second until it says that the peer is too slow, or a day is over. */
function endedAfterMs(pace: Pace, bytesAt: (nowMs: number) => number, isAlive = false): number | undefined {
  let lastMs = 0;
  for (let nowMs = 0; nowMs <= 86_400_000; nowMs += 1_000) {
    if (bytesAt(nowMs) !== bytesAt(nowMs - 1_000)) lastMs = nowMs;
    if (pace.isTooSlow(nowMs, { bytes: bytesAt(nowMs), lastMs }, isAlive)) return nowMs;
  }
  return undefined;
}

describe("the pace of a peer", () => {
  test("that moves nothing is too slow after a minute, if it is alive after ten", () => {
    expect(endedAfterMs(new Pace(1024), () => 0)).toBe(60_000);
    expect(endedAfterMs(new Pace(1024), () => 0, true)).toBe(600_000);
    expect(endedAfterMs(new Pace(0), () => 0)).toBeUndefined();
  });

  test("of one byte a second is too slow for a minimum of 1 KiB a second, and fast enough for one byte", () => {
    const oneByte = (nowMs: number): number => Math.floor(nowMs / 1_000);
    expect(endedAfterMs(new Pace(1024), oneByte)).toBe(60_000);
    expect(endedAfterMs(new Pace(1), oneByte)).toBeUndefined();
  });

  test("in leaps is judged by all of the time in between, if the peer is alive", () => {
    const leaps = (nowMs: number): number => Math.floor(nowMs / 300_000) * 400_000; // 1,333 bytes a second
    expect(endedAfterMs(new Pace(1024), leaps, true)).toBeUndefined();
    expect(endedAfterMs(new Pace(1024), leaps, false)).toBe(60_000);
    expect(endedAfterMs(new Pace(2048), leaps, true)).toBe(600_000);
  });

  test("does not count while it is not its turn", () => {
    const pace = new Pace(1024);
    expect(pace.isTooSlow(0, { bytes: 0, lastMs: 0 }, false)).toBe(false);
    expect(pace.isTooSlow(59_000, undefined, false)).toBe(false);
    expect(pace.isTooSlow(3_600_000, { bytes: 0, lastMs: 3_600_000 }, false)).toBe(false);
    expect(pace.isTooSlow(3_659_000, { bytes: 0, lastMs: 3_600_000 }, false)).toBe(false);
    expect(pace.isTooSlow(3_660_000, { bytes: 0, lastMs: 3_600_000 }, false)).toBe(true);
  });

  test("is never too slow when each minute has its bytes, and always when none has", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.array(fc.double({ min: 1, max: 50, noNaN: true }), { minLength: 5, maxLength: 40 }),
        fc.boolean(),
        (minRate, factors, isEnough) => {
          const pace = new Pace(minRate);
          let bytes = 0;
          let isEnded = false;
          for (const [second, factor] of factors
            .flatMap((factor) => Array<number>(60).fill(factor))
            .entries()) {
            bytes += isEnough ? Math.ceil(minRate * factor) : (minRate / factor) * 0.9;
            isEnded ||= pace.isTooSlow(second * 1000, { bytes, lastMs: second * 1000 }, false);
          }
          expect(isEnded).toBe(!isEnough);
        },
      ),
      runs(100),
    );
  });
});
