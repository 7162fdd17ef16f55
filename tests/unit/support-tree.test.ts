import { expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { diffTrees } from "../support/diff.ts";
import { smallFileSystem, tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles, makeNonUtf8File, makeOddTree } from "../support/tree.ts";

const MANY = { seed: 1, count: 60, directories: 7, minBytes: 0, maxBytes: 20_000 };

test("the same seed makes the same tree, another one does not", async () => {
  using folder = tempFolder();
  const [first, second, other] = [folder.join("first"), folder.join("second"), folder.join("other")];
  for (const root of [first, second]) {
    makeOddTree(root, { seed: 3, links: true });
    makeManyFiles(`${root}/many`, MANY);
    makeLargeFile(`${root}/large`, { seed: 3, sizeBytes: 3 * 1024 * 1024 + 17 });
  }
  expect(await diffTrees(first, second)).toEqual([]);
  makeOddTree(other, { seed: 4, links: true });
  expect(await diffTrees(first, other)).not.toEqual([]);
});

test("makeManyFiles makes what was asked for", () => {
  using folder = tempFolder();
  const totalBytes = makeManyFiles(folder.path, MANY);
  const sizes = [...new Bun.Glob("**/*.bin").scanSync(folder.path)].map(
    (name) => statSync(folder.join(name)).size,
  );
  expect(sizes).toHaveLength(60);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(totalBytes);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(20_000);
  expect(Math.max(...sizes)).toBeGreaterThan(5000);
});

test("a sparse file has its full size and takes little room", () => {
  using folder = tempFolder();
  const sizeBytes = 3 * 1024 ** 3;
  makeLargeFile(folder.join("large"), { seed: 5, sizeBytes, sparse: true });
  const stat = statSync(folder.join("large"));
  expect(stat.size).toBe(sizeBytes);
  expect(stat.blocks * 512).toBeLessThan(sizeBytes / 32);
});

test("diffTrees sees every kind of difference", async () => {
  const changes: Record<string, (root: string) => void> = {
    "one byte more": (root) => appendFileSync(`${root}/many/file`, "x"),
    "another byte, same size and mtime": (root) => {
      const { atimeMs, mtimeMs } = statSync(`${root}/many/file`);
      writeFileSync(`${root}/many/file`, "BBB");
      utimesSync(`${root}/many/file`, atimeMs / 1000, mtimeMs / 1000);
    },
    "another executable bit": (root) => chmodSync(`${root}/many/file`, 0o755),
    "two microseconds later": (root) => utimesSync(`${root}/many/file`, 1.5e9, 1.5e9 + 2e-6),
    "a file is missing": (root) => rmSync(`${root}/many/file`),
    "an empty directory is missing": (root) => rmSync(`${root}/empty`, { recursive: true }),
    "a file too many": (root) => writeFileSync(`${root}/extra`, ""),
    "a link with another target": (root) => {
      rmSync(`${root}/link`);
      symlinkSync("elsewhere", `${root}/link`);
    },
    "a file for a directory": (root) => {
      rmSync(`${root}/empty`, { recursive: true });
      writeFileSync(`${root}/empty`, "");
    },
    "a name that is not UTF-8": (root) => makeNonUtf8File(root),
  };
  for (const [what, change] of Object.entries(changes)) {
    using folder = tempFolder();
    const roots = [folder.join("expected"), folder.join("actual")] as const;
    for (const root of roots) {
      mkdirSync(`${root}/many`, { recursive: true });
      mkdirSync(`${root}/empty`);
      writeFileSync(`${root}/many/file`, "AAA");
      utimesSync(`${root}/many/file`, 1.5e9, 1.5e9);
      symlinkSync("many", `${root}/link`);
    }
    expect(await diffTrees(...roots)).toEqual([]);
    change(roots[1]);
    expect({ what, differs: (await diffTrees(...roots)).length > 0 }).toEqual({ what, differs: true });
  }
});

test("links that a mirror leaves out are no difference, and links that it made up are", async () => {
  using folder = tempFolder();
  const [expected, actual] = [folder.join("expected"), folder.join("actual")];
  makeOddTree(expected, { seed: 6, links: true });
  makeOddTree(actual, { seed: 6 });
  expect(await diffTrees(expected, actual)).not.toEqual([]);
  expect(await diffTrees(expected, actual, { links: "left-out" })).toEqual([]);
  symlinkSync("empty", `${actual}/link-to-file`);
  expect(await diffTrees(expected, actual, { links: "left-out" })).toEqual([
    '"link-to-file": should not be there (link)',
  ]);
});

test("a temp folder goes with all that it holds", () => {
  let path: string;
  {
    using folder = tempFolder();
    path = folder.path;
    makeOddTree(folder.join("odd"), { seed: 7, links: true });
    makeNonUtf8File(folder.path);
  }
  expect(() => statSync(path)).toThrow("ENOENT");
});

test("a small file system runs full, and goes", () => {
  using small = smallFileSystem(1024 * 1024);
  if (small === undefined) return;
  const fill = (): void => writeFileSync(small.join("big"), new Uint8Array(2 * 1024 * 1024));
  expect(fill).toThrow("ENOSPC");
});
