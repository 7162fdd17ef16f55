import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { startFileserve } from "../support/content-server.ts";
import { diffTrees } from "../support/diff.ts";
import { runDray } from "../support/process.ts";
import type { Fault } from "../support/proxy-faults.ts";
import { startProxy } from "../support/proxy.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

/** Puts a tree through a line whose first connections have a fault each, and checks that all of it arrives. */
async function putThrough(
  faultsToServer: readonly (readonly Fault[])[],
  faults: readonly (readonly Fault[])[] = [],
): Promise<Record<string, unknown>> {
  using folder = tempFolder();
  const tree = folder.join("tree");
  makeManyFiles(tree, { seed: 1, count: 120, directories: 6, minBytes: 1, maxBytes: 300_000 });
  makeLargeFile(folder.join("tree/large"), { seed: 2, sizeBytes: 12 * MIB });
  const served = folder.join("served");
  mkdirSync(served);
  await using server = await startFileserve(served, ["--writable"]);
  await using proxy = await startProxy({
    target: { host: "127.0.0.1", port: server.port },
    faultsToServer: (connection) => faultsToServer[connection] ?? [],
    faults: (connection) => faults[connection] ?? [],
  });
  const to = `127.0.0.1:${proxy.port}`;
  const put = await runDray(["put", "-r", tree, "--to", to, "--connections", "2", "--json"]);
  expect({ code: put.code, stderr: put.stderr }).toEqual({ code: 0, stderr: "" });
  expect(await diffTrees(tree, folder.join("served/tree"))).toEqual([]);
  expect(readdirSync(folder.join("served/.dray/uploads"))).toEqual(["boot"]);
  return put.events.at(-1)!;
}

test.each(["fin", "rst"] as const)(
  "connections that are cut (%s) are made again, and uploads go on",
  async (how) => {
    const at = (atByte: number): readonly Fault[] => [{ kind: "cut", atByte, how }];
    await putThrough([at(10), at(200_000), at(5 * MIB), at(3 * MIB), at(2 * MIB)]);
  },
);

test("a large file is gone on with where it was cut", async () => {
  const at = (atByte: number): readonly Fault[] => [{ kind: "cut", atByte, how: "fin" }];
  const result = await putThrough([at(9 * MIB), at(9 * MIB)]);
  expect(result["bytesResumed"]).toBeGreaterThan(0);
});

test("a bit that flips on the way is found out, and the file sent again", async () => {
  const at = (atByte: number): readonly Fault[] => [{ kind: "flip", atByte, bit: 3 }];
  await putThrough([at(100), at(123_456), at(4 * MIB), at(2 * MIB + 1)]);
});

test("answers that are cut or damaged do not keep anything from arriving", async () => {
  const answers: readonly (readonly Fault[])[] = [
    [{ kind: "cut", atByte: 60, how: "rst" }],
    [{ kind: "cut", atByte: 300, how: "fin" }],
    [{ kind: "flip", atByte: 200 }],
    [{ kind: "garbage", atByte: 100, bytes: new Uint8Array(50).fill(0xff) }],
  ];
  await putThrough([], answers);
});

test("a line that passes on single bytes is as good as any", async () => {
  await putThrough(
    [[{ kind: "throttle", bytesPerSecond: 20 * MIB }]],
    [[{ kind: "dribble" }], [{ kind: "dribble" }]],
  );
});
