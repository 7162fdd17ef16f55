import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { runDray, startProgram } from "../support/process.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeNonUtf8File, makeOddTree } from "../support/tree.ts";

setDefaultTimeout(120_000);

/** Names that are a whole path for somebody who is careless, or look like our own. */
const TRICKY = [
  "a..b",
  "..a",
  "b..",
  ". .",
  "~",
  "-",
  "--help",
  "%00",
  "\u0001\u001b[31m",
  "\u007f",
  "\u202egpj.exe",
  "\ufeffbom",
  "\ufffd is a character too",
  "é", // composed
  "é".normalize("NFD"), // the same to the eye, another file
  "👩‍👩‍👧‍👦",
  "𐀀",
  "🛒".repeat(63) + "abc", // 255 bytes
  ".dray",
  ".dray-.tmp",
  ".dray-A-1.tmp",
  "dray-a-b.tmp",
  ".dray-a-b.tmp.",
  "lock",
  "nul",
  "con.txt",
  "trailing.",
];

test("every odd name arrives as it is, for files, directories and asked paths", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) => {
    makeOddTree(join(directory, "odd"), { seed: 1 });
    for (const [index, name] of TRICKY.entries()) {
      mkdirSync(join(directory, "below", name), { recursive: true });
      writeFileSync(join(directory, "below", name, "file"), `in ${index}`);
      writeFileSync(join(directory, name), `file ${index}`);
    }
  });
  const everything = await stage.order([sourceText(content)]);
  expect(everything.result.failures).toEqual([]);
  expect(everything.code).toBe(0);
  expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);

  // One source a name: what the order asks for goes through -s, and through the order on the wire.
  const asked = [...TRICKY, ...namesBelow(join(content.directory, "odd")).map((name) => `odd/${name}`)];
  const paths = asked.filter((path) => path.trim() === path).slice(0, 60);
  const each = await stage.order(paths.map((path) => sourceText(content, path)));
  expect(each.code).toBe(0);
  expect(each.result.sources.map(({ path, status }) => `${status} ${path}`)).toEqual(
    paths.map((path) => `complete ${path}`),
  );
  expect(each.result.bytesTransferred).toBe(0);
});

test("names with control characters cannot forge lines of the text report", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) => {
    mkdirSync(join(directory, "x"));
  });
  const path = "no\nFiles  99 (0 unchanged)\u001b[2J";
  const mirror = ["-m", "127.0.0.1", "-p", String(stage.mirrorPort)];
  const { code, stdout, stderr } = await runDray(["initiate", ...mirror, "-s", sourceText(content, path)]);
  expect(code).toBe(4);
  expect(stdout + stderr).not.toContain("\u001b");
  expect(stdout).not.toMatch(/^Files +99/m);
});

describe("names that cannot be carried are reported, and the rest arrives", () => {
  test("bytes that are not UTF-8", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      makeNonUtf8File(directory);
      const foreign = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0xe4, 0x20, 0x64])]);
      mkdirSync(foreign);
      writeFileSync(Buffer.concat([foreign, Buffer.from("/hidden below it")]), "x");
      writeFileSync(join(directory, "good"), "good");
    });
    const { code, result } = await stage.order([sourceText(content)]);
    expect(code).toBe(3);
    expect(result).toMatchObject({ files: 1, failed: 2, sources: [{ status: "partial", files: 1 }] });
    expect(result.failures.map(({ code }) => code)).toEqual(["name", "name"]);
    expect(result.failures.map(({ path }) => path).sort()).toEqual(["\\xe4 d", "not-\\xff\\xfe-utf8"]);
    expect(namesBelow(stage.treeOf(content))).toEqual(["good"]);
  });

  test("paths over 4096 bytes; those just under it arrive", async () => {
    await using stage = await Stage.open();
    // Removing them takes a tool that goes down step by step.
    await using _ = {
      [Symbol.asyncDispose]: async () => {
        await startProgram(["rm", "-rf", stage.folder.join("data"), stage.mirrorDirectory]).exit;
      },
    };
    const longest = [...Array<string>(15).fill("d".repeat(255)), "f".repeat(256 - 20)];
    expect(longest.join("/").length).toBeLessThanOrEqual(4096);
    const content = await stage.content("data", (directory) => {
      makeDeepFile(directory, longest);
      makeDeepFile(directory, [...longest.slice(0, -1), "e".repeat(255), "too far"]);
    });
    const { code, result } = await stage.order([sourceText(content)]);
    expect(code).toBe(3);
    expect(result).toMatchObject({ files: 1, failed: 1, failures: [{ code: "name" }] });
    // From inside, because the whole path is longer than the system takes.
    const filesIn = async (cwd: string): Promise<string[]> =>
      (await startProgram(["grep", "-rlx", "deep", "."], { cwd }).finished()).stdout.split("\n").sort();
    const sent = await filesIn(content.directory);
    expect(sent).toHaveLength(3); // with the end of the last line
    expect(await filesIn(stage.treeOf(content))).toEqual(sent.filter((name) => !name.endsWith("too far")));
  });
});

describe("names that are reserved for unfinished files", () => {
  test("a file of such a name is not left out without a word", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      writeFileSync(join(directory, ".dray-abc-1.tmp"), "a user's own");
      writeFileSync(join(directory, "good"), "good");
    });
    const { result, events } = await stage.order([sourceText(content)]);
    expect(result.files).toBe(1);
    expect(events).toContainEqual(
      expect.objectContaining({ type: expect.stringMatching(/skipped|failure/), path: ".dray-abc-1.tmp" }),
    );
  });

  test("a directory of such a name is one like any other, or reported", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      mkdirSync(join(directory, ".dray-abc-1.tmp"));
      writeFileSync(join(directory, ".dray-abc-1.tmp/file"), "a user's own");
    });
    const { code, result } = await stage.order([sourceText(content)]);
    const arrived = result.files === 1 && code === 0;
    const reported = result.failed + result.skipped > 0;
    expect(arrived || reported).toBe(true);
  });
});

/** A file at a path that may be longer than the system takes in one call. */
function makeDeepFile(root: string, components: readonly string[]): void {
  let directory = openSync(root, "r");
  for (const [index, name] of components.entries()) {
    const at = `/proc/self/fd/${directory}/${name}`;
    if (index === components.length - 1) writeFileSync(at, "deep");
    else mkdirSync(at, { recursive: true });
    const next = openSync(at, "r");
    closeSync(directory);
    directory = next;
  }
  closeSync(directory);
}
