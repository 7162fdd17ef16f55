import { describe, expect, test } from "bun:test";
import * as path from "node:path";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import { isWithin, parseListedName, parsePath } from "../../src/wire/names.ts";
import { runs } from "./runs.ts";

/** What names are made of when somebody means harm, or types carelessly. */
const fragment = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("..", ".", "/", "//", "./", "../", "a", "b", "docs", "docs2") },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      "\0",
      "\\",
      "..\\",
      "C:",
      "\n",
      " ",
      "~",
      "%2e%2e",
      "\uFEFF",
      "\u2024",
      "\uFF0F",
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom("\uD800", "\uDC00", "\uD83D", "\uFFFD", "🛒", "é", "e\u0301") },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 8 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("x", "ü", "日", "🛒"), fc.integer({ min: 50, max: 300 }))
      .map(([character, count]) => character.repeat(count)),
  },
);
const arbitraryName = fc.oneof(
  fc.array(fragment, { maxLength: 12 }).map((fragments) => fragments.join("")),
  fc.array(fragment, { maxLength: 12 }).map((fragments) => fragments.join("/")),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
);

function accepted(parse: (name: string) => string[], name: string): string[] | undefined {
  try {
    return parse(name);
  } catch (error) {
    expect(error).toBeInstanceOf(DrayError);
    expect((error as DrayError).code).toBe("name");
    expect((error as DrayError).message.isWellFormed()).toBe(true);
    return undefined;
  }
}

const ROOT = "/exported/root";

describe("a path from outside", () => {
  test("is refused, or gives plain components that stay below the root", () => {
    let acceptedCount = 0;
    fc.assert(
      fc.property(arbitraryName, (name) => {
        const components = accepted(parsePath, name);
        if (components === undefined) return;
        acceptedCount++;
        for (const component of components) {
          expect(["", ".", ".."]).not.toContain(component);
          expect(component).not.toMatch(/[/\0]/);
          expect(component.isWellFormed()).toBe(true);
          expect(Buffer.byteLength(component)).toBeLessThanOrEqual(255);
        }
        const resolved = path.resolve(ROOT, ...components);
        expect(resolved).toBe([ROOT, ...components].join("/"));
        expect(Buffer.byteLength(components.join("/"))).toBeLessThanOrEqual(4096);
      }),
      runs(20_000),
    );
    expect(acceptedCount).toBeGreaterThan(2000); // or the property would say nothing
  });

  test("means what the file system would make of it, where it has no `..`", () => {
    fc.assert(
      fc.property(arbitraryName, (name) => {
        const components = accepted(parsePath, name);
        if (components === undefined) return;
        expect(components.join("/")).toBe(path.posix.relative("/", path.posix.normalize(`/${name}`)));
      }),
      runs(10_000),
    );
  });

  test("is taken exactly if it is relative, well-formed, not empty, without `..` and NUL, and within the limits", () => {
    fc.assert(
      fc.property(arbitraryName, (name) => {
        const parts = name.split("/");
        const isGood =
          name !== "" &&
          !name.startsWith("/") &&
          !name.includes("\0") &&
          name.isWellFormed() &&
          !parts.includes("..") &&
          Buffer.from(name).length <= 4096 &&
          parts.every((part) => Buffer.from(part).length <= 255);
        expect(accepted(parsePath, name) !== undefined).toBe(isGood);
      }),
      runs(10_000),
    );
  });

  test.each([
    [255, "x", true],
    [256, "x", false],
    [254, "ü", true],
    [256, "ü", false],
    [255, "日", true],
    [252, "🛒", true],
    [256, "🛒", false],
  ])("has components of at most 255 bytes: %d bytes of %s", (bytes, character, isTaken) => {
    const component = character.repeat(bytes / Buffer.byteLength(character));
    expect(accepted(parsePath, `a/${component}/b`) !== undefined).toBe(isTaken);
    expect(accepted(parseListedName, component) !== undefined).toBe(isTaken);
  });

  test("has at most 4096 bytes", () => {
    const long = `${"a/".repeat(2047)}ab`;
    expect(accepted(parsePath, long)).toHaveLength(2048);
    expect(accepted(parsePath, `${long}c`)).toBeUndefined();
  });
});

describe("a listed name", () => {
  test("is taken in one spelling only: it is its components joined again", () => {
    fc.assert(
      fc.property(arbitraryName, (name) => {
        const components = accepted(parseListedName, name);
        if (components === undefined) return;
        expect(components.join("/")).toBe(name);
        expect(components.length).toBeGreaterThan(0);
      }),
      runs(10_000),
    );
  });

  test("never means the same file as another one", () => {
    fc.assert(
      fc.property(fc.array(arbitraryName, { minLength: 2, maxLength: 30 }), (names) => {
        const seen = new Map<string, string>();
        for (const name of names) {
          const components = accepted(parseListedName, name);
          if (components === undefined) continue;
          const key = JSON.stringify(components);
          expect(seen.get(key) ?? name).toBe(name);
          seen.set(key, name);
        }
      }),
      runs(1000),
    );
  });

  test.each([".", "", "a/", "./a", "a//b", "a/./b", "/a", "a/..", "..", "a/../b", "a\0"])(
    "%j is refused",
    (name) => {
      expect(accepted(parseListedName, name)).toBeUndefined();
    },
  );
});

describe("isWithin", () => {
  const components = fc.array(fc.constantFrom("docs", "docs2", "doc", "a"), { maxLength: 4 });

  test("compares whole components", () => {
    fc.assert(
      fc.property(components, components, (one, base) => {
        const asText = (parts: readonly string[]): string => parts.map((part) => `${part}/`).join("");
        expect(isWithin(one, base)).toBe(asText(one).startsWith(asText(base)));
      }),
      runs(2000),
    );
  });

  test("`docs` holds itself and what is below, never `docs2`; the root holds everything", () => {
    expect(isWithin(["docs"], ["docs"])).toBe(true);
    expect(isWithin(["docs", "a"], ["docs"])).toBe(true);
    expect(isWithin(["docs2"], ["docs"])).toBe(false);
    expect(isWithin(["docs2", "a"], ["docs"])).toBe(false);
    expect(isWithin([], ["docs"])).toBe(false);
    expect(isWithin(["x"], [])).toBe(true);
  });
});
