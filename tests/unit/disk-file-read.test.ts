import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { type ContainedDirectory, ContainedRoot } from "../../src/disk/contained-root.ts";
import { FileRead } from "../../src/disk/file-read.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

let folder: TempFolder;
let root: ContainedRoot;
let directory: ContainedDirectory;
let file: FileRead;

const CONTENTS = Buffer.from("0123456789".repeat(100));

beforeEach(() => {
  folder = tempFolder();
  root = new ContainedRoot(folder.path);
  directory = root.hold([]);
  fs.writeFileSync(folder.join("file"), CONTENTS);
  file = new FileRead(directory, "file");
});

afterEach(() => {
  file.close();
  directory[Symbol.dispose]();
  root.close();
  folder[Symbol.dispose]();
});

describe("an open file", () => {
  test("is read from anywhere, and unchanged as long as nobody writes", () => {
    const target = new Uint8Array(100);
    for (const offset of [0, 1, 900]) {
      file.readFully(target, offset);
      expect(Buffer.compare(target, CONTENTS.subarray(offset, offset + 100))).toBe(0);
    }
    fs.readFileSync(folder.join("file"));
    file.assertUnchanged();
    expect(file.facts).toMatchObject({ kind: "file", sizeBytes: 1000 });
  });

  test("that became shorter is noticed where the bytes are missing", () => {
    fs.truncateSync(folder.join("file"), 500);
    expect(codeOf(() => file.readFully(new Uint8Array(600), 0))).toBe("changed");
    expect(codeOf(() => file.readFully(new Uint8Array(1), 999))).toBe("changed");
    expect(codeOf(() => file.assertUnchanged())).toBe("changed");
  });

  test("that is empty when it should not be ends the read instead of waiting for ever", () => {
    fs.truncateSync(folder.join("file"), 0);
    expect(codeOf(() => file.readFully(new Uint8Array(1), 0))).toBe("changed");
  });

  test("that somebody appended to is noticed", () => {
    fs.appendFileSync(folder.join("file"), "x");
    expect(codeOf(() => file.assertUnchanged())).toBe("changed");
  });

  test("that was overwritten in place with as many bytes is noticed", () => {
    const descriptor = fs.openSync(folder.join("file"), "r+");
    fs.writeSync(descriptor, "X", 500);
    fs.closeSync(descriptor);
    expect(codeOf(() => file.assertUnchanged())).toBe("changed");
  });

  test("that was overwritten, and its modification time set back, is noticed all the same", () => {
    const [path, reference] = [folder.join("file"), folder.join("reference")];
    const mtimeNs = fs.statSync(path, { bigint: true }).mtimeNs;
    spawnSync("touch", ["-r", path, reference]);
    fs.writeFileSync(path, Buffer.alloc(1000, "y"));
    spawnSync("touch", ["-r", reference, path]);
    expect(fs.statSync(path, { bigint: true }).mtimeNs).toBe(mtimeNs);
    expect(codeOf(() => file.assertUnchanged())).toBe("changed");
  });

  test("that was truncated and filled again while it was read is noticed", () => {
    file.readFully(new Uint8Array(500), 0);
    fs.truncateSync(folder.join("file"), 0);
    fs.writeFileSync(folder.join("file"), CONTENTS);
    expect(codeOf(() => file.assertUnchanged())).toBe("changed");
  });
});

describe("a name", () => {
  test("of a link, a directory, a fifo or a device is refused, without waiting", () => {
    fs.symlinkSync("file", folder.join("link"));
    fs.symlinkSync("/etc/passwd", folder.join("outside"));
    fs.mkdirSync(folder.join("directory"));
    spawnSync("mkfifo", [folder.join("fifo")]);
    for (const name of ["link", "outside", "directory", "fifo"]) {
      expect([name, codeOf(() => new FileRead(directory, name))]).toEqual([name, "refused"]);
    }
    using devices = new ContainedRoot("/dev").hold([]);
    expect(codeOf(() => new FileRead(devices, "zero"))).toBe("refused");
  });

  test("that is not there is not found", () => {
    expect(codeOf(() => new FileRead(directory, "missing"))).toBe("not-found");
  });

  test("that is refused costs no descriptor", () => {
    fs.symlinkSync("file", folder.join("link"));
    fs.mkdirSync(folder.join("directory"));
    const before = fs.readdirSync("/proc/self/fd").length;
    for (const name of ["link", "directory", "missing"]) codeOf(() => new FileRead(directory, name));
    expect(fs.readdirSync("/proc/self/fd").length).toBe(before);
  });
});
