import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { FileRecord, FileRecords } from "../../src/mirror/file-records.ts";
import { Journal } from "../../src/mirror/journal.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const HOST = "a.example_9000";

let folder: TempFolder;
let journal: Journal;
let files: FileRecords;

function open(): void {
  journal = new Journal(folder.join("journal.db"));
  files = journal.files;
}

beforeEach(() => {
  folder = tempFolder();
  open();
});
afterEach(() => {
  journal.close();
  folder[Symbol.dispose]();
});

function record(path: string, changes: Partial<FileRecord> = {}): FileRecord {
  const version = { sizeBytes: 2 ** 40, mtimeUs: -1_600_000_000_000_001, mode: 0o100_755 };
  return { path, ...version, digest: "xxh3", pieceBytes: 262_144, chain: "00ff00ff00ff00ff", ...changes };
}

function put(...paths: string[]): void {
  for (const path of paths) files.put(HOST, record(path));
}

function pathsIn(within: string, after = "", limit = 1000): string[] {
  return files.page(HOST, within, after, limit).map(({ path }) => path);
}

function tamper(change: string): void {
  journal.close();
  using database = new Database(folder.join("journal.db"), { readwrite: true });
  database.run(`UPDATE files SET ${change}`);
  database.close();
  open();
}

describe("what is known of a file", () => {
  test("is what was put last, also after a restart", () => {
    files.put(HOST, record("docs/a", { chain: "0000000000000001" }));
    const newer = record("docs/a", { sizeBytes: 0, mtimeUs: 0, mode: 0, digest: "sha256", pieceBytes: 1 });
    files.put(HOST, newer);
    expect(files.get(HOST, "docs/a")).toEqual(newer);
    journal.close();
    open();
    expect(files.get(HOST, "docs/a")).toEqual(newer);
    expect(pathsIn(".")).toEqual(["docs/a"]);
  });

  test("is of one source's directory, and of exactly that path", () => {
    put("docs/a");
    expect(files.get("a.example_9001", "docs/a")).toBeUndefined();
    for (const path of ["docs", "docs/A", "docs/a/", "a", "docs/a%", "docs/_"]) {
      expect(files.get(HOST, path)).toBeUndefined();
    }
  });

  test("is gone when it is removed, and only that", () => {
    put("docs/a", "docs/b");
    files.remove(HOST, "docs/a");
    files.remove(HOST, "docs/missing");
    files.remove("elsewhere_1", "docs/b");
    expect(pathsIn(".")).toEqual(["docs/b"]);
  });

  test("outlives the order that brought it", () => {
    const version = { sizeBytes: 1, mtimeUs: 2, mode: 3, digest: "xxh3", pieceBytes: 4, chain: "5" } as const;
    journal.settle("0af1", [], 0, HOST, [{ path: "a", version }]);
    journal.deleteOrder("0af1");
    journal.clearSource("0af1", 0);
    expect(journal.trimEnded("0af1", false)).toBe(false);
    expect(files.get(HOST, "a")).toEqual({ path: "a", ...version });
    journal.settle("0af2", [], 0, HOST, [{ path: "a", version: undefined }]);
    expect(files.get(HOST, "a")).toBeUndefined();
  });

  test.each([
    "sizeBytes = sizeBytes + 1",
    "mtimeUs = mtimeUs + 1",
    "mode = mode - 1",
    "digest = 'sha256'",
    "pieceBytes = 1",
    "chain = replace(chain, 'ff', 'fe')",
    "path = 'docs/b'",
    "directory = 'b.example_9000'",
    "checksum = checksum + 1",
  ])("is not believed when it is damaged: %s", (change) => {
    put("docs/a");
    tamper(change);
    const directory = change.startsWith("directory") ? "b.example_9000" : HOST;
    const path = change.startsWith("path") ? "docs/b" : "docs/a";
    // It is still told that there is, or was, such a file.
    expect(files.page(directory, ".", "", 10).map((one) => one.path)).toEqual([path]);
    expect(files.get(directory, path)).toBeUndefined();
  });
});

describe("what was fetched at and below a path", () => {
  const ODD = [
    "100%",
    "100%/a",
    "100x/a",
    "under_score",
    "underXscore",
    "it's",
    "it's/a",
    "ü/日",
    "ü",
    "😀/a",
  ];

  test("is that file, or all in that directory, and nothing whose name only begins like it", () => {
    put("docs", "docs2", "docs2/a", "docs!", "docs-old/a", "docs.txt", "doc", "Docs/a", "docs0", "docs/");
    expect(pathsIn("docs2")).toEqual(["docs2", "docs2/a"]);
    expect(pathsIn("docs.txt")).toEqual(["docs.txt"]);
    put("docs/a", "docs/b/c", "docs/ü", "docs/\u{10FFFF}", "docs/0");
    expect(pathsIn("docs").sort()).toEqual(
      ["docs", "docs/0", "docs/a", "docs/b/c", "docs/ü", "docs/\u{10FFFF}"].sort(),
    );
    expect(pathsIn("docs/b")).toEqual(["docs/b/c"]);
    expect(pathsIn("missing")).toEqual([]);
  });

  test('is everything for the path "."', () => {
    put(...ODD, ".hidden/a", ".");
    files.put("elsewhere_1", record("a"));
    expect(pathsIn(".").sort()).toEqual([...ODD, ".hidden/a", "."].sort());
  });

  test.each([
    ["100%", ["100%", "100%/a"]],
    ["under_score", ["under_score"]],
    ["it's", ["it's", "it's/a"]],
    ["ü", ["ü", "ü/日"]],
    ["😀", ["😀/a"]],
  ])("takes %p as it is written", (within, expected) => {
    put(...ODD);
    expect(pathsIn(within)).toEqual(expected);
  });

  test.each([".", "docs"])("comes page by page, in one order, without gaps: %s", (within) => {
    const paths = Array.from({ length: 95 }, (_, index) => `docs/${(index * 37) % 95} ü`);
    put(...paths, "docs");
    const seen: string[] = [];
    for (let page = pathsIn(within, "", 10); page.length > 0; page = pathsIn(within, page.at(-1), 10)) {
      expect(page.length).toBeLessThanOrEqual(10);
      seen.push(...page);
    }
    expect(seen).toEqual(["docs", ...paths].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });
});
