import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { NameTree } from "../../src/sync/client/name-tree.ts";
import { runs } from "./runs.ts";

/** Few components, so that names are often directories of others, and the same ones come again. */
const path = fc
  .array(fc.constantFrom("a", "b", "ab", "a b"), { minLength: 1, maxLength: 4 })
  .map((components) => components.join("/"));

const step = fc.oneof(
  fc.record({ do: fc.constant("add" as const), path }),
  fc.record({ do: fc.constant("delete" as const), path }),
);

describe("names by their directories", () => {
  test("are found at and below each path, whatever came and went", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.array(path, { maxLength: 5 }), (steps, asked) => {
        const tree = new NameTree();
        const names = new Set<string>();
        for (const one of steps) {
          if (one.do === "add") {
            tree.add(one.path);
            names.add(one.path);
          } else {
            tree.delete(one.path);
            names.delete(one.path);
          }
        }
        expect([...tree.from("")].sort()).toEqual([...names].sort());
        for (const at of [...asked, ...steps.map((one) => one.path)]) {
          const expected = [...names].filter((name) => name === at || name.startsWith(`${at}/`));
          expect([...tree.from(at)].sort()).toEqual(expected.sort());
        }
      }),
      runs(300),
    );
  });

  test("cost nothing when they have gone", () => {
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 40 }), (names) => {
        const tree = new NameTree();
        for (const name of names) tree.add(name);
        for (const name of names) tree.delete(name);
        expect(tree.directories).toBe(0);
      }),
      runs(100),
    );
  });
});
