import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

let inside: TempFolder;
let outside: TempFolder;
let root: ContainedRoot;

beforeEach(() => {
  inside = tempFolder();
  outside = tempFolder();
  fs.mkdirSync(inside.join("a/b/c"), { recursive: true });
  fs.writeFileSync(inside.join("file"), "x");
  fs.writeFileSync(outside.join("secret"), "not yours");
  root = new ContainedRoot(inside.path);
});

afterEach(() => {
  root.close();
  inside[Symbol.dispose]();
  outside[Symbol.dispose]();
});

const hold = (components: readonly string[], create = false): string =>
  codeOf(() => root.hold(components, create)[Symbol.dispose]());

const openDescriptors = (): number => fs.readdirSync("/proc/self/fd").length;

/** What is directly in a held directory, seen through it. */
function namesIn(components: readonly string[]): string[] {
  using directory = root.hold(components);
  return fs.readdirSync(directory.path).sort();
}

describe("a symbolic link on the way", () => {
  const targets: [string, () => string][] = [
    ["relative, to a directory inside", () => "a/b"],
    ["absolute, to a directory inside", () => inside.join("a/b")],
    ["absolute, to a directory outside", () => outside.path],
    ["relative, to a directory outside", () => `../${outside.path.split("/").pop()!}`],
    ["to the root itself", () => "."],
    ["to the parent of the root", () => ".."],
    ["dangling", () => "nowhere"],
    ["to itself", () => "link"],
    ["to a file", () => "file"],
  ];

  test.each(targets)("%s is refused, as the last component and before others", (_, target) => {
    fs.symlinkSync(target(), inside.join("link"));
    fs.symlinkSync(target().startsWith("/") ? target() : `../${target()}`, inside.join("a/link"));
    for (const components of [["link"], ["link", "c"], ["a", "link"], ["a", "link", "c"]]) {
      expect(hold(components)).toBe("refused");
      expect(hold(components, true)).toBe("refused");
    }
    expect(fs.readdirSync(outside.path)).toEqual(["secret"]);
    expect(fs.readdirSync(inside.join("a/b"))).toEqual(["c"]);
  });

  test("is followed only where the root's owner named it", () => {
    fs.symlinkSync(inside.path, outside.join("root-link"));
    const linked = new ContainedRoot(outside.join("root-link"));
    using directory = linked.hold(["a"]);
    expect(fs.readdirSync(directory.path)).toEqual(["b"]);
    linked.close();
  });
});

describe("what is not a directory, or not there", () => {
  test("is refused or not found", () => {
    expect(hold(["missing"])).toBe("not-found");
    expect(hold(["a", "missing", "c"])).toBe("not-found");
    expect(hold(["file", "below"], true)).toBe("refused");
    expect(hold(["file"], true)).toBe("refused");
    expect(fs.readFileSync(inside.join("file"), "utf8")).toBe("x");
  });

  test("is made on demand, with all that is missing above it", () => {
    expect(hold(["new", "with space", "日本語"], true)).toBe("no error");
    expect(fs.statSync(inside.join("new/with space/日本語")).isDirectory()).toBe(true);
    expect(hold(["new", "with space"])).toBe("no error");
  });
});

describe("a directory that is swapped for a link to outside", () => {
  const swap = (): void => {
    fs.renameSync(inside.join("a/b"), inside.join("moved"));
    fs.symlinkSync(outside.path, inside.join("a/b"));
  };

  test("after it was held: what is written through it stays in the directory that was held", () => {
    using directory = root.hold(["a", "b"]);
    swap();
    fs.writeFileSync(directory.entry("written"), "late");
    expect(fs.readdirSync(outside.path)).toEqual(["secret"]);
    expect(fs.readFileSync(inside.join("moved/written"), "utf8")).toBe("late");
    expect(fs.existsSync(directory.entry("secret"))).toBe(false);
  });

  test("after it was opened: neither it nor what is below is found outside", () => {
    expect(namesIn(["a", "b"])).toEqual(["c"]);
    swap();
    fs.mkdirSync(outside.join("c"));
    for (const components of [
      ["a", "b"],
      ["a", "b", "c"],
      ["a", "b", "new"],
    ]) {
      const code = hold(components, true);
      if (code !== "no error") continue; // refused, or still the directory that was opened
      using directory = root.hold(components);
      fs.writeFileSync(directory.entry("probe"), "");
    }
    expect(fs.readdirSync(outside.path).sort()).toEqual(["c", "secret"]);
    expect(fs.readdirSync(outside.join("c"))).toEqual([]);
    root.forget();
    expect(hold(["a", "b"], true)).toBe("refused");
    expect(hold(["a", "b", "c"], true)).toBe("refused");
  });

  test("again and again while names below it are used: nothing ever lands outside", () => {
    fs.mkdirSync(outside.join("c"));
    for (let round = 0; round < 200; round++) {
      if (round % 2 === 0) swap();
      else {
        fs.unlinkSync(inside.join("a/b"));
        fs.renameSync(inside.join("moved"), inside.join("a/b"));
      }
      if (round % 3 === 0) root.forget();
      const code = codeOf(() => {
        using directory = root.hold(["a", "b", "c"], true);
        fs.writeFileSync(directory.entry(`round-${round}`), "");
      });
      expect(["no error", "refused"]).toContain(code);
    }
    expect(fs.readdirSync(outside.path).sort()).toEqual(["c", "secret"]);
    expect(fs.readdirSync(outside.join("c"))).toEqual([]);
  });
});

describe("what was opened", () => {
  test("is forgotten on demand: renamed and replaced directories are seen", () => {
    fs.writeFileSync(inside.join("a/b/old"), "");
    expect(namesIn(["a", "b"])).toEqual(["c", "old"]);
    fs.renameSync(inside.join("a"), inside.join("gone"));
    fs.mkdirSync(inside.join("a/b"), { recursive: true });
    fs.writeFileSync(inside.join("a/b/new"), "");
    root.forget();
    expect(namesIn(["a", "b"])).toEqual(["new"]);
    expect(namesIn(["gone", "b"])).toEqual(["c", "old"]);
  });

  test("that is held while everything is forgotten stays usable until it is let go", () => {
    const before = openDescriptors();
    const directory = root.hold(["a", "b"]);
    root.forget();
    expect(fs.readdirSync(directory.path)).toEqual(["c"]);
    directory[Symbol.dispose]();
    expect(openDescriptors()).toBe(before);
  });

  test("is bounded however many directories there are, and those held survive it", () => {
    const count = 2000;
    for (let index = 0; index < count; index++)
      fs.mkdirSync(inside.join(`many/${index}/below`), { recursive: true });
    const before = openDescriptors();
    using held = root.hold(["many", "0", "below"]);
    fs.writeFileSync(held.entry("mark"), "");
    for (let index = 0; index < count; index++) {
      expect(namesIn(["many", String(index), "below"])).toEqual(index === 0 ? ["mark"] : []);
      if (index % 100 === 0) expect(openDescriptors() - before).toBeLessThanOrEqual(130);
    }
    expect(openDescriptors() - before).toBeGreaterThan(100); // it does keep some: that is what makes it quick
    expect(fs.readdirSync(held.path)).toEqual(["mark"]);
  });

  test("is bounded on the way down a very deep path, too", () => {
    const deep = Array.from({ length: 400 }, () => "d");
    const before = openDescriptors();
    for (let round = 0; round < 2; round++) {
      using directory = root.hold(deep, true);
      fs.writeFileSync(directory.entry(`round-${round}`), "");
    }
    expect(openDescriptors() - before).toBeLessThanOrEqual(130);
    expect(namesIn(deep)).toEqual(["round-0", "round-1"]);
  });

  test("is closed by close(), once", () => {
    const before = openDescriptors();
    const other = new ContainedRoot(inside.path);
    for (const components of [["a"], ["a", "b"], ["a", "b", "c"]]) other.hold(components)[Symbol.dispose]();
    expect(openDescriptors()).toBe(before + 4);
    other.close();
    expect(openDescriptors()).toBe(before);
    const innocent = fs.openSync(inside.join("file"), "r");
    other.close();
    expect(fs.fstatSync(innocent).isFile()).toBe(true);
    fs.closeSync(innocent);
  });

  test("costs no descriptor when opening fails", () => {
    const before = openDescriptors();
    for (let round = 0; round < 50; round++) {
      hold(["missing"]);
      hold(["file"]);
    }
    expect(openDescriptors()).toBe(before);
  });
});

test("a component that is none is refused, whoever let it through", () => {
  fs.mkdirSync(inside.join("a/b/.."), { recursive: true });
  for (const name of ["", ".", "..", "a/b", "/etc", "../x", "a\0b"]) {
    expect([name, hold([name])]).toEqual([name, "name"]);
    expect([name, hold(["a", name], true)]).toEqual([name, "name"]);
    using directory = root.hold(["a"]);
    expect(codeOf(() => directory.entry(name))).toBe("name");
  }
});

test("two that make the same directories at once do not stand in each other's way", () => {
  const other = new ContainedRoot(inside.path);
  for (let index = 0; index < 50; index++) {
    root.hold(["shared", `x${index}`], true)[Symbol.dispose]();
    other.hold(["shared", `x${index}`, "below"], true)[Symbol.dispose]();
  }
  expect(fs.readdirSync(inside.join("shared")).length).toBe(50);
  other.close();
});

test("a root that is missing or a file is an error", () => {
  expect(codeOf(() => new ContainedRoot(inside.join("missing")))).toBe("not-found");
  expect(codeOf(() => new ContainedRoot(inside.join("file")))).toBe("refused");
});
