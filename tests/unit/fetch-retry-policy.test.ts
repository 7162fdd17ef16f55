import { describe, expect, test } from "bun:test";
import { AttemptPolicy, DialPolicy, type Failure } from "../../src/fetch/retry-policy.ts";

function failure(code: Failure["code"], retryable = true, retryAfterMs = 0): Failure {
  return { code, retryable, retryAfterMs };
}

/** Fails again and again until it is given up. @returns when, in milliseconds */
function givenUpAfter(policy: DialPolicy, startMs: number, fail = failure("unreachable")): number {
  let nowMs = startMs;
  for (;;) {
    const retry = policy.failed(fail, nowMs, 0.5);
    if (retry === undefined) return nowMs;
    expect(retry.waitMs).toBeGreaterThan(0);
    nowMs += retry.waitMs;
  }
}

describe("a server that is not there", () => {
  const patience = { timeoutMs: 10_000, patienceMs: 60_000 };

  test("is tried for the timeout, never longer", () => {
    const givenUpMs = givenUpAfter(new DialPolicy(patience, 1_000), 1_000);
    expect(givenUpMs).toBeGreaterThan(6_000);
    expect(givenUpMs).toBeLessThan(11_000);
  });

  test("is waited for longer once it was there, from when it was there last", () => {
    const policy = new DialPolicy(patience, 0);
    policy.wasThere(5_000);
    policy.wasThere(100_000);
    const givenUpMs = givenUpAfter(policy, 100_000);
    expect(givenUpMs).toBeGreaterThan(155_000);
    expect(givenUpMs).toBeLessThan(160_000);
  });

  test("says itself when to come back", () => {
    const policy = new DialPolicy(patience, 0);
    expect(policy.failed(failure("busy", true, 4_321), 0, 0)?.waitMs).toBe(4_321);
    expect(policy.failed(failure("busy", true, 20_000), 0, 0)).toBeUndefined();
  });

  test("is given up at once when trying again cannot help", () => {
    const policy = new DialPolicy(patience, 0);
    expect(policy.failed(failure("unauthorized", false), 0, 0)).toBeUndefined();
    expect(policy.failed(failure("protocol", false), 0, 0)).toBeUndefined();
  });

  test("that has spoken the protocol before may have been misheard", () => {
    const policy = new DialPolicy(patience, 0);
    policy.wasThere(0);
    expect(policy.failed(failure("protocol", false), 1, 0)).toBeDefined();
  });
});

describe("a file that fails", () => {
  test("has so many attempts in a row, and progress begins the count anew", () => {
    const policy = new AttemptPolicy(3);
    expect(policy.failed(failure("closed"), 0)?.attempt).toBe(1);
    expect(policy.failed(failure("integrity"), 0)?.attempt).toBe(2);
    policy.progressed();
    expect(policy.failed(failure("closed"), 0)?.attempt).toBe(1);
    expect(policy.failed(failure("closed"), 0)?.attempt).toBe(2);
    expect(policy.failed(failure("closed"), 0)).toBeUndefined();
  });

  test("that changes each time is given up, though it makes progress each time", () => {
    const policy = new AttemptPolicy(3);
    for (const attempt of [1, 2]) {
      policy.progressed();
      expect(policy.failed(failure("changed"), 0)?.attempt).toBe(attempt);
    }
    policy.progressed();
    expect(policy.failed(failure("changed"), 0)).toBeUndefined();
  });

  test("is not tried again when that cannot help", () => {
    expect(new AttemptPolicy(3).failed(failure("not-found", false), 0)).toBeUndefined();
  });

  test("waits longer and longer, up to seconds", () => {
    const policy = new AttemptPolicy(100);
    const waits = Array.from({ length: 12 }, () => policy.failed(failure("closed"), 1)!.waitMs);
    expect(waits.slice(0, 4)).toEqual([250, 500, 1000, 2000]);
    expect(Math.max(...waits)).toBe(5_000);
  });
});
