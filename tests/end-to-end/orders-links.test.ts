import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { diffTrees } from "../support/diff.ts";
import { orderBeside } from "../support/hostile-order.ts";
import { runDray } from "../support/process.ts";
import type { DrayEvent } from "../support/program.ts";
import { type Script, ScriptedSource } from "../support/scripted-source.ts";
import { type ContentServer, type GivenOrder, sourceText, Stage } from "../support/stage.ts";
import { tempFolder } from "../support/temp.ts";
import { leavesOf, snapshotOf } from "../support/tree-snapshot.ts";
import type { WireEntry } from "../support/wire-bytes.ts";

setDefaultTimeout(90_000);

const COPY = ["--links", "copy"];
const INSIDE = {
  "to-file": "docs/file",
  "to-directory": "docs",
  "docs/up": "../other",
  "docs/deep/up-and-down": "../../docs/file",
  "docs/beside": "file",
  "docs/root": "..",
  dangling: "nowhere/at/all",
  "täglich 日": "docs/./file",
};
const OUTSIDE = {
  absolute: "/etc/passwd",
  "absolute-inside": "/",
  parent: "..",
  "docs/too-far": "../../etc/passwd",
  "docs/in-the-middle": "deep/../../../etc",
  "docs/deep/through-another": "../up/../../../etc",
};

function fill(directory: string): void {
  mkdirSync(`${directory}/docs/deep`, { recursive: true });
  writeFileSync(`${directory}/docs/file`, "a file");
  writeFileSync(`${directory}/other`, "another");
}

const link = (directory: string, links: Record<string, string>): void => {
  for (const [path, target] of Object.entries(links)) symlinkSync(target, `${directory}/${path}`);
};

const skippedIn = (events: readonly DrayEvent[]): Record<string, unknown> =>
  Object.fromEntries(
    events.filter(({ type }) => type === "skipped").map(({ path, reason }) => [path, reason]),
  );

const copy = async (stage: Stage, source: { port: number }, ...flags: string[]): Promise<GivenOrder> =>
  stage.order([sourceText(source)], { flags: [...COPY, ...flags] });

async function linkedStage(links: Record<string, string>): Promise<{ stage: Stage; content: ContentServer }> {
  const stage = await Stage.open();
  const content = await stage.content("data", (directory) => {
    fill(directory);
    link(directory, links);
  });
  return { stage, content };
}

describe("--links copy", () => {
  test("makes the same links, and counts them; again, there is nothing to do", async () => {
    const { stage, content } = await linkedStage(INSIDE);
    await using _ = stage;
    const { code, result } = await copy(stage, content);
    expect(code).toBe(0);
    const count = Object.keys(INSIDE).length;
    expect(result).toMatchObject({ files: 2, directories: 2, links: count, skipped: 0, failed: 0 });
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    const inodes = (): number[] =>
      Object.keys(INSIDE).map((path) => lstatSync(`${stage.treeOf(content)}/${path}`).ino);
    const before = inodes();
    const again = await copy(stage, content, "--itemize");
    expect(again.result).toMatchObject({ files: 2, unchanged: 2, links: count, failed: 0 });
    expect(again.events.filter(({ type }) => type === "item")).toEqual([]);
    expect(inodes()).toEqual(before);
  });

  test("follows what becomes of a link: another target, a file, a link again", async () => {
    const { stage, content } = await linkedStage({ a: "docs/file" });
    await using _ = stage;
    await copy(stage, content);
    const at = (path: string): string => `${stage.treeOf(content)}/${path}`;
    const become = async (change: () => void, items: string[]): Promise<void> => {
      change();
      const { code, events } = await copy(stage, content, "--itemize");
      expect(code).toBe(0);
      const told = events.filter(({ type }) => type === "item");
      expect(told.map(({ action, kind, path, reason }) => [action, kind, path, reason].join(" "))).toEqual(
        items,
      );
      expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    };
    const source = (path: string): string => `${content.directory}/${path}`;
    await become(() => {
      rmSync(source("a"));
      symlinkSync("docs/deep", source("a"));
    }, ["link symlink a changed"]);
    expect(readlinkSync(at("a"))).toBe("docs/deep");
    await become(() => {
      rmSync(source("a"));
      writeFileSync(source("a"), "now a file");
    }, ["fetch file a changed"]);
    expect(lstatSync(at("a")).isFile()).toBe(true);
    // What the link led to is as it was.
    expect(readdirSync(at("docs/deep"))).toEqual([]);
    await become(() => {
      rmSync(source("a"));
      symlinkSync("docs/file", source("a"));
    }, ["link symlink a changed"]);
    expect(readFileSync(at("docs/file"), "utf8")).toBe("a file");
  });

  test("leaves out links that lead out of what the source exports, and tells each of them", async () => {
    const { stage, content } = await linkedStage({ ...INSIDE, ...OUTSIDE });
    await using _ = stage;
    const { code, result, events } = await copy(stage, content);
    expect(code).toBe(0);
    const [inside, outside] = [Object.keys(INSIDE), Object.keys(OUTSIDE)];
    expect(result).toMatchObject({ links: inside.length, skipped: outside.length, failed: 0 });
    const told = skippedIn(events);
    expect(Object.keys(told).sort()).toEqual([...outside].sort());
    for (const reason of Object.values(told)) expect(reason).toContain("leads out of");
    for (const path of outside) expect(existsSync(`${stage.treeOf(content)}/${path}`)).toBe(false);
    for (const [path, target] of Object.entries(INSIDE)) {
      expect(readlinkSync(`${stage.treeOf(content)}/${path}`)).toBe(target);
    }
  });

  test("does not take away a link that it would not make, nor one whose source's is left out", async () => {
    const { stage, content } = await linkedStage({ good: "other", bad: "/etc" });
    await using _ = stage;
    await copy(stage, content);
    symlinkSync("other", `${stage.treeOf(content)}/bad`);
    const { code, result } = await copy(stage, content, "--delete");
    expect([code, result.deleted]).toEqual([0, 0]);
    // With links left out, those that were made once stay as long as the source has them.
    const skipping = await stage.order([sourceText(content)], { flags: ["--delete"] });
    expect([skipping.code, skipping.result.deleted, skipping.result.skipped]).toEqual([0, 0, 2]);
    expect(readlinkSync(`${stage.treeOf(content)}/good`)).toBe("other");
    rmSync(`${content.directory}/good`);
    const last = await stage.order([sourceText(content)], { flags: ["--delete"] });
    expect([last.code, last.result.deleted]).toEqual([0, 1]);
    expect(leavesOf(snapshotOf(`${stage.mirrorDirectory}/.dray/trash`))).toHaveLength(1);
    expect(existsSync(`${stage.treeOf(content)}/good`)).toBe(false);
  });

  test("makes a link that is all that was ordered", async () => {
    const { stage, content } = await linkedStage({ "docs/beside": "file", outside: "/etc" });
    await using _ = stage;
    const flags = COPY;
    const one = await stage.order([sourceText(content, "docs/beside")], { flags });
    expect(one.code).toBe(0);
    expect(one.result).toMatchObject({ links: 1, files: 0, failed: 0 });
    expect(Object.entries(snapshotOf(stage.treeOf(content)))).toEqual([
      ["docs", "directory"],
      ["docs/beside", "link to file"],
    ]);
    const refused = await stage.order([sourceText(content, "docs/beside")]);
    expect([refused.code, refused.result.sources[0]!.error]).toEqual([
      6,
      expect.stringContaining("symbolic link"),
    ]);
  });

  test("goes on over a cascade: the second mirror has the same links", async () => {
    await using stage = await Stage.open({ flags: ["--export", "0"] });
    const content = await stage.content("data", (directory) => {
      fill(directory);
      link(directory, INSIDE);
    });
    await copy(stage, content);
    const port = Number((await stage.mirror.event("exporting"))["port"]);
    const { code, result } = await copy(stage, { port });
    expect([code, result.links, result.failed]).toEqual([0, Object.keys(INSIDE).length, 0]);
    const second = `${stage.treeOf({ port })}/127.0.0.1_${content.port}`;
    expect(await diffTrees(content.directory, second)).toEqual([]);
  });
});

test("links are left out when nothing else is said, and told to people, too", async () => {
  const { stage, content } = await linkedStage(INSIDE);
  await using _ = stage;
  const { code, result, events } = await stage.order([sourceText(content)]);
  expect(code).toBe(0);
  expect(result).toMatchObject({ files: 2, links: 0, skipped: Object.keys(INSIDE).length, failed: 0 });
  expect(Object.values(skippedIn(events))).toEqual(Object.keys(INSIDE).map(() => "a symbolic link"));
  expect(await diffTrees(content.directory, stage.treeOf(content), { links: "left-out" })).toEqual([]);
  const flags = stage.orderCommand([sourceText(content)], COPY).filter((flag) => flag !== "--json");
  const { stdout } = await runDray(flags);
  expect(stdout).toMatch(new RegExp(`Links +${Object.keys(INSIDE).length}`));
});

describe("a source that lies about links", () => {
  /** Lists exactly this, and gives every file that is asked for. */
  const listing = (...items: WireEntry[]): Script => ({
    list: (connection, asked) => connection.sendList(asked, items),
    fetch: (connection, asked) => connection.sendFile(asked, Buffer.from("hostile")),
  });

  test("writes nothing through a link that it had made before", async () => {
    using outside = tempFolder();
    for (const target of [outside.path, "docs", "../h", "."]) {
      const script = listing(
        { path: "docs/a", size: 7 },
        { kind: "symlink", path: "way", target },
        { path: "way/file", size: 7 },
        { kind: "directory", path: "way/deep" },
        { kind: "symlink", path: "way/link", target: "file" },
      );
      using source = new ScriptedSource(script);
      await using stage = await Stage.open();
      const flags = [...COPY, "--patience", "0", "--attempts", "2"];
      await stage.order([sourceText(source)], { flags });
      const { code } = await stage.order([sourceText(source)], { flags });
      const tree = snapshotOf(stage.treeOf(source));
      expect(readdirSync(outside.path)).toEqual([]);
      expect(Object.keys(tree).filter((path) => path.startsWith("docs"))).toEqual(["docs", "docs/a"]);
      expect(readdirSync(stage.mirrorDirectory).sort()).toEqual([".dray", `127.0.0.1_${source.port}`]);
      expect(readdirSync(stage.folder.path)).toEqual(["mirror"]);
      // Either the link is there and nothing below it came, or a directory of its own is.
      if (tree["way"] === "directory") expect([0, 3]).toContain(code ?? -1);
      else expect([tree["way"], code]).toEqual([`link to ${target}`, 3]);
    }
  });

  test.each([
    ["a name that leads upwards", "../x", "docs"],
    ["a name of our unfinished files", ".dray-link-abc.tmp", "docs"],
    ["an absolute name", "/tmp/dray-was-here", "docs"],
  ])("has it refused for %s", async (_, path, target) => {
    const script = listing({ path: "honest", size: 7 }, { kind: "symlink", path, target });
    await orderBeside(script, ({ failures, names }) => {
      expect(failures.map((failure) => failure.code).filter((code) => code !== "name")).toEqual([]);
      expect(names).toEqual(["honest"]);
    });
    using source = new ScriptedSource(script);
    await using stage = await Stage.open();
    const { code, result } = await copy(stage, source, "--patience", "0");
    expect(code).toBe(3);
    expect(result.failures).toMatchObject([{ path, code: "name" }]);
    expect(leavesOf(snapshotOf(stage.treeOf(source)))).toEqual(["honest"]);
  });

  test.each([
    ["that is empty", ""],
    ["of 5000 bytes", "x".repeat(5_000)],
    ["with a NUL in it", "a\0b"],
    ["that is absolute", "/etc"],
    ["that leads upwards", "../../etc"],
    ["that leads down and upwards", "a/../../b"],
  ])("with a target %s gets no link", async (_, target) => {
    using source = new ScriptedSource(
      listing({ path: "honest", size: 7 }, { kind: "symlink", path: "link", target }),
    );
    await using stage = await Stage.open();
    const { result } = await copy(stage, source, "--patience", "0");
    expect(result.links).toBe(0);
    expect(leavesOf(snapshotOf(stage.treeOf(source))).filter((path) => path !== "honest")).toEqual([]);
  });
});
