import { afterEach, beforeEach, describe, expect, setSystemTime, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { type FileFacts, factsAt } from "../../src/disk/file-facts.ts";
import { type Look, NamedWay } from "../../src/disk/quick-look.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

let inside: TempFolder;
let outside: TempFolder;
const NAMES = Array.from({ length: 40 }, (_, index) => `file-${index}`);

beforeEach(() => {
  inside = tempFolder();
  outside = tempFolder();
  fs.mkdirSync(inside.join("a/b"), { recursive: true });
  for (const name of NAMES) fs.writeFileSync(inside.join("a/b", name), name);
  fs.writeFileSync(outside.join("secret"), "not yours");
  comeToRest();
});
afterEach(() => {
  setSystemTime();
  inside[Symbol.dispose]();
  outside[Symbol.dispose]();
});

/** Has the kernel's coarse clock go on by a tick, and ours by so much that all changes up to now are old ones. */
function comeToRest(): void {
  const probe = outside.join("probe");
  const changedMs = fs.statSync(inside.join("a/b")).ctimeMs;
  do fs.writeFileSync(probe, "");
  while (fs.statSync(probe).ctimeMs <= changedMs);
  fs.unlinkSync(probe);
  setSystemTime(new Date(Date.now() + 10_000));
}

const join = (directory: string, name: string): string => `${directory}/${name}`;

function lookByName(names: readonly string[], held: Partial<FileFacts> = {}): Look[] | undefined {
  const way = new NamedWay([inside.path, inside.join("a"), inside.join("a/b")]);
  return way.look({ ...factsAt(inside.join("a/b"))!, ...held }, names, join);
}

/** Names of which the one in the middle, when it is come to, makes something happen first. */
function namesWith(middle: string, happens: () => void): string[] {
  const names = [...NAMES.slice(0, 20), middle, ...NAMES.slice(20)];
  return new Proxy(names, {
    get: (target, key, receiver) => {
      if (key === "20") happens();
      return Reflect.get(target, key, receiver) as unknown;
    },
  });
}

function swapForOutside(): void {
  fs.renameSync(inside.join("a/b"), inside.join("a/moved"));
  fs.symlinkSync(outside.path, inside.join("a/b"));
}

function swapBack(): void {
  fs.unlinkSync(inside.join("a/b"));
  fs.renameSync(inside.join("a/moved"), inside.join("a/b"));
}

describe("a look by names", () => {
  test("sees what each entry is, and what is not there", () => {
    fs.symlinkSync("/etc", inside.join("a/b/link"));
    comeToRest();
    const looks = lookByName([...NAMES, "missing", "link"])!;
    for (const [index, name] of NAMES.entries()) {
      expect(looks[index]).toEqual(factsAt(inside.join("a/b", name)));
    }
    expect(looks[40]).toBeUndefined();
    expect(looks[41]).toMatchObject({ kind: "symlink" });
  });

  test("is believed where nothing on the way was touched lately, and nowhere else", () => {
    expect(lookByName(NAMES)).toHaveLength(NAMES.length);
    for (const directory of ["", "a", "a/b"]) {
      fs.writeFileSync(inside.join(directory, "new"), "");
      setSystemTime();
      expect(lookByName(NAMES)).toBeUndefined();
      comeToRest();
      expect(lookByName(NAMES)).toHaveLength(NAMES.length);
    }
  });

  test("is not believed when a directory was swapped for a link and back while it went on", () => {
    let seen: Look;
    const names = namesWith("secret", swapForOutside);
    const way = new NamedWay([inside.path, inside.join("a"), inside.join("a/b")]);
    const looks = way.look(factsAt(inside.join("a/b"))!, names, (directory, name) => {
      if (name === NAMES[20]) {
        seen = factsAt(inside.join("a/b/secret"));
        swapBack();
      }
      return join(directory, name);
    });
    expect(seen).toBeDefined(); // the link did lead there
    expect(looks).toBeUndefined();
  });

  test("is not believed of another directory than the one that is held", () => {
    fs.renameSync(inside.join("a"), inside.join("old"));
    const { inode } = factsAt(inside.join("old/b"))!;
    fs.cpSync(inside.join("old"), inside.join("a"), { recursive: true });
    comeToRest();
    expect(lookByName(NAMES)).toHaveLength(NAMES.length);
    expect(lookByName(NAMES, { inode })).toBeUndefined();
  });

  test("is not believed where a name cannot be looked at by its path", () => {
    expect(lookByName([...NAMES, "x".repeat(300)])).toBeUndefined();
  });

  test("leaves what no path is to those who have a descriptor", () => {
    swapForOutside();
    comeToRest();
    expect(lookByName(NAMES)).toBeUndefined();
    fs.rmSync(inside.join("a"), { recursive: true });
    expect(new NamedWay([inside.path, inside.join("a")]).look(factsAt(inside.path)!, NAMES, join)).toBe(
      undefined,
    );
  });
});

describe("a contained directory", () => {
  test("sees the same whichever way it looks, and nothing of what is outside while it is being swapped", () => {
    const root = new ContainedRoot(inside.path);
    using directory = root.hold(["a", "b"]);
    const expected = NAMES.map((name) => factsAt(inside.join("a/b", name)));
    expect(directory.look(NAMES)).toEqual(expected);
    expect(directory.look(NAMES.slice(0, 1))).toEqual(expected.slice(0, 1));
    let swaps = 0;
    const names = namesWith("secret", () => void (swaps++ === 0 && swapForOutside()));
    expect(directory.look(names)).toEqual([...expected.slice(0, 20), undefined, ...expected.slice(20)]);
    expect(swaps).toBe(2); // the first look was not believed
    root.close();
  });

  test("looks at no name that leads elsewhere", () => {
    const root = new ContainedRoot(inside.path);
    using directory = root.hold(["a"]);
    for (const name of ["..", "b/file-1", "", ".", "b\0"]) {
      expect(() => directory.look([...NAMES, name])).toThrow(/may not be used/);
    }
    root.close();
  });
});
