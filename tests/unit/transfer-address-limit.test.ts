import { describe, expect, test } from "bun:test";
import { AddressLimit } from "../../src/transfer/address-limit.ts";

describe("what an address does", () => {
  test("is taken 20 times at once, then one a second, whatever others do", () => {
    const limit = new AddressLimit();
    let taken = 0;
    for (let nowMs = 0; nowMs < 100_000; nowMs += 10) {
      if (limit.waitMs("bad", nowMs) > 0) continue;
      taken++;
      limit.count("bad", nowMs);
    }
    expect(taken).toBe(20 + 99);
    expect(limit.waitMs("bad", 99_990)).toBeGreaterThan(0);
    expect(limit.waitMs("bad", 99_990)).toBeLessThanOrEqual(1_000);
    expect(limit.waitMs("good", 100_000)).toBe(0);
    expect(limit.waitMs("bad", 200_000)).toBe(0);
  });

  test("is forgotten oldest first: the memory for them is bounded", () => {
    const limit = new AddressLimit();
    const often = (address: string): void => {
      for (let count = 0; count < 30; count++) limit.count(address, 0);
    };
    often("first");
    for (let index = 0; index < 9_999; index++) often(`other ${index}`);
    expect(limit.waitMs("first", 0)).toBeGreaterThan(0);
    often("one more");
    expect(limit.waitMs("first", 0)).toBe(0);
    expect(limit.waitMs("one more", 0)).toBeGreaterThan(0);
  });
});
