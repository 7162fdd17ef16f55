import { Database } from "bun:sqlite";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { diffTrees } from "../support/diff.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { mirroredStage } from "../support/mirrored-stage.ts";
import { runDray } from "../support/process.ts";
import type { DrayEvent } from "../support/program.ts";
import { startProxy } from "../support/proxy.ts";
import { type GivenOrder, receiving, sourceText, Stage } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { snapshotOf } from "../support/tree-snapshot.ts";

setDefaultTimeout(90_000);

const MIB = 1024 * 1024;

/** What an ageing disk does: one bit, and no trace of it in the metadata. */
function rot(path: string, atByte: number): void {
  const { mtimeNs } = statSync(path, { bigint: true });
  const file = openSync(path, "r+");
  const byte = new Uint8Array(1);
  readSync(file, byte, 0, 1, atByte);
  byte[0]! ^= 4;
  writeSync(file, byte, 0, 1, atByte);
  closeSync(file);
  utimesSync(path, Number(mtimeNs) / 1e9, Number(mtimeNs) / 1e9);
}

function rotsIn(events: readonly DrayEvent[]): Record<string, string> {
  const told = events.filter(({ type }) => type === "rot");
  return Object.fromEntries(told.map(({ path, message }) => [String(path), String(message)]));
}

const verify = async (
  stage: Stage,
  source: { port: number },
  flags: string[] = [],
  path = ".",
): Promise<GivenOrder> =>
  stage.order([sourceText(source, path)], { flags: ["--verify", "--patience", "0", ...flags] });

describe("--verify", () => {
  test("finds one bit that was turned over in a large file, and fetches that file again; nothing else does", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      makeLargeFile(`${directory}/large`, { seed: 1, sizeBytes: 5 * MIB + 3 });
      makeManyFiles(directory, { seed: 2, count: 50, directories: 5, minBytes: 0, maxBytes: 9_000 });
    });
    await stage.order([sourceText(content)]);
    const sound = await verify(stage, content);
    expect(sound.code).toBe(0);
    expect(sound.result).toMatchObject({
      files: 51,
      unchanged: 51,
      bytesTransferred: 0,
      rotten: 0,
      failed: 0,
    });

    rot(`${stage.treeOf(content)}/large`, 4 * MIB + 77);
    const repeat = await stage.order([sourceText(content)]);
    expect(repeat.result).toMatchObject({ unchanged: 51, bytesTransferred: 0 });
    expect((await diffTrees(content.directory, stage.treeOf(content))).join()).toContain("large");

    const { code, events, result } = await verify(stage, content);
    expect(code).toBe(0);
    expect(result).toMatchObject({ files: 51, unchanged: 50, rotten: 1, failed: 0 });
    expect(result.bytesTransferred).toBe(5 * MIB + 3);
    expect(Object.keys(rotsIn(events))).toEqual(["large"]);
    expect(rotsIn(events)["large"]).toContain("nobody changed it");
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    expect((await verify(stage, content)).result).toMatchObject({ unchanged: 51, rotten: 0 });
  });

  test("tells what has gone, what somebody changed, and what is not known, each for what it is", async () => {
    const { stage, content } = await mirroredStage(8);
    await using _ = stage;
    const tree = stage.treeOf(content);
    rmSync(`${tree}/docs/0`);
    writeFileSync(`${tree}/docs/1`, "changed by somebody");
    utimesSync(`${tree}/docs/2`, 1_000_000_000, 1_000_000_000);
    chmodSync(`${tree}/docs/3`, 0o755);
    rmSync(`${tree}/docs/4`);
    rot(`${tree}/docs/5`, 3);
    writeFileSync(`${tree}/docs/never-mirrored`, "put there by hand");
    const { code, events, result } = await verify(stage, content);
    expect(code).toBe(0);
    expect(result).toMatchObject({ files: 9, unchanged: 3, rotten: 6, failed: 0 });
    const rots = rotsIn(events);
    for (const name of ["docs/0", "docs/4"]) expect(rots[name]).toContain("has gone");
    for (const name of ["docs/1", "docs/2", "docs/3"]) expect(rots[name]).toContain("was changed");
    expect(rots["docs/5"]).toContain("nobody changed it");
    expect(Object.keys(rots)).toHaveLength(6);
    rmSync(`${tree}/docs/never-mirrored`);
    expect(await diffTrees(content.directory, tree)).toEqual([]);
  });

  test("needs the source only for what is not as it was", async () => {
    const { stage, content } = await mirroredStage(20);
    await using _ = stage;
    await content.program.stop();
    const sound = await verify(stage, content);
    expect(sound.code).toBe(0);
    expect(sound.result).toMatchObject({ files: 21, unchanged: 21, rotten: 0, failed: 0 });

    rot(`${stage.treeOf(content)}/docs/7`, 2);
    const before = snapshotOf(stage.treeOf(content), { metadata: true });
    const { code, result } = await verify(stage, content);
    expect(code).toBe(3);
    expect(result).toMatchObject({ files: 20, unchanged: 20, failed: 1 });
    expect(result.sources[0]!.status).toBe("partial");
    expect(result.failures).toMatchObject([{ path: "docs/7", code: "unreachable" }]);
    // What is there is better than nothing, and may be mended later.
    expect(snapshotOf(stage.treeOf(content), { metadata: true })).toEqual(before);
  });

  test("--dry-run only tells", async () => {
    const { stage, content } = await mirroredStage(5);
    await using _ = stage;
    await content.program.stop();
    rot(`${stage.treeOf(content)}/docs/1`, 0);
    rmSync(`${stage.treeOf(content)}/docs/2`);
    const before = snapshotOf(stage.treeOf(content), { metadata: true });
    const { code, events, result } = await verify(stage, content, ["--dry-run"]);
    expect(code).toBe(0);
    expect(result).toMatchObject({ rotten: 2, unchanged: 4, bytesTransferred: 0 });
    expect(result.plan).toMatchObject({ files: 2, deletions: 0 });
    expect(Object.keys(rotsIn(events)).sort()).toEqual(["docs/1", "docs/2"]);
    const items = events.filter(({ type }) => type === "item");
    expect(items.map(({ path, reason }) => [path, reason].join(" ")).sort()).toEqual([
      "docs/1 rotten",
      "docs/2 missing",
    ]);
    expect(snapshotOf(stage.treeOf(content), { metadata: true })).toEqual(before);
  });

  test("is of what was ordered: a path, and not what is excluded", async () => {
    const { stage, content } = await mirroredStage(5);
    await using _ = stage;
    for (const name of ["stays", "docs/1", "docs/2"]) rot(`${stage.treeOf(content)}/${name}`, 0);
    const { result, events } = await verify(stage, content, ["--exclude", "2"], "docs");
    expect(result).toMatchObject({ files: 4, unchanged: 3, rotten: 1 });
    expect(Object.keys(rotsIn(events))).toEqual(["docs/1"]);
    const one = await verify(stage, content, [], "docs/2");
    expect(one.result).toMatchObject({ files: 1, rotten: 1 });
  });

  test("finds nothing where nothing was mirrored: exit code 4", async () => {
    const { stage, content } = await mirroredStage(2);
    await using _ = stage;
    for (const [port, path] of [
      [content.port, "missing"],
      [content.port, "doc"],
      [content.port === 1 ? 2 : 1, "."],
    ] as const) {
      const { code, result } = await verify(stage, { port }, [], path);
      expect([path, code, result.sources[0]!.status]).toEqual([path, 4, "not-found"]);
      expect(result.sources[0]!.error).toContain("nothing was mirrored from there");
    }
  });

  test("knows what a file was that was gone on with after a kill", async () => {
    using folder = tempFolder();
    makeLargeFile(folder.join("data/large"), { seed: 3, sizeBytes: 12 * MIB + 5 });
    await using content = await SteadyServer.content(folder.join("data"));
    let bytesPerSecond = 8 * MIB;
    await using proxy = await startProxy({
      target: content,
      faults: () => [{ kind: "throttle", bytesPerSecond }],
    });
    await using mirror = await SteadyServer.mirror(folder.join("mirror"));
    const orders = new MirrorOrders(mirror);
    await using given = orders.start("-s", sourceText(proxy), "--timeout", "1m");
    await receiving(given);
    await given.waitFor((event) => Number(event["bytesTransferred"] ?? 0) > 3 * MIB, { what: "3 MiB" });
    await mirror.stop("SIGKILL");
    bytesPerSecond = 1024 * MIB;
    await mirror.start();
    const whole = await given.finished({ timeoutMs: 60_000 });
    expect(whole.code).toBe(0);
    // Gone on with, not begun anew.
    expect(proxy.connections.reduce((sum, one) => sum + one.bytesToClient, 0)).toBeLessThan(16 * MIB);

    await content.stop();
    const check = async (): Promise<ReturnType<typeof resultOf>> =>
      resultOf(await orders.ask(["-s", sourceText(proxy), "--verify", "--patience", "0", "--json"]));
    expect(await check()).toMatchObject({ files: 1, unchanged: 1, failed: 0 });
    const copy = `${mirror.directory}/127.0.0.1_${proxy.port}/large`;
    rot(copy, 100); // in what came before the kill
    expect(await check()).toMatchObject({ files: 0, failed: 1 });
    await content.start();
    expect(await check()).toMatchObject({ files: 1, rotten: 1, failed: 0 });
    expect(readFileSync(copy).equals(readFileSync(folder.join("data/large")))).toBe(true);
  });

  test("does not believe a damaged record: the source decides", async () => {
    const { stage, content } = await mirroredStage(4);
    await using _ = stage;
    await stage.mirror.stop();
    using journal = new Database(`${stage.mirrorDirectory}/.dray/journal.db`, { readwrite: true });
    expect(
      journal.run("UPDATE files SET chain = replace(chain, substr(chain, 1, 1), 'x') WHERE path = 'docs/1'")
        .changes,
    ).toBe(1);
    expect(journal.run("UPDATE files SET sizeBytes = 0, checksum = 5 WHERE path = 'docs/2'").changes).toBe(1);
    journal.close();
    rot(`${stage.treeOf(content)}/docs/2`, 1);
    await stage.startMirror();
    const { code, result, events } = await verify(stage, content);
    expect(code).toBe(0);
    // docs/1 was sound all the time; docs/2 was not, and is fetched.
    expect(result).toMatchObject({ files: 5, unchanged: 4, bytesTransferred: 6, failed: 0 });
    expect(Object.keys(rotsIn(events))).toEqual(["docs/2"]);
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    await content.program.stop();
    expect((await verify(stage, content)).result).toMatchObject({ unchanged: 5, failed: 0 });
  });

  test("tells people what was rotten, and how much", async () => {
    const { stage, content } = await mirroredStage(3);
    await using _ = stage;
    rot(`${stage.treeOf(content)}/docs/1`, 0);
    const flags = stage.orderCommand([sourceText(content)], ["--verify"]).filter((flag) => flag !== "--json");
    const { code, stdout, stderr } = await runDray(flags);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Rotten +1/);
    expect(stderr).toContain("docs/1");
  });

  test("forgets what --delete took away", async () => {
    const { stage, content } = await mirroredStage(3);
    await using _ = stage;
    rmSync(`${content.directory}/docs/1`);
    expect((await stage.order([sourceText(content)], { flags: ["--delete"] })).result.deleted).toBe(1);
    await content.program.stop();
    expect((await verify(stage, content)).result).toMatchObject({
      files: 3,
      unchanged: 3,
      rotten: 0,
      failed: 0,
    });
  });
});

describe("--checksum", () => {
  const checksum = async (
    stage: Stage,
    source: { port: number },
    flags: string[] = [],
  ): Promise<GivenOrder> => stage.order([sourceText(source)], { flags: ["--checksum", ...flags] });

  test("finds what changed at the source and kept its size and time", async () => {
    const { stage, content } = await mirroredStage(5);
    await using _ = stage;
    rot(`${content.directory}/docs/3`, 1);
    expect((await stage.order([sourceText(content)])).result).toMatchObject({
      unchanged: 6,
      bytesTransferred: 0,
    });
    const dry = await checksum(stage, content, ["--dry-run"]);
    expect(dry.result.plan).toEqual({ files: 1, bytes: 6, deletions: 0 });
    const { code, result } = await checksum(stage, content);
    expect(code).toBe(0);
    expect(result).toMatchObject({ files: 6, unchanged: 5, bytesTransferred: 6, rotten: 0 });
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
  });

  test("sends no file data when nothing differs, whatever the pieces of the file", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      for (const [index, sizeBytes] of [0, 1, 262_143, 262_144, 262_145, 3 * MIB].entries()) {
        makeLargeFile(`${directory}/${index}`, { seed: index, sizeBytes });
      }
    });
    await stage.order([sourceText(content)]);
    const { code, result } = await checksum(stage, content);
    expect(code).toBe(0);
    expect(result).toMatchObject({ files: 6, unchanged: 6, bytesTransferred: 0, failed: 0 });
  });

  test("puts times and permissions right when only those differ, and sends no data for that", async () => {
    const { stage, content } = await mirroredStage(4);
    await using _ = stage;
    const tree = stage.treeOf(content);
    utimesSync(`${content.directory}/docs/0`, 1_100_000_000.5, 1_100_000_000.5);
    chmodSync(`${content.directory}/docs/1`, 0o755);
    utimesSync(`${tree}/docs/2`, 1_200_000_000, 1_200_000_000);
    chmodSync(`${tree}/docs/3`, 0o755);
    const dry = await checksum(stage, content, ["--dry-run"]);
    expect(dry.result.plan).toEqual({ files: 0, bytes: 0, deletions: 0 });
    expect(await diffTrees(content.directory, tree)).not.toEqual([]);
    const { code, result } = await checksum(stage, content);
    expect([code, result.unchanged, result.bytesTransferred]).toEqual([0, 5, 0]);
    expect(await diffTrees(content.directory, tree)).toEqual([]);
    await content.program.stop();
    expect((await verify(stage, content)).result).toMatchObject({ unchanged: 5, rotten: 0, failed: 0 });
  });

  test("finds rot in the mirror as well, and learns what files are that it found there", async () => {
    const { stage, content } = await mirroredStage(3);
    await using _ = stage;
    rot(`${stage.treeOf(content)}/docs/1`, 1);
    expect((await checksum(stage, content)).result).toMatchObject({ unchanged: 3, bytesTransferred: 6 });
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);

    // A mirror that was copied from elsewhere, and whose journal is gone, knows nothing.
    await stage.mirror.stop();
    rmSync(`${stage.mirrorDirectory}/.dray`, { recursive: true });
    await stage.startMirror();
    expect((await verify(stage, content)).code).toBe(4);
    expect((await checksum(stage, content)).result).toMatchObject({ unchanged: 4, bytesTransferred: 0 });
    await content.program.stop();
    expect((await verify(stage, content)).result).toMatchObject({ unchanged: 4, failed: 0 });
    expect(existsSync(`${stage.mirrorDirectory}/.dray`)).toBe(true);
  });
});
