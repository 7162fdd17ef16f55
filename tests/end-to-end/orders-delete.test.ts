import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { diffTrees } from "../support/diff.ts";
import { MirrorOrders } from "../support/mirror-orders.ts";
import { mirroredStage } from "../support/mirrored-stage.ts";
import { runDray } from "../support/process.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { tempFolder } from "../support/temp.ts";
import { makeManyFiles, makeOddTree } from "../support/tree.ts";
import { leavesOf, snapshotOf } from "../support/tree-snapshot.ts";

setDefaultTimeout(90_000);

const trashOf = (stage: Stage): string => `${stage.mirrorDirectory}/.dray/trash`;
const labelsIn = (directory: string): string[] =>
  existsSync(directory) ? readdirSync(directory).sort() : [];

describe("--delete", () => {
  test("moves what the source has no more into the trash, and the documented command brings it back", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      makeOddTree(directory, { seed: 1 });
      makeManyFiles(`${directory}/many`, {
        seed: 2,
        count: 60,
        directories: 6,
        minBytes: 0,
        maxBytes: 9_000,
      });
    });
    await stage.order([sourceText(content)]);
    const tree = stage.treeOf(content);
    const before = snapshotOf(tree, { metadata: true });
    for (const name of ["many/group-1", "many/group-2", "deep", "empty", "in 3", "日本語-🛒-ملف"]) {
      rmSync(`${content.directory}/${name}`, { recursive: true });
    }
    const { code, result, events } = await stage.order([sourceText(content)], { flags: ["--delete"] });
    expect(code).toBe(0);
    expect(await diffTrees(content.directory, tree)).toEqual([]);
    const after = snapshotOf(tree, { metadata: true });
    const gone = leavesOf(before).filter((path) => after[path] === undefined);
    expect([result.deleted, result.sources[0]!.deleted, result.files]).toEqual([
      gone.length,
      gone.length,
      leavesOf(after).length,
    ]);
    const told = events.filter(({ type }) => type === "deleted").map(({ path }) => String(path));
    expect(told.sort()).toEqual([...gone].sort());

    // README: to bring back all that an order deleted, without overwriting anything.
    const [label, ...others] = labelsIn(trashOf(stage));
    expect(others).toEqual([]);
    expect(label).toMatch(new RegExp(`^\\d{8}T\\d{6}Z-${result.orderId}$`));
    writeFileSync(`${tree}/empty`, "somebody else's by now");
    const restore = spawnSync("cp", ["-an", `${trashOf(stage)}/${label}/.`, `${stage.mirrorDirectory}/`]);
    expect([restore.status, restore.stderr.toString()]).toEqual([0, ""]);
    const restored = snapshotOf(tree, { metadata: true });
    for (const path of leavesOf(before)) {
      if (path !== "empty") expect([path, restored[path]]).toEqual([path, before[path]]);
    }
    expect(await Bun.file(`${tree}/empty`).text()).toBe("somebody else's by now");
  });

  test("leaves everything else in the mirror alone: other sources, other paths, what is excluded", async () => {
    await using stage = await Stage.open();
    const fill = (directory: string): void => {
      for (const name of ["docs/a", "docs/b.log", "docs2/a", "other/a"]) {
        mkdirSync(dirname(`${directory}/${name}`), { recursive: true });
        writeFileSync(`${directory}/${name}`, name);
      }
    };
    const [one, two] = [await stage.content("one", fill), await stage.content("two", fill)];
    await stage.order([sourceText(one), sourceText(two)]);
    for (const { directory } of [one, two]) {
      for (const name of readdirSync(directory)) rmSync(`${directory}/${name}`, { recursive: true });
      mkdirSync(`${directory}/docs`);
    }
    writeFileSync(`${one.directory}/docs/new`, "new");
    writeFileSync(`${stage.treeOf(one)}/docs/mine.log`, "put there by hand");

    const flags = ["--delete", "--exclude", "*.log"];
    const { code, result } = await stage.order([sourceText(one, "docs")], { flags });
    expect([code, result.deleted]).toEqual([0, 1]);
    expect(leavesOf(snapshotOf(stage.treeOf(one)))).toEqual([
      ...["docs/b.log", "docs/mine.log", "docs/new", "docs2/a", "other/a"],
    ]);
    expect(leavesOf(snapshotOf(stage.treeOf(two)))).toHaveLength(4);
  });

  test("makes way where the source has a directory for a file, or a file for a directory", async () => {
    const { stage, content } = await mirroredStage(3);
    await using _ = stage;
    rmSync(`${content.directory}/docs`, { recursive: true });
    rmSync(`${content.directory}/stays`);
    writeFileSync(`${content.directory}/docs`, "now a file");
    mkdirSync(`${content.directory}/stays`);
    writeFileSync(`${content.directory}/stays/deep`, "now below a directory");
    // Without it, what is in the way stays and is told.
    const refused = await stage.order([sourceText(content)], {
      flags: ["--patience", "0", "--attempts", "2"],
    });
    expect(refused.code).toBe(3);
    expect(refused.result.failures.map(({ message }) => message).join()).toContain("in the way");
    expect(leavesOf(snapshotOf(stage.treeOf(content)))).toHaveLength(4);

    const { code, result } = await stage.order([sourceText(content)], { flags: ["--delete"] });
    expect([code, result.deleted, result.failed]).toEqual([0, 4, 0]);
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    expect(leavesOf(snapshotOf(trashOf(stage)))).toHaveLength(4);
  });

  test("does not follow a link in the mirror out of it", async () => {
    const { stage, content } = await mirroredStage(2);
    await using _ = stage;
    using outside = tempFolder();
    writeFileSync(outside.join("precious"), "x");
    symlinkSync(outside.path, `${stage.treeOf(content)}/docs/link`);
    const { code, result } = await stage.order([sourceText(content)], { flags: ["--delete"] });
    expect([code, result.deleted]).toEqual([0, 1]);
    expect(readdirSync(outside.path)).toEqual(["precious"]);
    expect(existsSync(`${stage.treeOf(content)}/docs/link`)).toBe(false);
  });

  test("goes with --every: each run deletes what has gone since", async () => {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(tempFolder());
    makeManyFiles(folder.join("data"), { seed: 1, count: 9, directories: 3, minBytes: 1, maxBytes: 9 });
    const content = stack.use(await SteadyServer.content(folder.join("data")));
    const mirror = stack.use(await SteadyServer.mirror(folder.join("mirror")));
    const orders = new MirrorOrders(mirror);
    const given = await orders.ask(["-s", sourceText(content), "--delete", "--every", "1s", "--json"]);
    expect(given.code).toBe(0);
    rmSync(folder.join("data/group-1"), { recursive: true });
    await mirror.program.stderrMatch(/, 3 deleted, 0 failed/);
    rmSync(folder.join("data/group-2"), { recursive: true });
    await mirror.program.stderrMatch(/, 3 deleted, 0 failed[^]*, 3 deleted, 0 failed/);
    const tree = `${mirror.directory}/127.0.0.1_${content.port}`;
    expect(await diffTrees(folder.join("data"), tree)).toEqual([]);
    // A source that is emptied by accident does not empty the mirror, however often the order runs.
    renameSync(folder.join("data/group-0"), folder.join("elsewhere"));
    await mirror.program.stderrMatch(/no files at all; 3 files would have been deleted/);
    expect(leavesOf(snapshotOf(tree))).toHaveLength(3);
    expect(labelsIn(`${mirror.directory}/.dray/trash`)).toHaveLength(2);
  });
});

describe("the guards of --delete", () => {
  const GUARDS: [what: string, gone: number, flags: string[], guard: RegExp | undefined][] = [
    ["more than half of the files", 16, [], /16 files of 31 would have been deleted, more than the 50 %/],
    ["half of them", 15, [], undefined],
    [
      "more than --max-delete-percent",
      12,
      ["--max-delete-percent", "20"],
      /12 files of 31 .* more than the 20 %/,
    ],
    ["ten, whatever part that is", 10, ["--max-delete-percent", "0"], undefined],
    ["more than --max-delete", 4, ["--max-delete", "3"], /4 files would have been deleted, more than the 3/],
    [
      "one, where none is allowed",
      1,
      ["--max-delete", "0"],
      /1 file would have been deleted, more than the 0/,
    ],
    ["as many as --max-delete", 4, ["--max-delete", "4"], undefined],
  ];
  test.each(GUARDS)("%s", async (_, gone, flags, guard) => {
    const { stage, content } = await mirroredStage(30);
    await using __ = stage;
    for (let index = 0; index < gone; index++) rmSync(`${content.directory}/docs/${index}`);
    const before = snapshotOf(stage.treeOf(content), { metadata: true });
    const dry = await stage.order([sourceText(content)], { flags: ["--delete", "--dry-run", ...flags] });
    const { code, result } = await stage.order([sourceText(content)], { flags: ["--delete", ...flags] });
    expect([code, dry.code]).toEqual(guard === undefined ? [0, 0] : [8, 8]);
    expect(result.deleted).toBe(guard === undefined ? gone : 0);
    expect(dry.result.plan).toMatchObject({ deletions: result.deleted });
    for (const { sources } of [result, dry.result]) {
      const [only] = sources;
      expect(only!.status).toBe("complete");
      if (guard === undefined) expect(only).not.toHaveProperty("guard");
      else expect(only!.guard).toMatch(guard);
    }
    if (guard !== undefined) expect(snapshotOf(stage.treeOf(content), { metadata: true })).toEqual(before);
    expect(labelsIn(trashOf(stage))).toHaveLength(guard === undefined ? 1 : 0);
  });

  test("speak to people, too: on the terminal and in the mirror's log", async () => {
    const { stage, content } = await mirroredStage(30);
    await using _ = stage;
    rmSync(`${content.directory}/docs`, { recursive: true });
    const command = stage
      .orderCommand([sourceText(content)], ["--delete"])
      .filter((flag) => flag !== "--json");
    const { code, stdout } = await runDray(command);
    expect(code).toBe(8);
    expect(stdout).toContain("Nothing was deleted:");
    expect(stdout).toContain("30 files of 31 would have been deleted, more than the 50 %");
    await stage.mirror.stderrMatch(/30 files of 31 would have been deleted/);
  });
});

describe("the trash", () => {
  test("is never listed nor served by --export", async () => {
    const { stage, content } = await mirroredStage(5, ["--export", "0"]);
    await using _ = stage;
    rmSync(`${content.directory}/docs/1`);
    expect((await stage.order([sourceText(content)], { flags: ["--delete"] })).result.deleted).toBe(1);
    const [label] = labelsIn(trashOf(stage));
    const port = Number((await stage.mirror.event("exporting"))["port"]);
    const all = await stage.order([sourceText({ port })]);
    expect([all.code, all.result.files, all.result.skipped]).toEqual([0, 5, 0]);
    const second = stage.treeOf({ port });
    expect(await diffTrees(content.directory, `${second}/127.0.0.1_${content.port}`)).toEqual([]);
    expect(readdirSync(second)).toEqual([`127.0.0.1_${content.port}`]);
    const host = `127.0.0.1_${content.port}`;
    for (const path of [".dray", ".dray/trash", `.dray/trash/${label}/${host}/docs/1`]) {
      expect((await stage.order([sourceText({ port }, path)])).code).toBe(4);
    }
  });

  test("is emptied when its time has come: with --keep-trash 0 on the next start", async () => {
    const { stage, content } = await mirroredStage(5);
    await using _ = stage;
    rmSync(`${content.directory}/docs/1`);
    await stage.order([sourceText(content)], { flags: ["--delete"] });
    mkdirSync(`${trashOf(stage)}/by-hand`);
    const [label] = labelsIn(trashOf(stage));
    await stage.mirror.stop();
    await stage.startMirror();
    expect(labelsIn(trashOf(stage))).toEqual([label!, "by-hand"]);
    await stage.mirror.stop();
    await stage.startMirror(["--keep-trash", "0"]);
    await stage.mirror.stderrMatch(/emptied 1 folder/);
    expect(labelsIn(trashOf(stage))).toEqual(["by-hand"]);
    expect(existsSync(`${stage.treeOf(content)}/docs/2`)).toBe(true);
  });
});
