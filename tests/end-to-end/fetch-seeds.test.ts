import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { PartServers } from "../support/part-servers.ts";
import { runDray } from "../support/process.ts";
import type { DrayEvent } from "../support/program.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { StagedReplicas } from "../support/replicas.ts";
import type { TempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(90_000);

const SIZE_BYTES = 8 * 1024 * 1024 + 12_345;

let folder: TempFolder;
let original: string;
let saved: string;

beforeEach(() => {
  folder = ramFolder(300_000_000);
  original = folder.join("original");
  saved = folder.join("saved/big");
  makeLargeFile(original, { seed: 1, sizeBytes: SIZE_BYTES });
  fs.utimesSync(original, 1_700_000_000, 1_700_000_000);
  fs.mkdirSync(folder.join("saved"));
});
afterEach(() => {
  folder[Symbol.dispose]();
});

async function fetchBig(...from: string[]): Promise<Record<string, number>> {
  const { code, events, stderr } = await runDray([
    "fetch",
    ...from,
    "big",
    folder.join("saved"),
    "--json",
    "--overwrite",
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(spawnSync("cmp", [original, saved]).status).toBe(0);
  expect(fs.readdirSync(folder.join("saved"))).toEqual(["big"]);
  return events.at(-1) as DrayEvent as unknown as Record<string, number>;
}

/** Where the file comes from: flags, and the length of the pieces in which it is compared. */
interface Origin extends AsyncDisposable {
  from: string[];
  pieceBytes: number;
}

async function single(): Promise<Origin> {
  const replicas = await StagedReplicas.start(folder.join("replicas"), original, "big", [[]]);
  const from = ["127.0.0.1", String(replicas.all[0]!.proxy.port)];
  return { from, pieceBytes: 256 * 1024, [Symbol.asyncDispose]: () => replicas[Symbol.asyncDispose]() };
}

async function several(): Promise<Origin> {
  const replicas = await StagedReplicas.start(folder.join("replicas"), original, "big", [[], [], []]);
  const from = ["--from", replicas.list];
  return { from, pieceBytes: 256 * 1024, [Symbol.asyncDispose]: () => replicas[Symbol.asyncDispose]() };
}

async function split(): Promise<Origin> {
  const servers = await PartServers.start(folder.join("servers"), { processes: 1, instances: 4 });
  const put = ["put", original, "--as", "big", "--to", servers.list, "--copies", "2", "--part-size", "3MiB"];
  expect((await runDray(put)).code).toBe(0);
  const from = ["127.0.0.1", String(servers.ports[1])];
  return { from, pieceBytes: 1024 * 1024, [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose]() };
}

const ORIGINS = { "one server": single, "several servers": several, "the parts of a split file": split };

for (const [what, originOf] of Object.entries(ORIGINS)) {
  describe(`from ${what}`, () => {
    test("an older file of the same name is what most of the new one is made of", async () => {
      await using origin = await originOf();
      fs.copyFileSync(original, saved);
      const file = fs.openSync(saved, "r+");
      fs.writeSync(file, "changed", 3_000_000);
      fs.closeSync(file);
      const { bytesTransferred, bytesSeeded } = await fetchBig(...origin.from);
      expect(bytesTransferred).toBe(origin.pieceBytes);
      expect(bytesSeeded).toBe(SIZE_BYTES - origin.pieceBytes);
    });

    test("of a truncated file only the rest is fetched", async () => {
      await using origin = await originOf();
      fs.copyFileSync(original, saved);
      fs.truncateSync(saved, 5_000_000);
      const { bytesTransferred, bytesSeeded } = await fetchBig(...origin.from);
      expect(bytesSeeded).toBe(Math.floor(5_000_000 / origin.pieceBytes) * origin.pieceBytes);
      expect(bytesTransferred! + bytesSeeded!).toBe(SIZE_BYTES);
    });

    test("of a file that has grown since, nothing is fetched", async () => {
      await using origin = await originOf();
      fs.copyFileSync(original, saved);
      fs.appendFileSync(saved, "more");
      const { bytesTransferred } = await fetchBig(...origin.from);
      expect(bytesTransferred).toBe(0);
    });

    test("a file that has nothing in common with it changes nothing", async () => {
      await using origin = await originOf();
      makeLargeFile(saved, { seed: 2, sizeBytes: SIZE_BYTES });
      const { bytesTransferred, bytesWasted = 0 } = await fetchBig(...origin.from);
      expect(bytesTransferred! - bytesWasted).toBe(SIZE_BYTES);
    });
  });
}

test("the file that stood there is kept, as it was", async () => {
  await using origin = await several();
  fs.copyFileSync(original, saved);
  fs.truncateSync(saved, 5_000_000);
  const { code } = await runDray(["fetch", ...origin.from, "big", folder.join("saved")]);
  expect(code).toBe(0);
  expect(fs.readdirSync(folder.join("saved")).sort()).toEqual(["big", "big.~1~"]);
  expect(fs.statSync(`${saved}.~1~`).size).toBe(5_000_000);
});
