import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { type ContainedDirectory, ContainedRoot } from "../../src/disk/contained-root.ts";
import { Publication, isTempName, linkTempName, parkedName } from "../../src/disk/publication.ts";
import { sweepTempFiles } from "../../src/disk/temp-sweep.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const VERSION = { name: "large.bin", sizeBytes: 1_000_000, mtimeUs: 1_600_000_000_000_001 };
const DAY_MS = 86_400_000;

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

const names = (): string[] => fs.readdirSync(folder.path).sort();
const settings = { mtimeUs: VERSION.mtimeUs, executable: false, sync: false, readBack: undefined };

function park(contents: string, version = VERSION): void {
  const part = Publication.begin(directory, version.name, version);
  part.write(Buffer.from(contents));
  part.park(version);
}

function reread(part: Publication): string {
  const portions: string[] = [];
  part.reread((bytes) => portions.push(Buffer.from(bytes).toString("latin1")));
  return portions.join("");
}

describe("a part of a large file", () => {
  test("is gone on with where it was left, again and again, and published as one", () => {
    park("one, ");
    for (const [index, more] of ["two, ", "three"].entries()) {
      const part = Publication.resume(directory, VERSION)!;
      expect(part.writtenBytes).toBe(5 + 5 * index);
      part.write(Buffer.from(more));
      if (index === 0) part.park(VERSION);
      else part.commit(settings);
    }
    expect(fs.readFileSync(folder.join("large.bin"), "utf8")).toBe("one, two, three");
    expect(names()).toEqual(["large.bin"]);
  });

  test("is never visible under its name, and known to be unfinished", () => {
    park("half");
    expect(names()).toHaveLength(1);
    expect(isTempName(names()[0]!)).toBe(true);
    expect(parkedName(names()[0]!)).toBe(names()[0]);
    const part = Publication.resume(directory, VERSION)!;
    expect(names()).toHaveLength(1);
    expect(isTempName(names()[0]!)).toBe(true);
    part.abandon();
    expect(names()).toEqual([]);
  });

  test.each([
    ["name", { ...VERSION, name: "other.bin" }],
    ["size", { ...VERSION, sizeBytes: VERSION.sizeBytes + 1 }],
    ["modification time", { ...VERSION, mtimeUs: VERSION.mtimeUs + 1 }],
  ])("of a version of another %s is not taken for it", (_, other) => {
    park("half");
    expect(Publication.resume(directory, other)).toBeUndefined();
    expect(Publication.resume(directory, VERSION)?.writtenBytes).toBe(4);
  });

  test("is taken by one only", () => {
    park("half");
    const first = Publication.resume(directory, VERSION)!;
    expect(Publication.resume(directory, VERSION)).toBeUndefined();
    first.park(VERSION);
    expect(Publication.resume(directory, VERSION)?.writtenBytes).toBe(4);
  });

  test("is not there before anybody has left one", () => {
    expect(Publication.resume(directory, VERSION)).toBeUndefined();
    const running = Publication.begin(directory, VERSION.name, VERSION);
    expect(Publication.resume(directory, VERSION)).toBeUndefined();
    running.abandon();
    expect(names()).toEqual([]);
  });

  test("is read again from its beginning, in portions, and then goes on at its end", () => {
    const contents = Array.from({ length: 700_001 }, (_, index) => String.fromCharCode(index % 251)).join("");
    const begun = Publication.begin(directory, VERSION.name, VERSION);
    begun.write(Buffer.from(contents, "latin1"));
    begun.park(VERSION);
    const part = Publication.resume(directory, VERSION)!;
    expect(reread(part)).toBe(contents);
    expect(reread(part)).toBe(contents);
    part.write(Buffer.from("end"));
    part.commit(settings);
    expect(fs.readFileSync(folder.join("large.bin"), "latin1")).toBe(`${contents}end`);
  });

  test("of nothing is read as nothing; one that was cut meanwhile is an error", () => {
    park("");
    expect(reread(Publication.resume(directory, VERSION)!)).toBe("");
    const other = { ...VERSION, name: "other.bin" };
    park("12345678", other);
    const part = Publication.resume(directory, other)!;
    const temp = names().find((name) => fs.statSync(folder.join(name)).size === 8)!;
    fs.truncateSync(folder.join(temp), 3);
    expect(codeOf(() => reread(part))).toBe("integrity");
    part.abandon();
  });

  test("says when it was last written to", () => {
    park("half");
    const { mtimeMs } = fs.statSync(folder.join(names()[0]!));
    const part = Publication.resume(directory, VERSION)!;
    expect(part.wasWrittenIn({ fromMs: mtimeMs - 1, untilMs: mtimeMs + 1 })).toBe(true);
    expect(part.wasWrittenIn({ fromMs: mtimeMs + 1, untilMs: mtimeMs + 2 })).toBe(false);
    part.abandon();
  });

  test("is not gone on with through a link that somebody put in its place", () => {
    park("half");
    const [temp] = names();
    fs.rmSync(folder.join(temp!));
    fs.writeFileSync(folder.join("victim"), "untouched");
    fs.symlinkSync("victim", folder.join(temp!));
    expect(codeOf(() => Publication.resume(directory, VERSION))).not.toBe("no error");
    expect(fs.readFileSync(folder.join("victim"), "utf8")).toBe("untouched");
  });

  test("costs no descriptor", () => {
    const before = fs.readdirSync("/proc/self/fd").length;
    for (let round = 0; round < 20; round++) {
      park("half");
      const part = Publication.resume(directory, VERSION)!;
      reread(part);
      if (round % 2 === 0) part.abandon();
      else part.commit(settings);
    }
    expect(fs.readdirSync("/proc/self/fd").length).toBe(before);
  });
});

describe("after a kill", () => {
  const soonMs = (): number => Date.now() + 60_000;

  /** A part whose writer is killed. */
  function leave(contents: string): string {
    const known = new Set(names());
    const part = Publication.begin(directory, VERSION.name, VERSION);
    part.write(Buffer.from(contents));
    return names().find((name) => !known.has(name))!;
  }

  test("a part is parked, so that it can be gone on with", async () => {
    leave("half");
    expect(Publication.resume(directory, VERSION)).toBeUndefined();
    expect(await sweepTempFiles(folder.path, [], soonMs())).toBe(0);
    expect(reread(Publication.resume(directory, VERSION)!)).toBe("half");
  });

  test("of two parts of one version the larger one is kept", async () => {
    for (const [first, second] of [
      ["long part", "short"],
      ["short", "long part"],
    ] as const) {
      leave(first);
      leave(second);
      expect(await sweepTempFiles(folder.path, [], soonMs())).toBeLessThanOrEqual(1);
      expect(names()).toHaveLength(1);
      const kept = Publication.resume(directory, VERSION)!;
      expect(reread(kept)).toBe("long part");
      kept.abandon();
    }
  });

  test("a part that is longer than the one that was parked before takes its place", async () => {
    park("short");
    leave("long part");
    await sweepTempFiles(folder.path, [], soonMs());
    expect(names()).toHaveLength(1);
    expect(reread(Publication.resume(directory, VERSION)!)).toBe("long part");
  });

  test("a part of nothing goes, and one that nobody has gone on with for a week", async () => {
    leave("");
    park("half", { ...VERSION, name: "other.bin" });
    expect(await sweepTempFiles(folder.path, [], soonMs())).toBe(1);
    expect(names()).toHaveLength(1);
    expect(await sweepTempFiles(folder.path, [], Date.now() + 6 * DAY_MS)).toBe(0);
    expect(await sweepTempFiles(folder.path, [], Date.now() + 8 * DAY_MS)).toBe(1);
    expect(names()).toEqual([]);
  });

  test("and a power loss, a part goes that changed since nothing is certain, whatever time it was given", async () => {
    leave("half");
    const name = names()[0]!;
    // What a commit does before the rename: then the file's own time says nothing of when it was written.
    fs.utimesSync(folder.join(name), 1_000_000_000, 1_000_000_000);
    expect(await sweepTempFiles(folder.path, [], soonMs(), Date.now() + 30_000)).toBe(0);
    expect(names()).toHaveLength(1);
    expect(await sweepTempFiles(folder.path, [], soonMs(), Date.now() - 30_000)).toBe(1);
    expect(names()).toEqual([]);
  });

  test("links that were being made go, whatever they lead to; those with other names stay", async () => {
    fs.writeFileSync(folder.join("target"), "untouched");
    const temps = [linkTempName(), linkTempName()];
    expect(new Set(temps).size).toBe(2);
    for (const [index, name] of temps.entries()) {
      expect(isTempName(name)).toBe(true);
      expect(parkedName(name)).toBeUndefined();
      fs.symlinkSync(index === 0 ? "target" : "nowhere", folder.join(name));
    }
    fs.symlinkSync("target", folder.join("link"));
    expect(await sweepTempFiles(folder.path, [], Date.now() - 60_000)).toBe(0);
    expect(await sweepTempFiles(folder.path, [], soonMs())).toBe(2);
    expect(names()).toEqual(["link", "target"]);
    expect(fs.readFileSync(folder.join("target"), "utf8")).toBe("untouched");
  });
});
