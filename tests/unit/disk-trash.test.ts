import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { Trash, sweepTrash, trashLabel } from "../../src/disk/trash.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, smallFileSystem, tempFolder } from "../support/temp.ts";
import { snapshotOf } from "../support/tree-snapshot.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 10, 21, 11, 5, 32, 987);
const LABEL = trashLabel(NOW_MS, "0af1");

let folder: TempFolder;
let root: ContainedRoot;
let trash: Trash;

beforeEach(() => {
  folder = tempFolder();
  root = new ContainedRoot(folder.path);
  trash = new Trash(folder.path, LABEL);
});
afterEach(() => {
  trash.close();
  root.close();
  folder[Symbol.dispose]();
});

function write(path: string, contents: string): void {
  fs.mkdirSync(folder.join(path, ".."), { recursive: true });
  fs.writeFileSync(folder.join(path), contents);
}

const inTrash = (label = LABEL): Record<string, string> => snapshotOf(folder.join(".dray/trash", label));
const read = (path: string): string => fs.readFileSync(folder.join(".dray/trash", LABEL, path), "utf8");

describe("what is moved into the trash", () => {
  test("is there under its path, the same file as it was, and its directories stay where they were", () => {
    write("h_1/docs/ü 日/file", "contents");
    const before = fs.statSync(folder.join("h_1/docs/ü 日/file"));
    trash.move(root, ["h_1", "docs", "ü 日", "file"]);
    const after = fs.statSync(folder.join(".dray/trash", LABEL, "h_1/docs/ü 日/file"));
    expect([after.ino, after.mtimeMs, after.mode]).toEqual([before.ino, before.mtimeMs, before.mode]);
    expect(fs.readdirSync(folder.join("h_1/docs/ü 日"))).toEqual([]);
  });

  test("stays beside what has its name there: NAME, NAME~1~, NAME~2~", () => {
    for (const contents of ["first", "second", "third"]) {
      write("h_1/file", contents);
      trash.move(root, ["h_1", "file"]);
    }
    expect([read("h_1/file"), read("h_1/file~1~"), read("h_1/file~2~")]).toEqual([
      "first",
      "second",
      "third",
    ]);
  });

  test("is kept beside what a user called like an older version", () => {
    write("h_1/file~1~", "the user's");
    trash.move(root, ["h_1", "file~1~"]);
    for (const contents of ["first", "second"]) {
      write("h_1/file", contents);
      trash.move(root, ["h_1", "file"]);
    }
    expect([read("h_1/file~1~"), read("h_1/file"), read("h_1/file~2~")]).toEqual([
      "the user's",
      "first",
      "second",
    ]);
  });

  test("is a link itself, never what it leads to; and a directory with all that is in it", () => {
    write("h_1/target", "contents");
    fs.symlinkSync("target", folder.join("h_1/link"));
    fs.symlinkSync("nowhere", folder.join("h_1/dangling"));
    write("h_1/tree/deep/file", "x");
    for (const name of ["link", "dangling", "tree"]) trash.move(root, ["h_1", name]);
    expect(inTrash()).toMatchObject({
      "h_1/link": "link to target",
      "h_1/dangling": "link to nowhere",
      "h_1/tree/deep": "directory",
    });
    expect(fs.readdirSync(folder.join("h_1"))).toEqual(["target"]);
  });

  test("goes to the trash of its own label", () => {
    write("h_1/file", "first");
    trash.move(root, ["h_1", "file"]);
    const other = new Trash(folder.path, trashLabel(NOW_MS + DAY_MS, "0af1"));
    write("h_1/file", "second");
    other.move(root, ["h_1", "file"]);
    other.close();
    expect(read("h_1/file")).toBe("first");
    expect(fs.readdirSync(folder.join(".dray/trash")).sort()).toEqual([
      "20261121T110532Z-0af1",
      "20261122T110532Z-0af1",
    ]);
  });

  test("is nothing, and leaves no trash, when it is not there", () => {
    expect(codeOf(() => trash.move(root, ["h_1", "missing"]))).toBe("not-found");
    expect(fs.existsSync(folder.join(".dray"))).toBe(false);
  });

  test("stays where it was when it cannot go, as from another file system", () => {
    using other = smallFileSystem(1_000_000);
    if (other === undefined) return; // mounting is not permitted here
    fs.mkdirSync(other.join("h_1"));
    fs.writeFileSync(other.join("h_1/file"), "x");
    const otherRoot = new ContainedRoot(other.path);
    expect(() => trash.move(otherRoot, ["h_1", "file"])).toThrow(/EXDEV/);
    otherRoot.close();
    expect(fs.readdirSync(other.join("h_1"))).toEqual(["file"]);
  });

  test("is not taken through a link, nor put through one", () => {
    using outside = tempFolder();
    fs.writeFileSync(outside.join("file"), "x");
    fs.symlinkSync(outside.path, folder.join("h_1"));
    expect(() => trash.move(root, ["h_1", "file"])).toThrow(/link/);
    write("h_2/file", "x");
    fs.mkdirSync(folder.join(".dray/trash", LABEL), { recursive: true });
    fs.symlinkSync(outside.path, folder.join(".dray/trash", LABEL, "h_2"));
    expect(() => trash.move(root, ["h_2", "file"])).toThrow(/link/);
    expect(fs.readdirSync(outside.path)).toEqual(["file"]);
    expect(fs.existsSync(folder.join("h_2/file"))).toBe(true);
  });
});

test("an empty directory goes, one that holds something stays, one that has gone is no trouble", () => {
  write("h_1/full/file", "x");
  fs.mkdirSync(folder.join("h_1/empty"));
  expect(trash.removeEmptyDirectory(root, ["h_1", "empty"])).toBe(true);
  expect(trash.removeEmptyDirectory(root, ["h_1", "full"])).toBe(false);
  expect(trash.removeEmptyDirectory(root, ["h_1", "missing"])).toBe(false);
  expect(() => trash.removeEmptyDirectory(root, ["h_1", "full", "file"])).toThrow();
  expect(fs.readdirSync(folder.join("h_1"))).toEqual(["full"]);
});

describe("the trash is emptied", () => {
  const makeTrash = (...labels: string[]): void => {
    for (const label of labels) write(`.dray/trash/${label}/h_1/deep/file`, "x");
  };
  const labels = (): string[] => fs.readdirSync(folder.join(".dray/trash")).sort();

  test("by the age that the labels say, whatever the age of the files", async () => {
    const [old, young] = [trashLabel(NOW_MS - 31 * DAY_MS, "a"), trashLabel(NOW_MS - 29 * DAY_MS, "b")];
    makeTrash(old, young);
    expect(await sweepTrash(folder.path, NOW_MS - 30 * DAY_MS)).toBe(1);
    expect(labels()).toEqual([young]);
  });

  test("of what is older, to the second", async () => {
    const label = trashLabel(NOW_MS, "a");
    makeTrash(label);
    const madeMs = Math.floor(NOW_MS / 1000) * 1000;
    expect(await sweepTrash(folder.path, madeMs)).toBe(0);
    expect(await sweepTrash(folder.path, madeMs + 1)).toBe(1);
    expect(labels()).toEqual([]);
  });

  test("but for what somebody else put there, under any other name", async () => {
    const foreign = ["mine", "2001-01-01", "20010101T000000Z", "x20010101T000000Z-a", "20010101-a", ".keep"];
    makeTrash(...foreign, "20010101T000000Z-a");
    expect(await sweepTrash(folder.path, NOW_MS)).toBe(1);
    expect(labels()).toEqual([...foreign].sort());
  });

  test("where there is none, without a trace", async () => {
    expect(await sweepTrash(folder.path, NOW_MS)).toBe(0);
    expect(fs.existsSync(folder.join(".dray"))).toBe(false);
  });

  test("without following a link", async () => {
    using outside = tempFolder();
    fs.writeFileSync(outside.join("precious"), "x");
    makeTrash("20010101T000000Z-a");
    fs.symlinkSync(outside.path, folder.join(".dray/trash/20010101T000000Z-a/h_1/link"));
    fs.symlinkSync(outside.path, folder.join(".dray/trash/20010101T000000Z-b"));
    expect(await sweepTrash(folder.path, NOW_MS)).toBe(2);
    expect(fs.readdirSync(outside.path)).toEqual(["precious"]);
    expect(labels()).toEqual([]);
  });
});
