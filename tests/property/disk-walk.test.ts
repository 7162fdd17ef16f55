import { expect, test } from "bun:test";
import { isUtf8 } from "node:buffer";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import fc from "fast-check";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { walk } from "../../src/disk/walk.ts";
import type { EntryKind, ListEntry } from "../../src/wire/entries.ts";
import { tempFolder } from "../support/temp.ts";
import { runs } from "./runs.ts";

interface Node {
  kind: "file" | "directory" | "symlink" | "fifo";
  sizeBytes: number;
  mtimeSeconds: number;
  children: [Buffer, Node][];
}

const SLASH = Buffer.from("/");

const arbitraryName = fc
  .oneof(
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        ..."a b docs docs2 .hidden ... -rf %2e%2e ~ * C: back\\slash e\u0301 é 日本語 🛒".split(" "),
      ),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        "line\nbreak",
        " space ",
        "\u0001",
        "\uFFFD",
        "x\uFFFDy",
        "\uFEFFbom",
        "z".repeat(255),
      ),
    },
    { weight: 1, arbitrary: fc.constantFrom(".dray-x1-2.tmp", ".dray-x1-2.tmp2", ".dray") },
    { weight: 1, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 10 }) },
  )
  .map((name) => Buffer.from(name))
  .chain((name) =>
    fc.oneof(
      { weight: 5, arbitrary: fc.constant(name) },
      {
        weight: 1,
        arbitrary: fc
          .constantFrom([0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf], [0x5c, 0xff], [0xef, 0xbf])
          .map((bytes) => Buffer.concat([name.subarray(0, 50), Buffer.from(bytes)])),
      },
    ),
  )
  .filter(
    (name) =>
      !name.includes(0) && !name.includes(SLASH) && name.length <= 255 && !/^\.{0,2}$/.test(name.toString()),
  );

const { tree } = fc.letrec<{ tree: Node; children: [Buffer, Node][] }>((tie) => ({
  tree: fc.record({
    kind: fc.constantFrom("file", "file", "directory", "directory", "symlink", "fifo"),
    sizeBytes: fc.nat(300),
    mtimeSeconds: fc.oneof(
      fc.integer({ min: 1, max: 4_000_000_000 }),
      fc.constantFrom(0, 1.000_001, 1_700_000_000.123_456),
    ),
    children: fc.oneof({ maxDepth: 4 }, fc.constant<[Buffer, Node][]>([]), tie("children")),
  }),
  children: fc.array(fc.tuple(arbitraryName, tie("tree")), { maxLength: 5 }),
}));
const arbitraryTree = fc.array(fc.tuple(arbitraryName, tree), { maxLength: 8 });

function build(directory: Buffer, children: readonly [Buffer, Node][]): void {
  for (const [name, node] of children) {
    const at = Buffer.concat([directory, SLASH, name]);
    if (fs.existsSync(at) || fs.lstatSync(at, { throwIfNoEntry: false }) !== undefined) continue;
    if (node.kind === "file") fs.writeFileSync(at, Buffer.alloc(node.sizeBytes));
    else if (node.kind === "symlink") fs.symlinkSync(node.sizeBytes % 2 === 0 ? ".." : "/etc", at);
    else if (node.kind === "fifo") {
      // mkfifo takes text: other names become a plain file.
      if (!isUtf8(name) || spawnSync("mkfifo", ["--", at.toString()]).status !== 0) fs.writeFileSync(at, "");
    } else {
      fs.mkdirSync(at);
      build(at, node.children);
    }
    if (node.kind !== "symlink") fs.utimesSync(at, node.mtimeSeconds, node.mtimeSeconds);
  }
}

/** The same listing, from node:fs with names as raw bytes. */
function naiveListing(directory: Buffer, prefix = ""): ListEntry[] {
  return fs.readdirSync(directory, { encoding: "buffer" }).flatMap((raw): ListEntry[] => {
    const name = raw.toString();
    if (!isUtf8(raw)) {
      return [{ kind: "unnameable", path: prefix + escaped(raw), size: 0, mtimeUs: 0, mode: 0, target: "" }];
    }
    const at = Buffer.concat([directory, SLASH, raw]);
    const stats = fs.lstatSync(at, { bigint: true });
    const kind: EntryKind = stats.isFile()
      ? /^\.dray-[0-9a-z]+-[0-9a-z]+\.tmp$/.test(name)
        ? "unfinished"
        : "file"
      : stats.isDirectory()
        ? "directory"
        : stats.isSymbolicLink()
          ? "symlink"
          : "special";
    const own: ListEntry = {
      kind,
      path: prefix + name,
      size: stats.isFile() ? Number(stats.size) : 0,
      mtimeUs: Math.round(Number(stats.mtimeNs) / 1000),
      mode: Number(stats.mode) & 0o7777,
      target: stats.isSymbolicLink() ? fs.readlinkSync(at) : "",
    };
    return kind === "directory" ? [own, ...naiveListing(at, `${prefix}${name}/`)] : [own];
  });
}

function escaped(raw: Buffer): string {
  return Array.from(raw, (byte) =>
    byte === 0x5c ? "\\\\" : byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`,
  ).join("");
}

const byPath = (entries: readonly ListEntry[]): string[] =>
  entries
    .map(({ kind, path, size, mode, target }) => JSON.stringify([path, kind, size, mode, target]))
    .sort();

function expectSame(walked: readonly ListEntry[], naive: readonly ListEntry[]): void {
  expect(byPath(walked)).toEqual(byPath(naive));
  const mtimes = new Map(naive.map((entry) => [`${entry.kind} ${entry.path}`, entry.mtimeUs]));
  for (const entry of walked) {
    expect(Math.abs(entry.mtimeUs - mtimes.get(`${entry.kind} ${entry.path}`)!)).toBeLessThanOrEqual(1);
  }
}

test("a walk finds what node:fs finds, directories first, at and below every path", () => {
  let entryCount = 0;
  let unnameableCount = 0;
  fc.assert(
    fc.property(arbitraryTree, (children) => {
      using folder = tempFolder();
      build(Buffer.from(folder.path), children);
      const root = new ContainedRoot(folder.path);
      const naive = naiveListing(Buffer.from(folder.path));
      const walked = [...walk(root, [])];
      expectSame(walked, naive);
      const seen = new Set<string>([""]);
      for (const entry of walked) {
        expect(seen).toContain(entry.path.split("/").slice(0, -1).join("/"));
        if (entry.kind === "directory") seen.add(entry.path);
      }
      for (const entry of naive) {
        if (entry.kind === "unnameable") continue;
        const below = naive.filter(({ path }) => path === entry.path || path.startsWith(`${entry.path}/`));
        const walkedBelow = [...walk(root, entry.path.split("/"))];
        expectSame(walkedBelow, below);
        expect(walkedBelow[0]!.path).toBe(entry.path);
      }
      entryCount += naive.length;
      unnameableCount += naive.filter(({ kind }) => kind === "unnameable").length;
      root.close();
    }),
    runs(120),
  );
  expect(entryCount).toBeGreaterThan(300);
  expect(unnameableCount).toBeGreaterThan(10);
});
