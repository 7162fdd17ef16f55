import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { type ContainedDirectory, ContainedRoot } from "../../src/disk/contained-root.ts";
import { keepStandingFile, standingFile } from "../../src/fetch/final-file.ts";
import { PartFile } from "../../src/fetch/part-file.ts";
import { PartLock } from "../../src/fetch/part-lock.ts";
import { partNames } from "../../src/fetch/part-names.ts";
import type { PartVersion } from "../../src/fetch/piece-journal.ts";
import { codeOf, rejectionOf } from "../property/error-code.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const NAME = "a file";
const names = partNames(NAME);
const version: PartVersion = {
  origin: "h:1",
  path: "docs/a file",
  sizeBytes: 30,
  mtimeUs: 1_600_000_000_000_001,
};
const contents = Buffer.from("0123456789abcdefghijABCDEFGHIJ");

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

function open(changed: Partial<PartVersion> = {}): Promise<PartFile> {
  return PartFile.open(directory, names, { ...version, ...changed });
}

function write(part: PartFile, offset: number, end: number): void {
  const bytes = contents.subarray(offset, end);
  part.write(offset, bytes, Bun.hash.xxHash3(bytes));
}

const asFinal = { name: NAME, mtimeUs: version.mtimeUs, executable: true, overwrite: false };
const left = (): string[] => fs.readdirSync(folder.path).sort();

describe("a part", () => {
  test("is filled in any order, and becomes the file only when it is published", async () => {
    const part = await open();
    write(part, 20, 30);
    write(part, 0, 10);
    expect(part.gaps()).toEqual([{ offset: 10, lengthBytes: 10 }]);
    expect(left()).toEqual([names.part, names.journal].sort());
    write(part, 10, 20);
    expect(await part.publish(asFinal)).toBeUndefined();
    expect(left()).toEqual([NAME]);
    expect(fs.readFileSync(folder.join(NAME))).toEqual(contents);
    const stats = fs.statSync(folder.join(NAME), { bigint: true });
    expect(Math.abs(Number(stats.mtimeNs / 1000n) - version.mtimeUs)).toBeLessThanOrEqual(1);
    expect(stats.mode & 0o100n).toBe(0o100n);
  });

  test("is gone on with by the next one, and only the rest is missing", async () => {
    const first = await open();
    write(first, 0, 10);
    write(first, 20, 30);
    await first.park();
    const second = await open();
    expect(second.coveredBytes).toBe(20);
    expect(second.gaps()).toEqual([{ offset: 10, lengthBytes: 10 }]);
    expect(second.startedOver).toBeUndefined();
    write(second, 10, 20);
    await second.publish(asFinal);
    expect(fs.readFileSync(folder.join(NAME))).toEqual(contents);
  });

  test.each([
    ["size", { sizeBytes: 31 }, "changed at the server"],
    ["time", { mtimeUs: version.mtimeUs + 1 }, "changed at the server"],
    ["server", { origin: "h:2" }, "came from"],
    ["path", { path: "other/a file" }, "came from"],
  ])("of another %s is not gone on with, and says so", async (_, changed, why) => {
    const first = await open();
    write(first, 0, 10);
    await first.park();
    const second = await open(changed);
    expect(second.coveredBytes).toBe(0);
    expect(second.startedOver).toContain(why);
    expect(fs.statSync(folder.join(names.part)).size).toBe(0);
    await second.park();
  });

  test("whose journal is damaged is not trusted", async () => {
    const first = await open();
    write(first, 0, 10);
    await first.park();
    const journal = fs.readFileSync(folder.join(names.journal));
    journal[30]! ^= 4;
    fs.writeFileSync(folder.join(names.journal), journal);
    const second = await open();
    expect(second.coveredBytes).toBe(0);
    expect(second.startedOver).toContain("damaged");
    await second.park();
  });

  test("whose last bytes never reached the disk loses exactly those pieces", async () => {
    const first = await open();
    write(first, 0, 10);
    write(first, 10, 20);
    write(first, 20, 30);
    await first.park();
    const part = fs.readFileSync(folder.join(names.part));
    part.fill(0, 10, 20);
    fs.writeFileSync(folder.join(names.part), part.subarray(0, 25));
    const second = await open();
    expect(second.gaps()).toEqual([{ offset: 10, lengthBytes: 20 }]);
    await second.park();
    // And it stays so: what was given up is not believed by the next one either.
    const third = await open();
    expect(third.gaps()).toEqual([{ offset: 10, lengthBytes: 20 }]);
    await third.park();
  });

  test("that somebody else made is left alone", async () => {
    fs.writeFileSync(folder.join(names.part), "mine");
    const error = await rejectionOf(open());
    expect(error?.code).toBe("refused");
    expect(error?.message).toContain("in the way");
    expect(fs.readFileSync(folder.join(names.part), "utf8")).toBe("mine");
  });

  test("is no link, whatever it leads to", async () => {
    fs.writeFileSync(folder.join("precious"), "precious");
    fs.symlinkSync("precious", folder.join(names.part));
    fs.writeFileSync(folder.join(names.journal), "");
    expect((await rejectionOf(open()))?.code).toBe("refused");
    expect(fs.readFileSync(folder.join("precious"), "utf8")).toBe("precious");
  });

  test("that somebody swaps while it is filled does not become the file", async () => {
    const part = await open();
    write(part, 0, 30);
    fs.renameSync(folder.join(names.part), folder.join("away"));
    fs.writeFileSync(folder.join(names.part), "something else");
    expect((await rejectionOf(part.publish(asFinal)))?.code).toBe("storage");
    expect(left()).not.toContain(NAME);
    await part.park();
  });

  test("forgets a piece that turned out to be damaged, also for the next one", async () => {
    const first = await open();
    write(first, 0, 10);
    write(first, 10, 20);
    first.lose({ offset: 0, lengthBytes: 10 });
    await first.park();
    const second = await open();
    expect(second.gaps()).toEqual([
      { offset: 0, lengthBytes: 10 },
      { offset: 20, lengthBytes: 10 },
    ]);
    await second.park();
  });

  test("with a name of 255 bytes has names that fit", () => {
    const long = "ü".repeat(127) + "x";
    const other = "ü".repeat(127) + "y";
    for (const name of Object.values(partNames(long)))
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
    expect(partNames(long).part).not.toBe(partNames(other).part);
    expect(Object.values(partNames(long)).every((name) => name.isWellFormed())).toBe(true);
  });
});

describe("the lock of a part", () => {
  test("is one process's, and gone with its file when it is let go", () => {
    const path = directory.entry(names.lock);
    const lock = PartLock.take(path);
    expect(codeOf(() => PartLock.take(path))).toBe("locked");
    lock.release();
    expect(left()).toEqual([]);
    PartLock.take(path).release();
  });
});

describe("what stands in a file's place", () => {
  const remote = { sizeBytes: 3, mtimeUs: 1_500_000_000_000_000, mode: 0o644 };

  test("is the same by size, time and executable bit", () => {
    expect(standingFile(directory, NAME, remote)).toBe("none");
    fs.writeFileSync(folder.join(NAME), "abc");
    expect(standingFile(directory, NAME, remote)).toBe("other");
    fs.utimesSync(folder.join(NAME), 1_500_000_000, 1_500_000_000);
    expect(standingFile(directory, NAME, remote)).toBe("same");
    expect(standingFile(directory, NAME, { ...remote, sizeBytes: 4 })).toBe("other");
    expect(standingFile(directory, NAME, { ...remote, mode: 0o755 })).toBe("other");
  });

  test("is refused when it is a directory", () => {
    fs.mkdirSync(folder.join(NAME));
    expect(codeOf(() => standingFile(directory, NAME, remote))).toBe("refused");
  });

  test("is kept under the next free number, and still there until it is replaced", () => {
    expect(keepStandingFile(directory, NAME, true)).toBeUndefined();
    for (const [index, text] of ["one", "two"].entries()) {
      fs.writeFileSync(folder.join("new"), text);
      fs.renameSync(folder.join("new"), folder.join(NAME));
      // Once more: a fetch was killed between the two names.
      for (const _ of [1, 2]) expect(keepStandingFile(directory, NAME, true)).toBe(`${NAME}.~${index + 1}~`);
      expect(fs.readFileSync(folder.join(NAME), "utf8")).toBe(text);
    }
    expect(fs.readFileSync(folder.join(`${NAME}.~1~`), "utf8")).toBe("one");
    expect(fs.readFileSync(folder.join(`${NAME}.~2~`), "utf8")).toBe("two");
  });
});
