import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { OpenFile, Tree } from "../../src/sync/ports.ts";
import { RealTree } from "../../src/sync/real-tree.ts";
import { asDrayError, systemErrorCode } from "../../src/errors/dray-error.ts";
import { SimulatedTree } from "../support/simulated-tree.ts";
import { SimulatedWorld } from "../support/sync-ports.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const folders: TempFolder[] = [];
afterEach(() => folders.splice(0).forEach((folder) => folder[Symbol.dispose]()));

function tempDirectory(): string {
  folders.push(tempFolder());
  return folders.at(-1)!.path;
}

interface Subject {
  tree: Tree;
  /** What a user's program does beside dray. */
  user: { makeLink: (name: string, target: string) => void; openToWrite: (name: string) => OpenFile };
  settled: <T>(promise: Promise<T>) => Promise<T>;
  close: () => void;
}

const SUBJECTS: Record<string, () => Subject> = {
  real() {
    const root = tempDirectory();
    const tree = new RealTree(root);
    return {
      tree,
      user: {
        makeLink: (name, target) => fs.symlinkSync(target, join(root, name)),
        openToWrite: (name) => writer(join(root, name)),
      },
      settled: async (promise) => await promise,
      close: () => tree.close(),
    };
  },
  simulated() {
    const world = new SimulatedWorld(1);
    const machine = world.machine("10.0.0.1");
    const tree = new SimulatedTree(machine.disk);
    return {
      tree,
      user: {
        makeLink: (name) => machine.user().makeLink(name.split("/")),
        openToWrite: (name) => machine.user().openToWrite(name.split("/")),
      },
      settled: (promise) => Promise.resolve(world.clock.settled(promise)),
      close: () => {},
    };
  },
};

/** A file as somebody else's program has it open. */
function writer(path: string): OpenFile {
  const descriptor = fs.openSync(path, "r+");
  const none = (): never => {
    throw new Error("not for this test");
  };
  return {
    write: (bytes, position) => void fs.writeSync(descriptor, bytes, 0, bytes.length, position),
    truncate: (size) => fs.ftruncateSync(descriptor, size),
    close: () => fs.closeSync(descriptor),
    stat: none,
    read: none,
    setMtime: none,
    setMode: none,
    sync: none,
  };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

function make(tree: Tree, name: string, text: string): void {
  const file = tree.create(name.split("/"));
  file.write(bytes(text), 0);
  file.close();
}

function text(tree: Tree, name: string): string {
  const file = tree.open(name.split("/"));
  try {
    const into = new Uint8Array(file.stat().sizeBytes + 10);
    return Buffer.from(into.subarray(0, file.read(into, 0))).toString();
  } finally {
    file.close();
  }
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return systemErrorCode(error) ?? asDrayError(error).code;
  }
  return "no error";
}

const names = (tree: Tree, path: string[] = []): string[] =>
  tree
    .list(path)
    .map(({ name }) => name)
    .sort();

for (const [kind, open] of Object.entries(SUBJECTS)) {
  describe(`a ${kind} tree`, () => {
    const opened: Subject[] = [];
    const subject = (): Subject => {
      opened.push(open());
      return opened.at(-1)!;
    };
    afterEach(() => opened.splice(0).forEach(({ close }) => close()));

    test("has what was written, by position", () => {
      const { tree } = subject();
      const file = tree.create(["a"]);
      file.write(bytes("hello"), 0);
      file.write(bytes("HE"), 0);
      file.write(bytes("end"), 8);
      expect(text(tree, "a")).toBe("HEllo\0\0\0end");
      file.truncate(2);
      file.truncate(4);
      expect(text(tree, "a")).toBe("HE\0\0");
      const into = new Uint8Array(2);
      expect(file.read(into, 1)).toBe(2);
      expect(Buffer.from(into).toString()).toBe("E\0");
      expect(file.read(into, 4)).toBe(0);
      expect(file.read(into, 99)).toBe(0);
      file.close();
      file.close();
      expect(() => file.stat()).toThrow();
    });

    test("tells what is there", () => {
      const { tree, user } = subject();
      make(tree, "f", "12345");
      tree.makeDirectory(["d"]);
      user.makeLink("l", "f");
      expect(tree.stat(["f"])).toMatchObject({ kind: "file", sizeBytes: 5 });
      expect(tree.stat(["d"])).toMatchObject({ kind: "directory", sizeBytes: 0 });
      expect(tree.stat(["l"])).toMatchObject({ kind: "symlink", sizeBytes: 0 });
      expect(tree.stat([])!.kind).toBe("directory");
      expect(tree.stat(["none"])).toBeUndefined();
      expect(tree.stat(["none", "x"])).toBeUndefined();
      expect(tree.stat(["f", "x"])).toBeUndefined();
      expect(names(tree)).toEqual(["d", "f", "l"]);
      const file = tree.open(["f"]);
      expect(file.stat()).toEqual(tree.stat(["f"])!);
      file.close();
    });

    test("creates exclusively", () => {
      const { tree, user } = subject();
      make(tree, "f", "mine");
      user.makeLink("l", "elsewhere");
      expect(codeOf(() => tree.create(["f"]))).toBe("EEXIST");
      expect(codeOf(() => tree.create(["l"]))).toBe("EEXIST");
      expect(codeOf(() => tree.create(["none", "f"]))).toBe("ENOENT");
      expect(codeOf(() => tree.makeDirectory(["f"]))).toBe("EEXIST");
      expect(codeOf(() => tree.makeDirectory(["none", "d"]))).toBe("ENOENT");
      expect(text(tree, "f")).toBe("mine");
    });

    test("renames over a file, whose open readers keep theirs", () => {
      const { tree } = subject();
      make(tree, "old", "old");
      make(tree, "new", "newer");
      tree.makeDirectory(["d"]);
      const reader = tree.open(["old"]);
      const { inode } = tree.stat(["new"])!;
      tree.rename(["new"], ["old"]);
      expect(text(tree, "old")).toBe("newer");
      expect(tree.stat(["old"])!.inode).toBe(inode);
      expect(reader.stat().sizeBytes).toBe(3);
      reader.close();
      expect(codeOf(() => tree.rename(["none"], ["x"]))).toBe("ENOENT");
      expect(codeOf(() => tree.rename(["old"], ["none", "x"]))).toBe("ENOENT");
      expect(codeOf(() => tree.rename(["old"], ["d"]))).toBe("EISDIR");
      expect(names(tree)).toEqual(["d", "old"]);
    });

    test("renames directories with what is in them", () => {
      const { tree } = subject();
      tree.makeDirectory(["a"]);
      make(tree, "a/f", "1");
      expect(text(tree, "a/f")).toBe("1");
      tree.rename(["a"], ["b"]);
      expect(text(tree, "b/f")).toBe("1");
      tree.makeDirectory(["a"]);
      make(tree, "a/f", "2");
      expect(text(tree, "a/f")).toBe("2");
      expect(text(tree, "b/f")).toBe("1");
    });

    test("links: two names, one file, and never over another", () => {
      const { tree, user } = subject();
      make(tree, "a", "one");
      make(tree, "other", "x");
      const before = tree.stat(["a"])!;
      tree.link(["a"], ["b"]);
      expect(tree.stat(["b"])).toMatchObject({ inode: before.inode, mtimeNs: before.mtimeNs });
      expect(codeOf(() => tree.link(["a"], ["other"]))).toBe("EEXIST");
      expect(codeOf(() => tree.link(["none"], ["c"]))).toBe("ENOENT");
      const file = user.openToWrite("a");
      file.write(bytes("two"), 0);
      file.close();
      expect(text(tree, "b")).toBe("two");
      tree.rename(["a"], ["b"]);
      expect(names(tree)).toEqual(["a", "b", "other"]);
      tree.unlink(["a"]);
      expect(text(tree, "b")).toBe("two");
    });

    test("removes", () => {
      const { tree } = subject();
      tree.makeDirectory(["d"]);
      make(tree, "d/f", "");
      expect(codeOf(() => tree.removeDirectory(["d"]))).toBe("ENOTEMPTY");
      expect(codeOf(() => tree.unlink(["none"]))).toBe("ENOENT");
      const open = tree.open(["d", "f"]);
      tree.unlink(["d", "f"]);
      expect(open.stat().sizeBytes).toBe(0);
      open.close();
      tree.removeDirectory(["d"]);
      expect(names(tree)).toEqual([]);
      expect(codeOf(() => tree.removeDirectory(["d"]))).toBe("ENOENT");
      expect(codeOf(() => tree.list(["d"]))).toBe("ENOENT");
    });

    test("follows no link and goes through no file", () => {
      const { tree, user } = subject();
      tree.makeDirectory(["d"]);
      make(tree, "d/f", "inside");
      make(tree, "f", "");
      user.makeLink("l", "d");
      for (const use of [
        () => tree.list(["l"]),
        () => tree.open(["l", "f"]),
        () => tree.create(["l", "x"]),
        () => tree.rename(["l", "f"], ["x"]),
        () => tree.rename(["f"], ["l", "f"]),
        () => tree.stat(["l", "f"]),
        () => tree.unlink(["l", "f"]),
      ])
        expect(codeOf(use)).toBe("refused");
      expect(["refused", "ELOOP"]).toContain(codeOf(() => tree.open(["l"])));
      expect(codeOf(() => tree.open(["d"]))).toBe("refused");
      expect(codeOf(() => tree.create(["f", "x"]))).not.toBe("no error");
      expect(codeOf(() => tree.list(["f"]))).not.toBe("no error");
      expect(text(tree, "d/f")).toBe("inside");
    });

    test.each(["", ".", "..", "a/b", "a\0b"])("refuses the component %j", (component) => {
      const { tree } = subject();
      expect(codeOf(() => tree.create([component]))).toBe("name");
      expect(codeOf(() => tree.stat([component, "x"]))).toBe("name");
    });

    test("says that a name is too long for it", () => {
      const { tree } = subject();
      expect(codeOf(() => tree.create(["x".repeat(256)]))).toBe("ENAMETOOLONG");
    });

    test("sets times and modes, which moves the time of change", async () => {
      const { tree, settled } = subject();
      make(tree, "f", "1");
      const file = tree.create(["g"]);
      file.write(bytes("abc"), 0);
      file.setMtime(1_500_000_000_500_000_000n);
      file.setMode(0o640);
      await settled(file.sync());
      await settled(tree.syncDirectory([]));
      file.close();
      const stat = tree.stat(["g"])!;
      expect(stat.mtimeNs).toBe(1_500_000_000_500_000_000n);
      expect(stat.mode).toBe(0o640);
      expect(stat.ctimeNs).toBeGreaterThan(1_600_000_000_000_000_000n);
    });

    test("syncs what is closed meanwhile", async () => {
      const { tree, settled } = subject();
      const file = tree.create(["f"]);
      file.write(bytes("abc"), 0);
      const synced = file.sync();
      file.close();
      await settled(synced);
      expect(text(tree, "f")).toBe("abc");
    });

    test("its root is there", () => {
      expect(subject().tree.rootState()).toBe("there");
    });
  });
}

describe("a real tree", () => {
  test("notices that its root is gone, or another one", () => {
    const parent = tempDirectory();
    const root = join(parent, "root");
    fs.mkdirSync(root);
    const tree = new RealTree(root);
    fs.renameSync(root, join(parent, "moved"));
    expect(tree.rootState()).toBe("missing");
    fs.mkdirSync(root);
    expect(tree.rootState()).toBe("replaced");
    tree.close();
  });

  test("sees directories that others rename, in the next turn", async () => {
    const root = tempDirectory();
    const tree = new RealTree(root);
    fs.mkdirSync(join(root, "d"));
    fs.writeFileSync(join(root, "d/f"), "old");
    expect(text(tree, "d/f")).toBe("old");
    fs.renameSync(join(root, "d"), join(root, "e"));
    fs.mkdirSync(join(root, "d"));
    fs.writeFileSync(join(root, "d/f"), "new");
    await new Promise((resolve) => setImmediate(resolve));
    expect(text(tree, "d/f")).toBe("new");
    tree.close();
  });

  test("lists names that are not UTF-8 as such", () => {
    const root = tempDirectory();
    fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/b`), Buffer.from([0xff])]), "");
    fs.writeFileSync(join(root, "\u{FFFD}"), "");
    const tree = new RealTree(root);
    const listed = tree.list([]).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    expect(listed).toEqual([
      { name: "b\\xff", isNameable: false },
      { name: "\u{FFFD}", isNameable: true },
    ]);
    tree.close();
  });

  test("does not hang on a FIFO", () => {
    const root = tempDirectory();
    Bun.spawnSync(["mkfifo", join(root, "fifo")]);
    const tree = new RealTree(root);
    expect(tree.stat(["fifo"])!.kind).toBe("special");
    expect(codeOf(() => tree.open(["fifo"]))).toBe("refused");
    tree.close();
  });
});
