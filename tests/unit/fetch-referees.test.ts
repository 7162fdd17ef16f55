import { expect, test } from "bun:test";
import { Referees } from "../../src/fetch/referees.ts";

test("the only one is believed at once where nobody else will come, and says so", () => {
  const referees = new Referees(3);
  expect(referees.available(7)).toEqual([{ type: "ask-sums", replica: 7 }]);
  expect(referees.digests(7, [1n])).toEqual([]);
  expect(referees.believeOnly()).toEqual([{ type: "agreed", pieces: { first: 0, count: 1 }, alone: true }]);
  expect(referees.digests(7, [2n, 3n])[0]).toEqual({
    type: "agreed",
    pieces: { first: 1, count: 2 },
    alone: true,
  });
  expect(referees.digestOf(2)).toBe(3n);
});

test("of two, none is believed without the other", () => {
  const referees = new Referees(2);
  referees.available(1);
  referees.available(2);
  referees.digests(1, [1n, 2n]);
  expect(referees.believeOnly()).toEqual([]);
  expect(referees.digestOf(0)).toBeUndefined();
});
