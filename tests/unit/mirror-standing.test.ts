import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { factsAt } from "../../src/disk/file-facts.ts";
import type { DistrustedSpan, JobItem } from "../../src/mirror/job.ts";
import { listedOf, standing } from "../../src/mirror/standing.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const SOURCE = "h_1";
let folder: TempFolder;
let root: ContainedRoot;

beforeEach(() => {
  folder = tempFolder();
  fs.mkdirSync(folder.join(SOURCE, "docs/deep"), { recursive: true });
  for (const path of ["top", "docs/a", "docs/日本", "docs/deep/b"]) {
    fs.writeFileSync(folder.join(SOURCE, path), path);
  }
  root = new ContainedRoot(folder.path);
});
afterEach(() => {
  root.close();
  folder[Symbol.dispose]();
});

type Listed = Pick<JobItem, "kind" | "path" | "sizeBytes" | "mtimeUs" | "mode">;

/** As a source lists what is here. */
function asItIs(path: string): Listed {
  const { kind, sizeBytes, mtimeUs, mode } = factsAt(folder.join(SOURCE, path))!;
  return { kind: kind as "file" | "directory", path, sizeBytes, mtimeUs, mode };
}

function stands(items: readonly Listed[], distrusted?: DistrustedSpan): number[] | undefined {
  const found = standing(root, listedOf(SOURCE, items), distrusted);
  return found === undefined ? undefined : [...found];
}

test("files and directories that are as they are listed stand, in whatever order they come", () => {
  const paths = ["docs", "top", "docs/deep/b", "docs/a", "docs/deep", "docs/日本"];
  expect(stands(paths.map(asItIs))).toEqual([1, 1, 1, 1, 1, 1]);
});

test("what differs in anything does not, and what stands beside it does", () => {
  const a = asItIs("docs/a");
  const others: Listed[] = [
    { ...a, sizeBytes: a.sizeBytes + 1 },
    { ...a, mtimeUs: a.mtimeUs + 1_000 },
    { ...a, mode: a.mode | 0o111 },
    { ...a, kind: "directory", sizeBytes: 0 },
    { ...a, path: "docs/deep" },
    { ...a, path: "docs/missing" },
    { ...a, path: "docs/a/below" },
    { ...a, path: "nowhere/a" },
    { ...asItIs("docs"), path: "missing" },
  ];
  for (const other of others) expect(stands([other, a])).toEqual([0, 1]);
});

test("neither do links, wherever they lead, nor what is behind one", () => {
  const a = asItIs("docs/a");
  fs.symlinkSync("a", folder.join(SOURCE, "docs/link"));
  fs.symlinkSync("docs", folder.join(SOURCE, "way"));
  const items: Listed[] = [
    { ...a, path: "docs/link" },
    { ...a, path: "way/a" },
    { ...asItIs("docs"), path: "way" },
  ];
  expect(stands(items)).toEqual([0, 0, 0]);
});

test("neither does what was written when a crash may have taken it back", () => {
  const { ctimeMs } = factsAt(folder.join(SOURCE, "docs/a"))!;
  const items = [asItIs("docs/a"), asItIs("docs")];
  expect(stands(items, { fromMs: ctimeMs - 1, untilMs: ctimeMs + 1 })).toEqual([0, 1]);
  expect(stands(items, { fromMs: ctimeMs + 1, untilMs: ctimeMs + 2 })).toEqual([1, 1]);
});

test("of a source that has nothing here yet, that is told at once", () => {
  expect(standing(root, listedOf("h_2", [asItIs("docs/a")]), undefined)).toBeUndefined();
});
