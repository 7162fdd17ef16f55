import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { drayBinary } from "../support/binary.ts";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { startProgram } from "../support/process.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeOddTree } from "../support/tree.ts";

setDefaultTimeout(120_000);

async function run(...command: string[]): Promise<void> {
  const { code, stderr } = await startProgram(command).finished();
  if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
}

test("symbolic links are skipped and reported, whatever they point to, and followed nowhere", async () => {
  await using stage = await Stage.open();
  const outside = stage.folder.join("outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "secret"), "not to be mirrored");
  let links: string[] = [];
  const content = await stage.content("data", (directory) => {
    links = makeOddTree(directory, { seed: 1, links: true }).links;
    const more = {
      loop: "loop",
      "in 0/up": "..",
      "to-secret": join(outside, "secret"),
      "to-outside": outside,
    };
    for (const [name, target] of Object.entries(more)) symlinkSync(target, join(directory, name));
    links.push(...Object.keys(more));
  });
  const { code, events, result } = await stage.order([sourceText(content)]);
  expect(code).toBe(0);
  expect(result).toMatchObject({ skipped: links.length, failed: 0, sources: [{ status: "complete" }] });
  const skipped = events.filter(({ type }) => type === "skipped");
  expect(skipped.map(({ path }) => String(path)).sort()).toEqual([...links].sort());
  expect(skipped.every(({ reason }) => reason === "a symbolic link")).toBe(true);
  expect(await diffTrees(content.directory, stage.treeOf(content), { links: "left-out" })).toEqual([]);

  for (const path of ["to-outside/secret", "outside/hosts", "loop/x"]) {
    const through = await stage.order([sourceText(content, path)]);
    expect({ path, code: through.code }).toEqual({ path, code: 6 });
  }
});

test("an order for nothing but a link does not claim to have brought something", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) => symlinkSync("/etc", join(directory, "link")));
  const { code, result } = await stage.order([sourceText(content, "link")]);
  expect(result.sources).toMatchObject([{ status: "refused", files: 0, error: "it is a symbolic link" }]);
  expect(code).toBe(6);
});

test("fifos and sockets are skipped and reported, and hold nothing up", async () => {
  await using stage = await Stage.open();
  const server = createServer();
  const content = await stage.content("data", async (directory) => {
    await run("mkfifo", join(directory, "fifo"));
    server.listen(join(directory, "socket"));
    await once(server, "listening");
    writeFileSync(join(directory, "good"), "good");
  });
  try {
    const { code, result, events } = await stage.order([sourceText(content), sourceText(content, "fifo")]);
    expect(result.sources).toMatchObject([
      { status: "complete", files: 1 },
      { status: "refused", error: "it is neither a file nor a directory" },
    ]);
    expect(result).toMatchObject({ files: 1, skipped: 2, failed: 0 });
    expect(code).toBe(3);
    const skipped = events.filter(({ type }) => type === "skipped").map(({ path }) => String(path));
    expect(skipped.sort()).toEqual(["fifo", "socket"]);
    expect(namesBelow(stage.treeOf(content))).toEqual(["good"]);
  } finally {
    server.close();
  }
});

const MTIMES = [
  "1969-12-31 23:59:59.999999 UTC",
  "1969-12-31 23:59:58.5 UTC",
  "1950-06-15 12:00:00.123456 UTC",
  "1970-01-01 00:00:00 UTC",
  "2038-01-19 03:14:07.999999 UTC",
  "2038-01-19 03:14:08.000001 UTC",
  "2100-02-28 12:00:00.654321 UTC",
  "2024-02-29 12:00:00.123456789 UTC",
  "2001-09-09 01:46:40.000001 UTC",
];

test("modification times keep their microseconds, before 1970 and after 2038, and count as unchanged", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("data", async (directory) => {
    for (const mtime of MTIMES) {
      writeFileSync(join(directory, mtime), mtime);
      await run("touch", "-d", mtime, join(directory, mtime));
    }
  });
  expect((await stage.order([sourceText(content)])).code).toBe(0);
  expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
  const { result } = await stage.order([sourceText(content)]);
  expect(result).toMatchObject({ unchanged: MTIMES.length, bytesTransferred: 0 });
});

test("the executable bit travels, and goes away again", async () => {
  await using stage = await Stage.open();
  const modes = { plain: 0o644, all: 0o755, owner: 0o744, group: 0o654, readOnly: 0o444, setuid: 0o4755 };
  const content = await stage.content("data", (directory) => {
    for (const [name, mode] of Object.entries(modes)) {
      writeFileSync(join(directory, name), name);
      chmodSync(join(directory, name), mode);
    }
  });
  expect((await stage.order([sourceText(content)])).code).toBe(0);
  const modeOf = async (name: string): Promise<number> =>
    (await Bun.file(join(stage.treeOf(content), name)).stat()).mode & 0o7777;
  for (const [name, mode] of Object.entries(modes)) {
    expect({ name, executable: ((await modeOf(name)) & 0o100) !== 0 }).toEqual({
      name,
      executable: (mode & 0o111) !== 0,
    });
    // Nothing else of the mode does: that a file of ours runs as its owner is nobody's to ask for.
    expect((await modeOf(name)) & 0o7022).toBe(0);
  }
  chmodSync(join(content.directory, "all"), 0o644);
  const again = await stage.order([sourceText(content)]);
  expect(again.result.unchanged).toBe(Object.keys(modes).length - 1);
  expect((await modeOf("all")) & 0o111).toBe(0);
});

const isRoot = process.getuid?.() === 0;
const canDropRoot = !isRoot || Bun.which("setpriv") !== null;

describe.skipIf(!canDropRoot)("a content server that may not read everything", () => {
  test("reports what it may not read and sends the rest", async () => {
    await using stage = await Stage.open();
    const directory = stage.folder.join("data");
    for (const name of ["open", "closed", "listable"]) mkdirSync(join(directory, name), { recursive: true });
    for (const name of ["open/readable", "open/secret", "closed/inside", "listable/inside"]) {
      writeFileSync(join(directory, name), name);
    }
    chmodSync(stage.folder.path, 0o755);
    chmodSync(join(directory, "open/secret"), 0);
    chmodSync(join(directory, "closed"), 0);
    chmodSync(join(directory, "listable"), 0o744);

    // Where tests run as root, somebody else has to be found: the binary as nobody, from a place it may read.
    const binary = stage.folder.join("dray");
    await run("cp", drayBinary(), binary);
    chmodSync(binary, 0o755);
    const asNobody = isRoot ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : [];
    await using content = startProgram([
      ...asNobody,
      binary,
      "content",
      "-p",
      "0",
      "-d",
      directory,
      "--json",
    ]);
    const { port } = await content.listening();

    const { code, result } = await stage.order([sourceText({ port })]);
    expect(code).toBe(3);
    expect(result.failures.map(({ path, code }) => `${code} ${path}`).sort()).toEqual([
      "refused closed",
      ...(isRoot ? ["refused listable/inside"] : []),
      "refused open/secret",
    ]);
    const files = namesBelow(stage.treeOf({ port })).filter((name) => !name.endsWith("/"));
    expect(files).toEqual(isRoot ? ["open/readable"] : ["listable/inside", "open/readable"]);
  });
});
