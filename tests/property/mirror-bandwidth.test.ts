import { expect, test } from "bun:test";
import fc from "fast-check";
import { Bandwidth, burstBytes } from "../../src/mirror/bandwidth.ts";
import { runs } from "./runs.ts";

const FEEDS = ["a", "b", "c"] as const;
const rate = fc.option(fc.integer({ min: 16 * 1024, max: 2 ** 32 }), { nil: undefined });

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("ask" as const),
      feed: fc.nat(2),
      bytes: fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 1, max: 2 ** 33 })),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(400) }) },
  // As a timer does that is set as told, and fires late.
  { weight: 6, arbitrary: fc.record({ do: fc.constant("wake" as const), lateMs: fc.nat(3) }) },
);

interface Granted {
  atMs: number;
  feed: string;
  bytes: number;
}

function expectWithin(granted: readonly Granted[], bytesPerSecond: number): void {
  // From any grant to any later one.
  for (let first = 0; first < granted.length; first++) {
    let bytes = 0;
    for (let last = first; last < granted.length; last++) {
      bytes += granted[last]!.bytes;
      const spanMs = granted[last]!.atMs - granted[first]!.atMs;
      const allowed = (bytesPerSecond * spanMs) / 1000 + burstBytes(bytesPerSecond);
      expect(bytes).toBeLessThanOrEqual(allowed + 1e-3);
    }
  }
}

test("never more is granted than the limits allow in any span, plus one burst", () => {
  fc.assert(
    fc.property(
      rate,
      fc.tuple(rate, rate, rate),
      fc.array(step, { minLength: 1, maxLength: 80 }),
      (all, each, steps) => {
        const bandwidth = new Bandwidth();
        let nowMs = 1_000;
        bandwidth.limitAll(all, nowMs);
        for (const [index, feed] of FEEDS.entries()) bandwidth.open(feed, each[index], nowMs);
        const wanted = new Map<number, { feed: string; bytes: number }>();
        const granted: Granted[] = [];
        let waitMs: number | undefined;
        let jobs = 0;
        const advance = (): void => {
          const result = bandwidth.grants(nowMs);
          waitMs = result.waitMs;
          for (const { jobId, bytes } of result.grants) {
            const { feed, bytes: askedBytes } = wanted.get(jobId)!;
            wanted.delete(jobId);
            const isLimited = all !== undefined || each[FEEDS.indexOf(feed as "a")] !== undefined;
            expect(bytes !== undefined).toBe(isLimited);
            if (bytes === undefined) continue;
            expect(bytes).toBeGreaterThanOrEqual(1);
            expect(bytes).toBeLessThanOrEqual(askedBytes);
            granted.push({ atMs: nowMs, feed, bytes });
          }
          expect(waitMs !== undefined).toBe(wanted.size > 0);
        };
        for (const one of steps) {
          if (one.do === "ask") {
            const feed = FEEDS[one.feed]!;
            wanted.set(jobs, { feed, bytes: one.bytes });
            bandwidth.ask(feed, jobs++, one.bytes);
          } else if (one.do === "wait") {
            nowMs += one.ms;
          } else {
            nowMs += Math.ceil(waitMs ?? 0) + one.lateMs;
          }
          advance();
        }
        // Nobody is left waiting: asked again when it says so, it serves them all.
        for (let rounds = 0; waitMs !== undefined; rounds++) {
          expect(rounds).toBeLessThan(1_000);
          nowMs += Math.ceil(waitMs);
          advance();
        }
        expect(wanted.size).toBe(0);
        if (all !== undefined) expectWithin(granted, all);
        for (const [index, feed] of FEEDS.entries()) {
          const limit = each[index];
          const own = granted.filter((one) => one.feed === feed);
          if (limit !== undefined) expectWithin(own, limit);
        }
      },
    ),
    runs(300),
  );
});

/** Lets jobs ask again as soon as they are served, for a while. @returns what each feed was granted */
function saturate(
  bandwidth: Bandwidth,
  feedOf: readonly string[],
  durationMs: number,
  lateMs: number,
): Map<string, number> {
  const granted = new Map<string, number>();
  for (const [jobId, feed] of feedOf.entries()) bandwidth.ask(feed, jobId, 2 ** 40);
  for (let nowMs = 0; nowMs <= durationMs;) {
    const { grants, waitMs } = bandwidth.grants(nowMs);
    for (const { jobId, bytes } of grants) {
      const feed = feedOf[jobId]!;
      granted.set(feed, (granted.get(feed) ?? 0) + bytes!);
      bandwidth.ask(feed, jobId, 2 ** 40);
    }
    if (grants.length === 0) nowMs += Math.ceil(waitMs!) + lateMs;
  }
  return granted;
}

test("with demand, the limit is reached within 5 per cent over 5 s, though timers are late", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 16 * 1024, max: 2 ** 33 }),
      fc.integer({ min: 1, max: 12 }),
      fc.nat(15),
      (bytesPerSecond, jobs, lateMs) => {
        const bandwidth = new Bandwidth();
        bandwidth.limitAll(bytesPerSecond, 0);
        bandwidth.open("a", undefined, 0);
        const granted = saturate(
          bandwidth,
          Array.from({ length: jobs }, () => "a"),
          5_000,
          lateMs,
        );
        const share = granted.get("a")! / (5 * bytesPerSecond);
        expect(share).toBeGreaterThan(0.95);
        expect(share).toBeLessThan(1.05);
      },
    ),
    runs(60),
  );
});

test("sources share what is limited for all; what one may not take, the others get", () => {
  const bandwidth = new Bandwidth();
  bandwidth.limitAll(1_000_000, 0);
  bandwidth.open("slow", 100_000, 0);
  bandwidth.open("one", undefined, 0);
  bandwidth.open("two", undefined, 0);
  // "one" has far more jobs, and no more of the bandwidth for it.
  const feedOf = ["slow", "slow", "two", ...Array.from({ length: 9 }, () => "one")];
  const granted = saturate(bandwidth, feedOf, 10_000, 1);
  expect(granted.get("slow")! / 1_000_000).toBeCloseTo(1, 1);
  expect(granted.get("one")! / 4_500_000).toBeCloseTo(1, 1);
  expect(granted.get("two")! / 4_500_000).toBeCloseTo(1, 1);
});

test("a change holds at once: raised, lowered, lifted", () => {
  const bandwidth = new Bandwidth();
  bandwidth.limitAll(16 * 1024, 0);
  bandwidth.open("a", undefined, 0);
  bandwidth.ask("a", 1, 10_000_000);
  expect(bandwidth.grants(0).waitMs).toBeGreaterThan(100);
  bandwidth.limitAll(100_000_000, 0);
  expect(bandwidth.grants(0).waitMs).toBeLessThanOrEqual(50);
  expect(bandwidth.grants(50).grants).toHaveLength(1);
  // What was saved up under the higher limit is not spent under the lower one.
  bandwidth.grants(1_000);
  bandwidth.limitAll(16 * 1024, 1_000);
  for (let jobId = 2; jobId < 10; jobId++) bandwidth.ask("a", jobId, 10_000_000);
  const bytes = bandwidth.grants(1_000).grants.reduce((sum, grant) => sum + grant.bytes!, 0);
  expect(bytes).toBeLessThanOrEqual(burstBytes(16 * 1024));
  bandwidth.limitAll(undefined, 1_000);
  const { grants, waitMs } = bandwidth.grants(1_000);
  expect(grants.every((grant) => grant.bytes === undefined)).toBe(true);
  expect(grants.length).toBeGreaterThanOrEqual(7);
  expect(waitMs).toBeUndefined();
});
