import { expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, chmodSync, readdirSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { runDray, startDray } from "../support/process.ts";
import type { Program } from "../support/program.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { tempFolder } from "../support/temp.ts";
import { makeManyFiles, makeOddTree } from "../support/tree.ts";

setDefaultTimeout(120_000);

async function portOf(server: Program): Promise<string> {
  const [, port] = await server.stdoutMatch(/^Listening on 127\.0\.0\.1:(\d+)\n/);
  return port!;
}

test.each(["-m", "-n"])("the seed's three command lines mirror a tree (initiate %s)", async (hostFlag) => {
  using folder = tempFolder();
  makeOddTree(folder.join("docs"), { seed: 1 });
  await using content = startDray(["content", "-p", "0", "-d", folder.join("docs")]);
  await using mirror = startDray(["mirror", "-p", "0", "-m", folder.join("mirror"), "-w", "4"]);
  const [contentPort, mirrorPort] = [await portOf(content), await portOf(mirror)];

  const source = `127.0.0.1:${contentPort}:.:0`;
  const order = await runDray(["initiate", hostFlag, "127.0.0.1", "-p", mirrorPort, "-s", source]);

  expect(order).toMatchObject({ code: 0, signal: null });
  expect(order.stdout).toContain("complete");
  expect(await diffTrees(folder.join("docs"), folder.join("mirror", `127.0.0.1_${contentPort}`))).toEqual([]);
});

test("one file and one directory can be asked for by their names, and by whole names only", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) => {
    makeManyFiles(join(directory, "docs"), { seed: 2, count: 5, directories: 1, minBytes: 1, maxBytes: 50 });
    makeManyFiles(join(directory, "docs2"), { seed: 3, count: 5, directories: 1, minBytes: 1, maxBytes: 50 });
    makeManyFiles(join(directory, "one"), { seed: 4, count: 2, directories: 1, minBytes: 1, maxBytes: 50 });
  });
  const file = "one/group-0/dir-0/file-1.bin";

  const { code, result } = await stage.order([sourceText(content, "docs"), sourceText(content, file)]);

  expect(code).toBe(0);
  expect(result.sources.map(({ path, status, files }) => ({ path, status, files }))).toEqual([
    { path: "docs", status: "complete", files: 5 },
    { path: file, status: "complete", files: 1 },
  ]);
  const tree = stage.treeOf(content);
  expect(readdirSync(tree).sort()).toEqual(["docs", "one"]);
  expect(readdirSync(join(tree, "one/group-0/dir-0"))).toEqual(["file-1.bin"]);
  expect(await diffTrees(join(content.directory, "docs"), join(tree, "docs"))).toEqual([]);
});

test.each(["localhost", "::1"])(
  "a source is stored under the name that the order gives it: %s",
  async (host) => {
    await using stage = await Stage.open();
    await using content = startDray(["content", "-p", "0", "-d", ".", "--bind", host, "--json"], {
      cwd: import.meta.dir,
    });
    const { port } = await content.listening();
    const { code, result } = await stage.order([`${host === "::1" ? "[::1]" : host}:${port}:.:0`]);
    expect(code).toBe(0);
    expect(result.sources).toMatchObject([{ host, port, status: "complete" }]);
    const tree = join(stage.mirrorDirectory, `${host}_${port}`);
    expect(await diffTrees(import.meta.dir, tree)).toEqual([]);
  },
);

/** The statistics of a tree, the slow and plain way. */
function countTree(root: string) {
  const items = readdirSync(root, { recursive: true, withFileTypes: true });
  const sizes = items
    .filter((item) => item.isFile())
    .map((item) => statSync(join(item.parentPath, item.name)).size);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const mean = bytes / sizes.length;
  const variance = sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / sizes.length;
  return { files: sizes.length, directories: items.length - sizes.length, bytes, mean, variance };
}

test("the result counts what is there, and a second run fetches only what changed", async () => {
  await using stage = await Stage.open({ flags: ["-w", "4"] });
  const content = await stage.content("data", (directory) => {
    makeManyFiles(directory, { seed: 5, count: 300, directories: 12, minBytes: 0, maxBytes: 200_000 });
  });
  const counted = countTree(content.directory);
  const source = sourceText(content);
  const wanted = { files: counted.files, directories: counted.directories, bytes: counted.bytes, failed: 0 };

  const first = await stage.order([source]);
  expect(first.code).toBe(0);
  expect(first.result).toMatchObject({
    ...wanted,
    unchanged: 0,
    bytesTransferred: counted.bytes,
    failures: [],
    sources: [{ host: "127.0.0.1", port: content.port, path: ".", status: "complete", files: counted.files }],
  });
  expect(first.result.sizeMean / counted.mean).toBeCloseTo(1, 10);
  expect(first.result.sizeVariance / counted.variance).toBeCloseTo(1, 10);
  expect(first.result.sizeStddev / Math.sqrt(counted.variance)).toBeCloseTo(1, 10);
  expect(first.result.durationMs).toBeGreaterThan(0);

  const second = await stage.order([source]);
  expect(second.code).toBe(0);
  expect(second.result).toMatchObject({ ...wanted, unchanged: counted.files, bytesTransferred: 0 });

  const inSource = (number: number): string =>
    join(content.directory, `group-${(number % 12) % 10}/dir-${number % 12}/file-${number}.bin`);
  appendFileSync(inSource(1), "more"); // another size
  utimesSync(inSource(2), 1_700_000_000.25, 1_700_000_000.25); // another time
  chmodSync(inSource(3), 0o755); // only another mode
  chmodSync(inSource(10), 0o644);
  const changedBytes = [1, 2, 3, 10].reduce((sum, number) => sum + statSync(inSource(number)).size, 0);

  const third = await stage.order([source]);
  expect(third.code).toBe(0);
  expect(third.result).toMatchObject({
    files: counted.files,
    bytes: counted.bytes + 4,
    unchanged: counted.files - 4,
    bytesTransferred: changedBytes,
  });
  expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
});

test("an empty source is complete, with statistics of nothing", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("empty", () => {});
  const { code, result } = await stage.order([sourceText(content)]);
  expect(code).toBe(0);
  expect(result).toMatchObject({ files: 0, bytes: 0, sizeMean: 0, sizeVariance: 0, sizeStddev: 0 });
});
