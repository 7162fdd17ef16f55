import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { type ContainedDirectory, ContainedRoot } from "../../src/disk/contained-root.ts";
import { factsAt, isSameMtime } from "../../src/disk/file-facts.ts";
import { Publication, type PublishSettings, isTempName } from "../../src/disk/publication.ts";
import { walk } from "../../src/disk/walk.ts";
import { DigestChain, type DigestKind, digestBytes, writeDigest } from "../../src/wire/digest.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, smallFileSystem, tempFolder } from "../support/temp.ts";

let folder: TempFolder;
let root: ContainedRoot;
let directory: ContainedDirectory;

beforeEach(() => {
  folder = tempFolder();
  root = new ContainedRoot(folder.path);
  directory = root.hold([]);
});

afterEach(() => {
  directory[Symbol.dispose]();
  root.close();
  folder[Symbol.dispose]();
});

const PLAIN: PublishSettings = {
  mtimeUs: 1_000_000_000_000_000,
  executable: false,
  sync: false,
  readBack: undefined,
};

function publish(name: string, contents: string | Uint8Array, settings: Partial<PublishSettings> = {}): void {
  const publication = Publication.begin(directory, name);
  publication.write(Buffer.from(contents));
  publication.commit({ ...PLAIN, ...settings });
}

function chainOf(kind: DigestKind, contents: Uint8Array, pieceBytes: number): Uint8Array {
  const chain = new DigestChain(kind);
  const digest = new Uint8Array(digestBytes(kind));
  for (let at = 0; at < contents.length; at += pieceBytes) {
    writeDigest(kind, contents.subarray(at, at + pieceBytes), digest, 0);
    chain.add(digest);
  }
  return chain.value.slice();
}

const names = (): string[] => fs.readdirSync(folder.path).sort();
const descriptors = (): number => fs.readdirSync("/proc/self/fd").length;

describe("until commit", () => {
  test("nothing has the final name, and a list tells what is there from real files", () => {
    const publication = Publication.begin(directory, "final");
    publication.write(Buffer.from("half"));
    expect(fs.existsSync(folder.join("final"))).toBe(false);
    expect(names()).toHaveLength(1);
    expect(isTempName(names()[0]!)).toBe(true);
    expect([...walk(root, [])]).toMatchObject([{ kind: "unfinished", path: names()[0]! }]);
    publication.commit(PLAIN);
    expect(names()).toEqual(["final"]);
    expect(fs.readFileSync(folder.join("final"), "utf8")).toBe("half");
    publication.abandon();
    expect(names()).toEqual(["final"]);
  });

  test("an older file stays as it is; who reads it reads it whole, also after the commit", () => {
    fs.writeFileSync(folder.join("file"), "the old contents");
    const reader = fs.openSync(folder.join("file"), "r");
    const start = Buffer.alloc(7);
    fs.readSync(reader, start);
    const publication = Publication.begin(directory, "file");
    publication.write(Buffer.from("new"));
    expect(fs.readFileSync(folder.join("file"), "utf8")).toBe("the old contents");
    publication.commit(PLAIN);
    const rest = Buffer.alloc(100);
    const restBytes = fs.readSync(reader, rest);
    expect(start.toString() + rest.toString("utf8", 0, restBytes)).toBe("the old contents");
    fs.closeSync(reader);
    expect(fs.readFileSync(folder.join("file"), "utf8")).toBe("new");
  });

  test("abandon leaves nothing behind, whenever it comes", () => {
    const before = descriptors();
    for (const bytes of [0, 10, 100_000]) {
      const publication = Publication.begin(directory, "never");
      publication.write(new Uint8Array(bytes));
      expect(publication.writtenBytes).toBe(bytes);
      publication.abandon();
      publication.abandon();
    }
    expect(names()).toEqual([]);
    expect(descriptors()).toBe(before);
  });

  test("many at once in one directory do not meet", () => {
    const publications = Array.from({ length: 100 }, (_, index) => Publication.begin(directory, `f${index}`));
    for (const [index, publication] of publications.entries()) publication.write(Buffer.from(String(index)));
    for (const publication of publications) publication.commit(PLAIN);
    for (let index = 0; index < 100; index++) {
      expect(fs.readFileSync(folder.join(`f${index}`), "utf8")).toBe(String(index));
    }
    expect(names()).toHaveLength(100);
  });
});

describe("commit", () => {
  test("keeps the modification time to the microsecond", () => {
    for (const mtimeUs of [
      0, 1, 999_999, 1_234_567_890_123_456, 1_700_000_000_000_001, 4_000_000_000_999_999, -1, -1_500_001,
      -2_000_000_000_000_003,
    ]) {
      publish("file", "x", { mtimeUs });
      const actual = factsAt(folder.join("file"))!.mtimeUs;
      expect([mtimeUs, isSameMtime(actual, mtimeUs)]).toEqual([mtimeUs, true]);
      // What the system keeps, from another door: nanoseconds.
      const nanoseconds = fs.statSync(folder.join("file"), { bigint: true }).mtimeNs;
      expect(Math.abs(Number(nanoseconds / 1000n) - mtimeUs)).toBeLessThanOrEqual(1);
    }
  });

  test("takes any modification time that a peer may send", () => {
    for (const mtimeUs of [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      publish("file", "x", { mtimeUs });
      expect(fs.readFileSync(folder.join("file"), "utf8")).toBe("x");
    }
  });

  test("makes it executable for those who may read it, or not at all", () => {
    const umask = process.umask(0o027);
    try {
      publish("tool", "#!/bin/sh\n", { executable: true });
      publish("text", "plain");
      expect(fs.statSync(folder.join("tool")).mode & 0o7777).toBe(0o750);
      expect(fs.statSync(folder.join("text")).mode & 0o7777).toBe(0o640);
    } finally {
      process.umask(umask);
    }
  });

  test("replaces a link itself, never what it leads to", () => {
    using outside = tempFolder();
    fs.writeFileSync(outside.join("target"), "precious");
    fs.symlinkSync(outside.join("target"), folder.join("link"));
    publish("link", "new");
    expect(fs.lstatSync(folder.join("link")).isFile()).toBe(true);
    expect(fs.readFileSync(outside.join("target"), "utf8")).toBe("precious");
  });

  test("breaks no hard link's other name", () => {
    fs.writeFileSync(folder.join("one"), "shared");
    fs.linkSync(folder.join("one"), folder.join("two"));
    publish("one", "new");
    expect(fs.readFileSync(folder.join("two"), "utf8")).toBe("shared");
  });

  test("onto a directory fails and leaves nothing but the directory", () => {
    fs.mkdirSync(folder.join("taken"));
    fs.writeFileSync(folder.join("taken/inside"), "x");
    const before = descriptors();
    expect(codeOf(() => publish("taken", "file"))).toBe("refused");
    expect(names()).toEqual(["taken"]);
    expect(fs.readdirSync(folder.join("taken"))).toEqual(["inside"]);
    expect(descriptors()).toBe(before);
  });

  test("works with a name of 255 bytes, and with syncs", () => {
    publish("x".repeat(255), "long", { sync: true });
    expect(fs.readFileSync(folder.join("x".repeat(255)), "utf8")).toBe("long");
    expect(codeOf(() => publish("x".repeat(256), "too long"))).toBe("name");
    expect(names()).toHaveLength(1);
  });

  test("of an empty file, read back", () => {
    for (const kind of ["xxh3", "sha256"] as const) {
      const readBack = { kind, chain: new Uint8Array(digestBytes(kind)), pieceBytes: 0 };
      publish("empty", "", { readBack });
      expect(fs.statSync(folder.join("empty")).size).toBe(0);
    }
  });
});

describe("what the disk holds", () => {
  const contents = new Uint8Array(1_000_003).map((_, index) => index * 31);

  test.each(["xxh3", "sha256"] as const)(
    "is read back and compared (%s), whatever the length of the pieces",
    (kind) => {
      for (const pieceBytes of [1000, 262_144, 1_000_002, 1_000_003, 5_000_000]) {
        const readBack = { kind, chain: chainOf(kind, contents, pieceBytes), pieceBytes };
        publish("file", contents, { readBack });
        expect(Buffer.compare(fs.readFileSync(folder.join("file")), contents)).toBe(0);
      }
    },
  );

  test.each([0, 500_000, 1_000_002])("altered behind our back at byte %d is not published", (at) => {
    fs.writeFileSync(folder.join("file"), "the old one");
    const publication = Publication.begin(directory, "file");
    publication.write(contents);
    const [temp] = names().filter(isTempName);
    const descriptor = fs.openSync(folder.join(temp!), "r+");
    fs.writeSync(descriptor, Uint8Array.of(contents[at]! ^ 1), 0, 1, at);
    fs.closeSync(descriptor);
    const readBack = { kind: "xxh3", chain: chainOf("xxh3", contents, 4096), pieceBytes: 4096 } as const;
    expect(codeOf(() => publication.commit({ ...PLAIN, readBack }))).toBe("integrity");
    expect(names()).toEqual(["file"]);
    expect(fs.readFileSync(folder.join("file"), "utf8")).toBe("the old one");
  });

  test("with another length than was written is not published, read back or not", () => {
    for (const change of [
      (path: string) => fs.truncateSync(path, 5),
      (path: string) => fs.appendFileSync(path, "more"),
    ]) {
      const publication = Publication.begin(directory, "file");
      publication.write(contents);
      change(folder.join(names().find(isTempName)!));
      expect(codeOf(() => publication.commit(PLAIN))).toBe("integrity");
      expect(names()).toEqual([]);
    }
  });

  test("is nothing when the temp file is gone: an error, and no file", () => {
    const publication = Publication.begin(directory, "file");
    publication.write(contents);
    fs.unlinkSync(folder.join(names()[0]!));
    expect(codeOf(() => publication.commit(PLAIN))).toBe("not-found");
    expect(names()).toEqual([]);
  });
});

test("a full disk is an error of its own, and gets its space back", () => {
  using small = smallFileSystem(1024 * 1024);
  if (small === undefined) return;
  const smallRoot = new ContainedRoot(small.path);
  {
    using held = smallRoot.hold([]);
    fs.writeFileSync(small.join("kept"), "kept");
    const publication = Publication.begin(held, "too large");
    const block = new Uint8Array(256 * 1024).fill(1);
    const fill = (): void => {
      for (let written = 0; written < 8; written++) publication.write(block);
    };
    expect(codeOf(fill)).toBe("no-space");
    publication.abandon();
    expect(fs.readdirSync(small.path)).toEqual(["kept"]);
    const next = Publication.begin(held, "fits");
    next.write(block);
    next.commit({ ...PLAIN, sync: true });
    expect(fs.statSync(small.join("fits")).size).toBe(block.length);
  }
  smallRoot.close();
});

test("names of temp files are told from all others", () => {
  for (const name of [".dray-1-2.tmp", ".dray-abc123-zz.tmp"]) expect(isTempName(name)).toBe(true);
  for (const name of [
    "dray-1-2.tmp",
    ".dray-1.tmp",
    ".dray-1-2.tmpx",
    "x.dray-1-2.tmp",
    ".dray-A-2.tmp",
    ".dray-1-2.tmp\n",
    ".dray--.tmp",
    ".dray",
  ])
    expect(isTempName(name)).toBe(false);
});
