import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { DEFAULT_IGNORES, IgnoreRules } from "../../src/sync/ignore-rules.ts";
import { guardRoot, ROOT_GUARD_DEFAULTS } from "../../src/sync/root-guard.ts";
import { readRootId, writeRootId } from "../../src/sync/root-id.ts";
import { MetaDataFile } from "../../src/sync/meta-data-file.ts";
import { type Scanned, scan } from "../../src/sync/scan.ts";
import { systemError } from "../support/simulated-tree.ts";
import { SimulatedWorld } from "../support/sync-ports.ts";
import { textAt, writeText } from "../support/sync-texts.ts";
import { tempFolder } from "../support/temp.ts";

function booted() {
  const world = new SimulatedWorld(1);
  const machine = world.machine("10.0.0.1");
  return { world, machine, ports: machine.boot(), user: machine.user() };
}

function shown(found: Iterable<Scanned>): string[] {
  return [...found].map((each) => (each.kind === "file" ? each.name : `${each.name}: ${each.why}`));
}

describe("a scan", () => {
  test("finds all files, and says what it leaves out and why", () => {
    const { ports, user, machine } = booted();
    for (const name of [
      "b",
      "a/x",
      "a/y/z",
      "a/.swp~",
      "META-DATA",
      "a/META-DATA",
      ".dray/sync.db",
      "a/.dray/x",
      ".drayignore",
    ])
      writeText(user, name, "build/\n");
    writeText(user, "build/out", "");
    user.makeDirectory(["empty"]);
    user.makeLink(["link"]);
    writeText(user, "locked/secret", "");
    machine.disk.before = ({ kind, path }) => {
      if (kind === "read" && path[0] === "locked") throw systemError("EACCES");
    };
    expect(shown(scan(ports.tree, IgnoreRules.from(ports.tree)))).toEqual([
      ".drayignore",
      "META-DATA: name",
      "a/.dray: name",
      "a/.swp~: ignored",
      "a/META-DATA",
      "a/x",
      "a/y/z",
      "b",
      "build: ignored",
      "empty: empty-directory",
      "link: symlink",
      "locked: unreadable",
    ]);
  });

  test("of a part of the tree finds what the whole scan finds there", () => {
    const { ports, user } = booted();
    for (const name of ["a/b/c", "a/b2", "build/x/y", "d"]) writeText(user, name, "");
    const rules = new IgnoreRules("build/\n");
    expect(shown(scan(ports.tree, rules, "a"))).toEqual(["a/b/c", "a/b2"]);
    expect(shown(scan(ports.tree, rules, "a/b/c"))).toEqual(["a/b/c"]);
    expect(shown(scan(ports.tree, rules, "build/x"))).toEqual([]);
    expect(shown(scan(ports.tree, rules, "gone"))).toEqual([]);
    expect(shown(scan(ports.tree, rules, "d/e"))).toEqual([]);
  });

  test("of a tree whose root cannot be read finds nothing, and says so", () => {
    const { ports, machine } = booted();
    machine.disk.before = ({ kind }) => {
      if (kind === "read") throw systemError("EIO");
    };
    expect(shown(scan(ports.tree, new IgnoreRules()))).toEqual([": unreadable"]);
  });
});

describe("ignore rules", () => {
  test("leave out what programs leave behind, and nothing else", () => {
    const rules = new IgnoreRules();
    const left = [
      "x/.a.txt.swp",
      ".a.swo",
      "4913",
      "notes.txt~",
      "d/.#lock",
      "#a#",
      "~$plan.docx",
      "~WRL0001.tmp",
      ".~lock.a.odt#",
      ".DS_Store",
      "a/Thumbs.db",
      ".nfs000000000012",
      "big.iso.crdownload",
    ];
    const kept = [
      "a.swp.txt",
      "49130",
      "a#b",
      "plan$.docx",
      "x.tmp",
      "a.part",
      ".gitignore",
      ".env",
      "thumbs.db.txt",
      "#1 plan.txt",
    ];
    expect(left.filter((name) => !rules.isIgnored(name, false))).toEqual([]);
    expect(kept.filter((name) => rules.isIgnored(name, false))).toEqual([]);
  });

  test("of a user come after the defaults, and can take them back", () => {
    const rules = new IgnoreRules("# mine\n*.log\n!important.log\n/top\nnode_modules/\n!*~\n");
    expect(
      ["a.log", "x/important.log", "top", "x/top", "a/node_modules/b", "backup~"].map((name) =>
        rules.isIgnored(name, false),
      ),
    ).toEqual([true, false, true, false, true, false]);
    expect(rules.isIgnored("a/node_modules", true)).toBe(true);
    expect(rules.isIgnored("a/node_modules", false)).toBe(false);
  });

  test("tell case apart, as file systems do", () => {
    expect(new IgnoreRules("Build").isIgnored("build", false)).toBe(false);
  });

  test("mean what git means by them", () => {
    if (Bun.which("git") === null) return console.warn("skipped: there is no git to compare with");
    const user = [
      "*.log",
      "!keep.log",
      "/only-top",
      "dir/",
      "a/**/z",
      "!a/b/z",
      "x?y",
      "[abc]1",
      "\\!bang",
      "sp ace ",
      "**/deep/*.o",
    ];
    const names = [
      "a.log",
      "keep.log",
      "d/a.log",
      "only-top",
      "d/only-top",
      "dir/x",
      "d/dir/x",
      "a/z",
      "a/b/z",
      "a/b/c/z",
      "xzy",
      "x/y",
      "a1",
      "d1",
      "!bang",
      "sp ace",
      "p/deep/a.o",
      "deep/q/a.o",
      ".a.swp",
      "b~",
      "#c#",
      "~$d",
      "4913",
    ];
    using folder = tempFolder();
    spawnSync("git", ["init", "-q", folder.path]);
    fs.writeFileSync(folder.join(".gitignore"), [...DEFAULT_IGNORES, ...user].join("\n"));
    for (const name of names) {
      fs.mkdirSync(join(folder.path, name, ".."), { recursive: true });
      fs.writeFileSync(join(folder.path, name), "");
    }
    const checked = spawnSync("git", ["-C", folder.path, "check-ignore", "--no-index", "--stdin", "-z"], {
      input: names.join("\0"),
      encoding: "utf8",
    });
    const byGit = checked.stdout.split("\0").filter((name) => name !== "");
    const rules = new IgnoreRules(user.join("\n"));
    expect(names.filter((name) => rules.isIgnored(name, false))).toEqual(byGit);
  });

  test("that are too many are refused", () => {
    const { ports, user } = booted();
    writeText(user, ".drayignore", "x\n".repeat(600_000));
    expect(() => IgnoreRules.from(ports.tree)).toThrow("larger than");
  });
});

describe("the root", () => {
  const look = { root: "there", knownId: "a", foundId: "a", knownFiles: 100, missingFiles: 0 } as const;
  test.each([
    [{}, "go"],
    [{ missingFiles: 50 }, "go"],
    [{ missingFiles: 51 }, "hold, approvable"],
    [{ knownFiles: 10_000, missingFiles: 501 }, "hold, approvable"],
    [{ knownFiles: 10_000, missingFiles: 500 }, "go"],
    [{ knownFiles: 2, missingFiles: 2 }, "go"],
    [{ knownFiles: 3, missingFiles: 3 }, "hold, approvable"],
    [{ root: "missing" }, "hold"],
    [{ root: "replaced" }, "hold"],
    [{ foundId: undefined }, "hold, approvable"],
    [{ foundId: "b" }, "hold"],
  ] as const)("%j: %s", (change, expected) => {
    const verdict = guardRoot({ ...look, ...change }, ROOT_GUARD_DEFAULTS);
    const text = verdict.verdict === "hold" && verdict.isApprovable ? "hold, approvable" : verdict.verdict;
    expect(text).toBe(expected);
  });

  test("has an id that survives a power loss", () => {
    const { world, machine, ports } = booted();
    expect(readRootId(ports.tree)).toBeUndefined();
    const id = world.clock.settled(writeRootId(ports.tree, ports.random));
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    machine.losePower();
    const after = machine.boot();
    expect(readRootId(after.tree)).toBe(id);
    world.clock.settled(writeRootId(after.tree, after.random, "ab".repeat(16)));
    expect(readRootId(after.tree)).toBe("ab".repeat(16));
    writeText(machine.user(), ".dray/root-id", "something else");
    expect(readRootId(after.tree)).toBeUndefined();
  });
});

describe("the META-DATA file", () => {
  test("is written soon, at most once a second, and at the end", () => {
    const { world, ports } = booted();
    let content = "a";
    let writes = 0;
    const lines = function* (): Generator<Uint8Array> {
      writes++;
      yield Buffer.from(content);
      yield Buffer.from("\n");
    };
    const file = new MetaDataFile(ports, lines, (error) => {
      throw error;
    });
    file.touch();
    world.clock.pass(100);
    expect(textAt(ports.tree, ".dray/META-DATA")).toBe("a\n");
    for (let round = 0; round < 30; round++) {
      content = `b${round}`;
      file.touch();
      world.clock.pass(100);
    }
    expect(writes).toBeGreaterThanOrEqual(3);
    expect(writes).toBeLessThanOrEqual(4);
    content = "end";
    file.touch();
    world.clock.settled(file.close());
    expect(textAt(ports.tree, ".dray/META-DATA")).toBe("end\n");
  });

  test("that cannot be written is told, and tried again with the next change", () => {
    const { world, machine, ports } = booted();
    const errors: unknown[] = [];
    const file = new MetaDataFile(
      ports,
      () => [Buffer.from("x")],
      (error) => errors.push(error),
    );
    machine.disk.settings.capacityBytes = 0;
    file.touch();
    world.clock.pass(5_000);
    expect(errors.length).toBe(1);
    machine.disk.settings.capacityBytes = Infinity;
    file.touch();
    world.clock.pass(5_000);
    expect(textAt(ports.tree, ".dray/META-DATA")).toBe("x");
  });
});
