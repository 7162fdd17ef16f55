import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeLargeFile, makeManyFiles, makeOddTree } from "../support/tree.ts";

setDefaultTimeout(120_000);

test.each([
  "--durability strict",
  "--durability batch",
  "--durability none",
  "--verify-written",
  "--digest sha256",
  "--durability strict --verify-written --digest sha256",
  "--threads 1 -w 1",
  "--threads 4 -w 32 --queue-size 64",
])("a mixed order is mirrored correctly with %s", async (flags) => {
  await using stage = await Stage.open({ flags: flags.split(" ") });
  const content = await stage.content("data", (directory) => {
    makeOddTree(join(directory, "odd"), { seed: 1 });
    makeManyFiles(join(directory, "many"), {
      seed: 2,
      count: 200,
      directories: 10,
      minBytes: 0,
      maxBytes: 30_000,
    });
    makeLargeFile(join(directory, "large"), { seed: 3, sizeBytes: 5 * 1024 * 1024 + 1 });
    makeLargeFile(join(directory, "piece"), { seed: 4, sizeBytes: 256 * 1024 });
  });
  const { code, result } = await stage.order([sourceText(content)]);
  expect(result.failures).toEqual([]);
  expect(code).toBe(0);
  expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
  const again = await stage.order([sourceText(content)]);
  expect(again.result).toMatchObject({ unchanged: result.files, bytesTransferred: 0 });
});

test("--digest is what the source is asked for", async () => {
  for (const digest of ["xxh3", "sha256"] as const) {
    using source = new ScriptedSource({
      files: { file: Buffer.alloc(700_000, digest), empty: Buffer.alloc(0) },
    });
    await using stage = await Stage.open({ flags: ["--digest", digest] });
    expect((await stage.order([sourceText(source)])).code).toBe(0);
    expect(source.fetches.map((asked) => asked.digest)).toEqual([digest, digest]);
  }
});

test("after an unclean boot, what was not synced is not trusted, whatever its size and time say", async () => {
  await using stage = await Stage.open({ flags: ["--durability", "none"] });
  const content = await stage.content("data", (directory) => {
    makeManyFiles(directory, { seed: 5, count: 30, directories: 3, minBytes: 100, maxBytes: 5000 });
  });
  expect((await stage.order([sourceText(content)])).code).toBe(0);
  await stage.mirror.stop("SIGKILL");

  // What a power loss does to a file that was not synced: its length and time are there, its bytes are not.
  const victim = join(stage.treeOf(content), "group-1/dir-1/file-1.bin");
  const { size, atime, mtime } = statSync(victim);
  const whole = readFileSync(victim);
  truncateSync(victim, 0);
  truncateSync(victim, size);
  utimesSync(victim, atime, mtime);
  expect(readFileSync(victim).equals(whole)).toBe(false);
  pretendToHaveBooted(stage.mirrorDirectory);

  await stage.startMirror(["--durability", "none"]);
  const { code, result } = await stage.order([sourceText(content)]);
  expect(code).toBe(0);
  expect(result.unchanged).toBe(0);
  expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
});

test("after an unclean boot, what had been synced is not fetched again", async () => {
  await using stage = await Stage.open({ flags: ["--durability", "batch"] });
  const content = await stage.content("data", (directory) => {
    makeManyFiles(directory, { seed: 6, count: 30, directories: 3, minBytes: 100, maxBytes: 5000 });
  });
  expect((await stage.order([sourceText(content)])).code).toBe(0);
  await stage.mirror.stop("SIGKILL");
  pretendToHaveBooted(stage.mirrorDirectory);

  await stage.startMirror();
  const { result } = await stage.order([sourceText(content)]);
  expect(result).toMatchObject({ unchanged: 30, bytesTransferred: 0 });
});

/** Makes the mirror believe that the machine went down since it was last written. */
function pretendToHaveBooted(mirrorDirectory: string): void {
  const path = join(mirrorDirectory, ".dray/sync-state.json");
  const state = JSON.parse(readFileSync(path, "utf8")) as { bootId: string };
  expect(state.bootId).toMatch(/^[0-9a-f-]{36}$/);
  writeFileSync(path, JSON.stringify({ ...state, bootId: "00000000-0000-0000-0000-000000000000" }));
}
