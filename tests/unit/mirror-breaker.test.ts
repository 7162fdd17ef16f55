import { describe, expect, test } from "bun:test";
import { Breaker } from "../../src/mirror/breaker.ts";

/** Lost connections in a row that are still no reason to leave a source alone. */
const TOLERATED = 4;

describe("a breaker", () => {
  test("lets a source be used that nothing is known of", () => {
    const breaker = new Breaker();
    expect(breaker.state).toBe("closed");
    expect(breaker.badForMs(1_000_000)).toBe(0);
  });

  test("opens when no connection can be made, and closes when files come again", () => {
    const breaker = new Breaker();
    expect(breaker.failed(1_000, 0)).toBeGreaterThan(0);
    expect(breaker.state).toBe("open");
    breaker.probe();
    expect(breaker.state).toBe("probing");
    breaker.succeeded();
    expect(breaker.state).toBe("closed");
    expect(breaker.badForMs(9_000)).toBe(0);
  });

  test("has one probe due at a time: jobs that fail later change nothing", () => {
    const breaker = new Breaker();
    expect(breaker.failed(1_000, 0)).toBeNumber();
    expect(breaker.failed(1_001, 0)).toBeUndefined();
    expect(breaker.lostConnection(1_002, 0)).toBeUndefined();
    expect(breaker.state).toBe("open");
  });

  test("waits longer after each probe that fails, up to a limit, and is spread", () => {
    const breaker = new Breaker();
    const shortest: number[] = [];
    const longest: number[] = [];
    for (let probe = 0; probe < 12; probe++) {
      const other = new Breaker();
      for (let before = 0; before < probe; before++) {
        other.failed(0, 0);
        other.probe();
      }
      longest.push(other.failed(0, 0.999_999)!);
      shortest.push(breaker.failed(0, 0)!);
      breaker.probe();
    }
    expect(shortest).toEqual([...shortest].sort((a, b) => a - b));
    expect(new Set(shortest).size).toBeGreaterThan(4);
    expect(shortest.at(-1)).toBe(shortest.at(-2));
    expect(longest.at(-1)).toBeLessThanOrEqual(15_000);
    for (const [index, delayMs] of longest.entries()) expect(delayMs).toBeGreaterThan(shortest[index]!);
  });

  test("begins anew with short waits after a success", () => {
    const breaker = new Breaker();
    const first = breaker.failed(0, 0)!;
    breaker.probe();
    expect(breaker.failed(0, 0)).toBeGreaterThan(first);
    breaker.succeeded();
    expect(breaker.failed(0, 0)).toBe(first);
  });

  test("bears a few lost connections, and opens when none of many brought a file", () => {
    const breaker = new Breaker();
    for (let lost = 0; lost < TOLERATED; lost++) expect(breaker.lostConnection(lost, 0)).toBeUndefined();
    expect(breaker.state).toBe("closed");
    expect(breaker.lostConnection(TOLERATED, 0)).toBeNumber();
    expect(breaker.state).toBe("open");
  });

  test("counts lost connections from the last file that came", () => {
    const breaker = new Breaker();
    for (let round = 0; round < 10; round++) {
      for (let lost = 0; lost < TOLERATED; lost++) expect(breaker.lostConnection(0, 0)).toBeUndefined();
      breaker.succeeded();
    }
    expect(breaker.state).toBe("closed");
  });

  test("opens again at once when the probe loses its connection", () => {
    const breaker = new Breaker();
    breaker.failed(0, 0);
    breaker.probe();
    expect(breaker.lostConnection(0, 0)).toBeNumber();
    expect(breaker.state).toBe("open");
  });
});

describe("the time that a source has been gone", () => {
  test("counts from its first failure, not from its last success", () => {
    const breaker = new Breaker();
    breaker.succeeded();
    expect(breaker.badForMs(3_600_000)).toBe(0); // an hour with one large file is no absence
    breaker.failed(3_600_000, 0);
    expect(breaker.badForMs(3_600_500)).toBe(500);
  });

  test("goes on over probes and lost connections, until files come", () => {
    const breaker = new Breaker();
    breaker.lostConnection(100, 0);
    breaker.failed(200, 0);
    breaker.probe();
    breaker.failed(5_000, 0);
    expect(breaker.badForMs(60_100)).toBe(60_000);
    breaker.probe();
    breaker.succeeded();
    breaker.failed(70_000, 0);
    expect(breaker.badForMs(70_001)).toBe(1);
  });
});
