import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { runDray } from "../support/process.ts";
import { type ContentServer, type GivenOrder, sourceText, Stage } from "../support/stage.ts";
import { smallFileSystem, tempFolder } from "../support/temp.ts";

setDefaultTimeout(120_000);

/** A source with a file and a directory, beside which other files must arrive whatever is in their way. */
function fill(directory: string): void {
  mkdirSync(join(directory, "directory/below"), { recursive: true });
  for (const name of ["file", "directory/one", "directory/below/two", "beside"]) {
    writeFileSync(join(directory, name), `from the source: ${name}`);
  }
}

async function withObstacle(
  put: (tree: string, stage: Stage) => void,
  check: (given: GivenOrder, tree: string, stage: Stage, content: ContentServer) => unknown,
): Promise<void> {
  await using stage = await Stage.open();
  const content = await stage.content("data", fill);
  const tree = stage.treeOf(content);
  mkdirSync(tree, { recursive: true });
  put(tree, stage);
  const given = await stage.order([sourceText(content)]);
  expect(readFileSync(join(tree, "beside"), "utf8")).toBe("from the source: beside");
  await check(given, tree, stage, content);
  expect(namesBelow(stage.mirrorDirectory).filter((name) => name.endsWith(".tmp"))).toEqual([]);
}

function pathsOf({ result }: GivenOrder): string[] {
  return result.failures.map(({ path }) => path).sort();
}

describe("in the mirror's tree", () => {
  test.each(["empty", "full"])("a directory (%s) is in the way of a file", async (how) => {
    const put = (tree: string): void => {
      mkdirSync(join(tree, "file"));
      if (how === "full") writeFileSync(join(tree, "file/mine"), "mine");
    };
    await withObstacle(put, (given, tree) => {
      expect(given.code).toBe(3);
      expect(given.result.failures).toMatchObject([{ path: "file", code: "refused" }]);
      expect(given.result.failures[0]!.message).toContain("directory");
      expect(readdirSync(join(tree, "file"))).toEqual(how === "full" ? ["mine"] : []);
      expect(readFileSync(join(tree, "directory/below/two"), "utf8")).toContain("from the source");
    });
  });

  test("a file is in the way of a directory", async () => {
    await withObstacle(
      (tree) => writeFileSync(join(tree, "directory"), "mine"),
      (given, tree) => {
        expect(given.code).toBe(3);
        expect(pathsOf(given)).toEqual([
          "directory",
          "directory/below",
          "directory/below/two",
          "directory/one",
        ]);
        expect(given.result.failures.every(({ code }) => code === "refused")).toBe(true);
        expect(readFileSync(join(tree, "directory"), "utf8")).toBe("mine");
      },
    );
  });

  test("a link that leads out is in the way of a directory: nothing is written through it", async () => {
    const put = (tree: string, stage: Stage): void => {
      mkdirSync(stage.folder.join("outside/below"), { recursive: true });
      symlinkSync(stage.folder.join("outside"), join(tree, "directory"));
    };
    await withObstacle(put, (given, _, stage) => {
      expect(given.code).toBe(3);
      expect(pathsOf(given)).toEqual([
        "directory",
        "directory/below",
        "directory/below/two",
        "directory/one",
      ]);
      expect(namesBelow(stage.folder.join("outside"))).toEqual(["below/"]);
    });
  });

  test("a link is in the place of a file: the link is replaced, what it leads to is not", async () => {
    const put = (tree: string, stage: Stage): void => {
      writeFileSync(stage.folder.join("outside"), "mine");
      symlinkSync(stage.folder.join("outside"), join(tree, "file"));
    };
    await withObstacle(put, async (given, tree, stage, content) => {
      expect(given.code).toBe(0);
      expect(lstatSync(join(tree, "file")).isFile()).toBe(true);
      expect(readFileSync(stage.folder.join("outside"), "utf8")).toBe("mine");
      expect(await diffTrees(content.directory, tree)).toEqual([]);
    });
  });

  test("a fifo is in the place of a file", async () => {
    await withObstacle(
      (tree) => expect(spawnSync("mkfifo", [join(tree, "file")]).status).toBe(0),
      async (given, tree, _, content) => {
        expect(given.code).toBe(0);
        expect(await diffTrees(content.directory, tree)).toEqual([]);
      },
    );
  });

  test("the place of the whole source is a file, or a link that leads out", async () => {
    await using stage = await Stage.open();
    const [blocked, linked, good] = await Promise.all(
      ["blocked", "linked", "good"].map((name) => stage.content(name, fill)),
    );
    writeFileSync(stage.treeOf(blocked!), "mine");
    mkdirSync(stage.folder.join("outside"));
    symlinkSync(stage.folder.join("outside"), stage.treeOf(linked!));
    const { code, result } = await stage.order(
      [blocked!, linked!, good!].map((source) => sourceText(source)),
    );
    expect(code).toBe(3);
    expect(result.sources).toMatchObject([{ files: 0 }, { files: 0 }, { status: "complete", files: 4 }]);
    expect(result.failures.every((failure) => failure.code === "refused")).toBe(true);
    expect(readFileSync(stage.treeOf(blocked!), "utf8")).toBe("mine");
    expect(namesBelow(stage.folder.join("outside"))).toEqual([]);
    expect(await diffTrees(good!.directory, stage.treeOf(good!))).toEqual([]);
  });
});

describe("a mirror's directory that cannot be one", () => {
  test("a file", async () => {
    using folder = tempFolder();
    writeFileSync(folder.join("file"), "mine");
    for (const directory of [folder.join("file"), folder.join("file/below")]) {
      const { code, stderr } = await runDray(["mirror", "-p", "0", "-m", directory]);
      expect([2, 6]).toContain(code!);
      expect(stderr).toContain(directory);
      expect(stderr).toMatch(/not a directory/);
    }
    expect(readFileSync(folder.join("file"), "utf8")).toBe("mine");
  });

  test("a directory whose own place is a directory of somebody else", async () => {
    using folder = tempFolder();
    writeFileSync(folder.join(".dray"), "mine");
    const { code, stderr } = await runDray(["mirror", "-p", "0", "-m", folder.path]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(folder.path);
    expect(stderr).not.toContain("a fault in dray");
    expect(readFileSync(folder.join(".dray"), "utf8")).toBe("mine");
  });
});

const canMount = ((): boolean => {
  const disk = smallFileSystem(1024 * 1024);
  disk?.[Symbol.dispose]();
  return disk !== undefined;
})();

describe.skipIf(!canMount)("a read-only file system (skipped where mounting is not permitted)", () => {
  function mount(...args: string[]): void {
    const { status, stderr } = spawnSync("mount", args, { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  }

  test("at the start: refused, with the reason", async () => {
    using disk = smallFileSystem(1024 * 1024)!;
    mount("-o", "remount,ro", disk.path);
    for (const directory of [disk.path, disk.join("new")]) {
      const { code, stderr } = await runDray(["mirror", "-p", "0", "-m", directory]);
      expect(stderr).toContain("read-only");
      expect(stderr).not.toContain("a fault in dray");
      expect(code).toBe(6);
    }
  });

  test("from some moment on: orders fail with the reason, the mirror lives, and a repeat completes", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", fill);
    mount("--bind", stage.mirrorDirectory, stage.mirrorDirectory);
    try {
      mount("-o", "remount,bind,ro", stage.mirrorDirectory);
      for (let round = 1; round <= 2; round++) {
        const { code, stdout, stderr } = await runDray(stage.orderCommand([sourceText(content)]));
        expect(code).not.toBe(0);
        expect(stdout + stderr).toContain("read-only");
      }
    } finally {
      expect(spawnSync("umount", ["--lazy", stage.mirrorDirectory]).status).toBe(0);
    }
    expect((await stage.order([sourceText(content)])).code).toBe(0);
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
  });
});
