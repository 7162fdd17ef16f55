import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { TwinIndex, isReserved, syncedPath, twinKey } from "../../src/sync/names.ts";

const LINUX = { isWindows: false };

test.each([
  ["", "is empty"],
  ["/etc/passwd", "is absolute"],
  ["../x", "leads upwards"],
  ["a/../b", "leads upwards"],
  ["./a", "canonical"],
  ["a//b", "canonical"],
  ["a/", "canonical"],
  ["a\0b", "NUL"],
  ["META-DATA", "reserved"],
  [".dray/versions/x", "reserved"],
  ["docs/.dray-20261121", "reserved"],
  [".DRAY", "reserved"],
  ["x".repeat(256), "longer than 255"],
  [`${"x/".repeat(2100)}y`, "longer than 4096"],
])("the name %j may not be synced", (name, why) => {
  const checked = syncedPath(name, LINUX);
  if (!("problem" in checked)) throw new Error("it may be");
  expect(checked.problem).toContain(why);
  expect(checked.problem).not.toContain('"');
});

test("other names may, whatever is in them", () => {
  for (const name of [
    "a",
    "a/b/c",
    "META-DATA/x",
    "docs/META-DATA",
    ".drayignore",
    "a\\b",
    "c:x",
    "a\tb",
    "…",
    ".drayx",
  ])
    expect(syncedPath(name, LINUX)).toEqual({ path: name.split("/") });
});

test.each(["a\\b", "c:x", "nul.txt", "a."])("Windows refuses %j", (name) => {
  expect(syncedPath(name, { isWindows: true })).toHaveProperty("problem");
});

test("names of dray's own are reserved in any case", () => {
  expect([".dray", ".DRAY-x", ".Dray"].map(isReserved)).toEqual([true, true, true]);
  expect([".drayignore", "dray", "x.dray"].map(isReserved)).toEqual([false, false, false]);
});

describe("twins", () => {
  test.each([
    ["a.txt", "A.TXT"],
    ["caf\u00e9", "cafe\u0301"],
    ["straße", "STRASSE"],
    ["ΟΔΟΣ", "οδος"],
    ["docs/a", "Docs/b"],
    ["x/y", "X"],
  ])("%j and %j do not go together", (one, other) => {
    const index = new TwinIndex();
    expect(index.add(one)).toBeUndefined();
    expect(index.add(other)).toBeDefined();
    expect(index.add(one)).toBeUndefined();
  });

  test("go together once the first is gone", () => {
    const index = new TwinIndex();
    index.add("Docs/a");
    index.add("Docs/b");
    expect(index.add("docs/c")).toBe("Docs");
    index.remove("Docs/a");
    expect(index.twinOf("docs/c")).toBe("Docs");
    index.remove("Docs/b");
    expect(index.add("docs/c")).toBeUndefined();
    expect(index.twinOf("Docs/a")).toBe("docs");
  });

  test("the index is like a list that is searched", () => {
    const name = fc.array(fc.constantFrom("a", "A", "\u00e9", "e\u0301", "b"), {
      minLength: 1,
      maxLength: 3,
    });
    const command = fc.record({ name: name.map((parts) => parts.join("/")), isRemoval: fc.boolean() });
    fc.assert(
      fc.property(fc.array(command), (commands) => {
        const index = new TwinIndex();
        const there: string[] = [];
        const prefixes = (path: string): string[] =>
          path.split("/").map((_, i, all) => all.slice(0, i + 1).join("/"));
        for (const { name, isRemoval } of commands) {
          if (isRemoval) {
            if (!there.includes(name)) continue;
            there.splice(there.indexOf(name), 1);
            index.remove(name);
            continue;
          }
          const spelled = there.flatMap(prefixes);
          const twin = prefixes(name)
            .map((prefix) => spelled.find((other) => other !== prefix && twinKey(other) === twinKey(prefix)))
            .find((found) => found !== undefined);
          expect(index.add(name)).toBe(twin);
          if (twin === undefined) there.push(name);
        }
      }),
    );
  });
});
