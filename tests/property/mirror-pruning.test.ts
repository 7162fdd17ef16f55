import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { Trash } from "../../src/disk/trash.ts";
import { NameFilter } from "../../src/mirror/name-filter.ts";
import { type PruneScope, guardAgainst, prune, surplusIn } from "../../src/mirror/pruning.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { tempFolder } from "../support/temp.ts";
import { snapshotOf } from "../support/tree-snapshot.ts";
import { codeOf } from "./error-code.ts";
import { runs } from "./runs.ts";

const HOST = "h_1";
const LABEL = "20260101T000000Z-test";

describe("deleting is stopped", () => {
  const limits = fc.record({ maxFiles: fc.nat(200), maxPercent: fc.integer({ min: 0, max: 100 }) });
  const counts = fc.record({ surplus: fc.nat(300), kept: fc.nat(300), newcomers: fc.nat(300) });

  test("when the source has nothing at all, whatever is allowed", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1 }), fc.nat(), limits, (surplus, kept, limits) => {
        expect(guardAgainst({ surplus, kept, listed: 0 }, limits)).toContain("no files at all");
      }),
      runs(200),
    );
  });

  test("exactly when it would be more files than allowed, or more than ten and a larger part than allowed", () => {
    fc.assert(
      fc.property(counts, limits, ({ surplus, kept, newcomers }, limits) => {
        fc.pre(kept + newcomers > 0);
        const isTooMany = surplus > limits.maxFiles;
        const isTooLarge = surplus > 10 && surplus * 100 > limits.maxPercent * (surplus + kept);
        const objection = guardAgainst({ surplus, kept, listed: kept + newcomers }, limits);
        expect(objection !== undefined).toBe(isTooMany || isTooLarge);
        if (objection !== undefined) expect(objection).toMatch(new RegExp(`^${surplus} files? `));
      }),
      runs(2_000),
    );
  });

  test("never for ten files or less, but by the number that is allowed", () => {
    for (let surplus = 0; surplus <= 10; surplus++) {
      expect(guardAgainst({ surplus, kept: 0, listed: 1 }, { maxFiles: 10, maxPercent: 0 })).toBeUndefined();
    }
    expect(guardAgainst({ surplus: 11, kept: 0, listed: 1 }, { maxFiles: 99, maxPercent: 99 })).toBeDefined();
    expect(guardAgainst({ surplus: 1, kept: 99, listed: 99 }, { maxFiles: 0, maxPercent: 99 })).toBeDefined();
  });
});

type Kind = "file" | "directory" | "link" | "fifo";

interface Made {
  path: string;
  kind: Kind;
  isListed: boolean;
}

const name = fc.constantFrom("a", "b", "keep.log", "docs", "ü 日", ".dray-file-x1.tmp", ".dray-part0-0.tmp");
const made: fc.Arbitrary<Made> = fc.record({
  path: fc.array(name, { minLength: 1, maxLength: 4 }).map((components) => components.join("/")),
  kind: fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom<Kind>("file", "file", "directory", "link") },
    { weight: 1, arbitrary: fc.constant<Kind>("fifo") },
  ),
  isListed: fc.boolean(),
});

const TARGETS = { link: ["../a", "/etc/passwd", "docs", "."] };

/** Makes what can be made: what is in the way of something else stays. */
function make(root: string, wanted: readonly Made[]): Made[] {
  return wanted.filter(({ path, kind }, index) => {
    const at = join(root, path);
    try {
      fs.mkdirSync(dirname(at), { recursive: true });
      if (kind === "directory") fs.mkdirSync(at);
      else if (kind === "file") fs.writeFileSync(at, `file ${index}`, { flag: "wx" });
      else if (kind === "link") fs.symlinkSync(TARGETS.link[index % TARGETS.link.length]!, at);
      else return spawnSync("mkfifo", [at]).status === 0;
      return true;
    } catch {
      return false;
    }
  });
}

interface Node {
  path: string;
  isDirectory: boolean;
}

/** What is there, the naive way. */
function nodesBelow(root: string): Node[] {
  return Object.entries(snapshotOf(root)).map(([path, what]) => ({
    path,
    isDirectory: what === "directory",
  }));
}

const isTemp = (path: string): boolean => /(^|\/)\.dray-[^/]*\.tmp$/.test(path);
const isAtOrBelow = (path: string, other: string): boolean => path === other || path.startsWith(`${other}/`);

/** All that `surplusIn` finds, without its pauses. */
function surplusOf(scope: PruneScope): Node[] {
  return [...surplusIn(scope)].flatMap((found) =>
    found === undefined
      ? []
      : [{ path: found.components.slice(1).join("/"), isDirectory: found.entry.kind === "directory" }],
  );
}

function scopeOf(
  root: ContainedRoot,
  isKept: PruneScope["isKept"],
  within: readonly string[] = [],
  changedBeforeMs = Number.POSITIVE_INFINITY,
): PruneScope {
  return { root, sourceDirectory: HOST, within, changedBeforeMs, isKept };
}

const byPath = (nodes: readonly Node[]): string[] => nodes.map(({ path }) => path).sort();

const wishes = fc.record({
  tree: fc.array(made, { maxLength: 40 }),
  exclude: fc.subarray(["*.log", "a/b", "docs"], { maxLength: 2 }),
  within: fc.constantFrom([], [], ["a"], ["docs", "b"], ["missing"]),
});

test("what goes is what the list lacks and the order is for, and what is left is all the rest", () => {
  using folder = ramFolder(10_000_000);
  let round = 0;
  fc.assert(
    fc.property(wishes, ({ tree, exclude, within }) => {
      const mirror = folder.join(`mirror-${round++}`);
      const source = join(mirror, HOST);
      fs.mkdirSync(source, { recursive: true });
      fs.mkdirSync(join(mirror, "h_2/a"), { recursive: true });
      fs.writeFileSync(join(mirror, "h_2/a/b"), "another source's");
      const listed = new Set(
        make(source, tree)
          .filter(({ isListed }) => isListed)
          .map(({ path }) => path),
      );
      const filter = new NameFilter({ include: [], exclude });
      const isKept = (path: string): boolean => !filter.takes(path) || listed.has(path);
      const before = nodesBelow(source);
      const contents = snapshotOf(source);
      const asked = within.join("/");
      const expected = before.filter(
        ({ path, isDirectory }) =>
          (asked === "" || isAtOrBelow(path, asked)) && !isKept(path) && (isDirectory || !isTemp(path)),
      );

      using root = disposable(new ContainedRoot(mirror));
      const isBehindLink = within.slice(0, -1).some((name) => contents[name]?.startsWith("link"));
      if (isBehindLink) {
        expect(codeOf(() => surplusOf(scopeOf(root.value, isKept, within)))).toBe("refused");
        return;
      }
      const found = surplusOf(scopeOf(root.value, isKept, within));
      expect(byPath(found)).toEqual(byPath(expected));
      expect(snapshotOf(source)).toEqual(contents);
      for (const [index, { path, isDirectory }] of found.entries()) {
        if (!isDirectory) continue;
        const later = found.slice(index + 1).filter((other) => isAtOrBelow(other.path, path));
        expect(later).toEqual([]);
      }

      const trash = new Trash(mirror, LABEL);
      for (const surplus of surplusIn(scopeOf(root.value, isKept, within))) {
        if (surplus !== undefined) expect(prune(root.value, trash, surplus)).toBeUndefined();
      }
      trash.close();
      const gone = new Set(expected.filter(({ isDirectory }) => !isDirectory).map(({ path }) => path));
      const left = before.filter(({ path }) => !gone.has(path));
      const empty = expected.filter(
        ({ path, isDirectory }) =>
          isDirectory &&
          !left.some((other) => isAtOrBelow(other.path, path) && (!other.isDirectory || isKept(other.path))),
      );
      const isEmpty = new Set(empty.map(({ path }) => path));
      expect(byPath(nodesBelow(source))).toEqual(byPath(left.filter(({ path }) => !isEmpty.has(path))));
      const thrown = snapshotOf(join(mirror, ".dray/trash", LABEL, HOST));
      for (const path of gone) expect([path, thrown[path]]).toEqual([path, contents[path]]);
      for (const { path } of left.filter((one) => !one.isDirectory))
        expect(snapshotOf(source)[path]).toBe(contents[path]);
      expect(Object.values(thrown).filter((what) => what !== "directory")).toHaveLength(gone.size);
      expect(fs.readFileSync(join(mirror, "h_2/a/b"), "utf8")).toBe("another source's");
    }),
    runs(250),
  );
});

test("a name that the source has as another kind of thing is asked for by its kind", () => {
  using folder = tempFolder();
  fs.mkdirSync(folder.join(HOST, "was-directory"), { recursive: true });
  fs.writeFileSync(folder.join(HOST, "was-directory/file"), "x");
  fs.writeFileSync(folder.join(HOST, "was-file"), "x");
  using root = disposable(new ContainedRoot(folder.path));
  const asked: [string, string][] = [];
  const scope = scopeOf(root.value, (path, kind) => {
    asked.push([path, kind]);
    // At the source, it is the other way round.
    return path === "was-directory" ? kind !== "directory" : path === "was-file" && kind === "directory";
  });
  expect(byPath(surplusOf(scope))).toEqual(["was-directory", "was-directory/file", "was-file"]);
  expect(asked.sort(([one], [other]) => one.localeCompare(other))).toEqual([
    ["was-directory", "directory"],
    ["was-directory/file", "file"],
    ["was-file", "file"],
  ]);
});

test("what changed since the list was taken stays, as soon as somebody else may have written there", () => {
  using folder = tempFolder();
  fs.mkdirSync(folder.join(HOST));
  fs.writeFileSync(folder.join(HOST, "old"), "x");
  const { ctimeMs } = fs.statSync(folder.join(HOST, "old"));
  using root = disposable(new ContainedRoot(folder.path));
  const surplusBefore = (changedBeforeMs: number): string[] =>
    byPath(surplusOf(scopeOf(root.value, () => false, [], changedBeforeMs)));
  expect(surplusBefore(Number.POSITIVE_INFINITY)).toEqual(["old"]);
  expect(surplusBefore(ctimeMs + 1)).toEqual(["old"]);
  expect(surplusBefore(ctimeMs)).toEqual([]);
  expect(surplusBefore(0)).toEqual([]);
});

test("nothing goes where nothing was ever mirrored, and other work gets its turn in large trees", () => {
  using folder = tempFolder();
  using root = disposable(new ContainedRoot(folder.path));
  expect([...surplusIn(scopeOf(root.value, () => false))]).toEqual([]);
  fs.mkdirSync(folder.join(HOST));
  for (let index = 0; index < 1_000; index++) fs.writeFileSync(folder.join(HOST, `${index}`), "");
  const pauses = [...surplusIn(scopeOf(root.value, () => true))].filter((found) => found === undefined);
  expect(pauses.length).toBeGreaterThan(1);
});

test("a file that cannot go is told, and stays; one that has gone by itself is no trouble", () => {
  using folder = tempFolder();
  fs.mkdirSync(folder.join(HOST));
  fs.writeFileSync(folder.join(HOST, "stays"), "x");
  fs.writeFileSync(folder.join(HOST, "goes"), "x");
  // Where the trash is to be, there is a file.
  fs.mkdirSync(folder.join(".dray"));
  fs.writeFileSync(folder.join(".dray/trash"), "");
  using root = disposable(new ContainedRoot(folder.path));
  const found = [...surplusIn(scopeOf(root.value, () => false))].filter((one) => one !== undefined);
  const trash = new Trash(folder.path, LABEL);
  expect(found.map((one) => prune(root.value, trash, one)?.code)).toEqual(["refused", "refused"]);
  expect(Object.keys(snapshotOf(folder.join(HOST)))).toEqual(["goes", "stays"]);
  fs.rmSync(folder.join(".dray/trash"));
  fs.rmSync(folder.join(HOST, "goes"));
  expect(found.map((one) => prune(root.value, trash, one))).toEqual([undefined, undefined]);
  expect(Object.keys(snapshotOf(folder.join(".dray/trash", LABEL)))).toEqual([HOST, `${HOST}/stays`]);
  trash.close();
});

/** For `using` with what is closed by a method. */
function disposable<T extends { close(): void }>(value: T): Disposable & { value: T } {
  return { value, [Symbol.dispose]: () => value.close() };
}
