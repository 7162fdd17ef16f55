import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { cutColumns, fitColumns } from "../../src/report/text-columns.ts";

describe("cutColumns", () => {
  test.each([
    ["docs/manual", 11, "docs/manual"],
    ["docs/manual", 10, "docs…anual"],
    ["docs/manual", 3, "d…l"],
    ["docs/manual", 1, "…"],
    ["docs/manual", 0, ""],
    ["日本語ドキュメント", 9, "日本…ント"],
    ["日本語ドキュメント", 8, "日…ント"],
  ])("%s in %d columns is %s", (text, columns, cut) => expect(cutColumns(text, columns)).toBe(cut));

  test("does not tear characters that are made of several", () => {
    expect(cutColumns("👩‍👧👩‍👧👩‍👧👩‍👧", 5)).toBe("👩‍👧…👩‍👧");
  });

  test("never takes more columns than it was given; padded, it takes exactly those", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.nat(40), (text, columns) => {
        expect(Bun.stringWidth(cutColumns(text, columns))).toBeLessThanOrEqual(columns);
        expect(Bun.stringWidth(fitColumns(text, columns))).toBe(columns);
      }),
    );
  });
});
