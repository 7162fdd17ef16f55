import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import type { Manifest } from "../../src/wire/manifest.ts";
import { fileSha256 } from "../support/file-sha256.ts";
import { PartServers } from "../support/part-servers.ts";
import { SEED_SIZES, killPlan, killWhileFetching, partsOf } from "../support/parts-story.ts";
import { runDray, startDray } from "../support/process.ts";
import type { Finished } from "../support/program.ts";
import { seededRandom } from "../support/random.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

/**
 * The story of seed 004: fifty servers, three files, five copies of each part, and servers that die while the
 * files are fetched. A tenth of the seed's sizes; DRAY_TEST_STORY=full has them all.
 */
const isFull = process.env["DRAY_TEST_STORY"] === "full";
const SCALE = isFull ? 1 : 10;
const SIZES = SEED_SIZES.map((sizeBytes) => Math.floor(sizeBytes / SCALE));
const PART_SIZE = isFull ? "64MiB" : "6MiB";
const TIMEOUT_MS = isFull ? 600_000 : 120_000;
setDefaultTimeout(TIMEOUT_MS);

let folder: TempFolder;
let servers: PartServers;
let files: string[];
let sums: string[];
let manifests: Manifest[];

beforeAll(async () => {
  folder = tempFolder();
  servers = await PartServers.start(folder.join("servers"), { processes: 25, instances: 2 });
  files = SIZES.map((sizeBytes, index) => {
    const path = folder.join("local", `file-${index + 1}`);
    makeLargeFile(path, { seed: index + 1, sizeBytes });
    return path;
  });
  sums = await Promise.all(files.map(fileSha256));
  const split = ["--copies", "5", "--part-size", PART_SIZE];
  const put = await runDray(["put", ...files, "--to", servers.list, ...split], { timeoutMs: TIMEOUT_MS });
  expect(put.code).toBe(0);
  manifests = files.map((path) => servers.manifestOn(servers.ports[0]!, basename(path))!);
});
afterAll(async () => {
  await servers?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function saveIn(name: string): string {
  mkdirSync(folder.join(name), { recursive: true });
  return folder.join(name);
}

/** What was verified, and what crossed the network for it. */
function resultOf({ events }: Finished): { needed: number; resumed: number; sizeBytes: number } {
  const result = events.at(-1)!;
  expect(result.type).toBe("result");
  const [transferred, wasted = 0, resumed, sizeBytes] = [
    "bytesTransferred",
    "bytesWasted",
    "bytesResumed",
    "sizeBytes",
  ].map((key) => result[key] as number | undefined);
  return { needed: transferred! - wasted, resumed: resumed!, sizeBytes: sizeBytes! };
}

describe("fifty servers, three files", () => {
  let plan: number[];

  test("servers are killed while they are fetched, until each part has one living copy: all arrive", async () => {
    plan = killPlan(servers, manifests, seededRandom(1));
    expect(plan.length).toBeGreaterThan(5);
    const directory = saveIn("first");
    const total = SIZES.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
    // One of each form: any server leads to all parts, and several may be named.
    const alive = servers.ports.filter((port) => !plan.includes(servers.processOf(port)));
    const from = [
      ["127.0.0.1", String(alive[0]!)],
      ["--from", servers.names(servers.ports.slice(0, 4)).join(",")],
      ["--from", servers.list],
    ];
    const fetches = files.map((path, index) => ({
      program: startDray(["fetch", ...from[index]!, basename(path), directory, "--json"]),
      path: `${directory}/${basename(path)}`,
    }));
    const running = await killWhileFetching(servers, plan, fetches, total, 0.8);
    expect(running).toBeGreaterThan(0);
    for (const [index, { program, path }] of fetches.entries()) {
      const done = await program.finished({ timeoutMs: TIMEOUT_MS });
      expect({ code: done.code, stderr: done.stderr }).toMatchObject({ code: 0 });
      expect(await fileSha256(path)).toBe(sums[index]!);
      // No verified byte came twice.
      expect(resultOf(done)).toEqual({ needed: SIZES[index]!, resumed: 0, sizeBytes: SIZES[index]! });
    }
    rmSync(directory, { recursive: true });
  });

  test("with the last copy of a part dead as well the part is named and the rest kept; only it is fetched then", async () => {
    // The first test left just enough servers: each of them is the last one for something.
    const last = partsOf(servers, manifests)
      .map((part) => ({ ...part, living: part.holders.filter((holder) => !plan.includes(holder)) }))
      .filter(({ file, living }) => file === 2 && living.length === 1);
    const victim = last[0]!.living[0]!;
    const missing = last.filter(({ living }) => living[0] === victim);
    await servers.kill(victim);
    const directory = saveIn("second");
    const alive = servers.ports.filter((port) => ![...plan, victim].includes(servers.processOf(port)));
    const name = basename(files[2]!);
    const fetchFrom = (port: number): Promise<Finished> =>
      runDray(
        ["fetch", "127.0.0.1", String(port), name, directory, "--json", "--timeout", "1", "--patience", "3"],
        {
          timeoutMs: TIMEOUT_MS,
        },
      );
    const failed = await fetchFrom(alive[0]!);
    expect([3, 7]).toContain(failed.code!);
    for (const { part } of missing) expect(failed.stderr).toMatch(new RegExp(String.raw`\b${part}\b`));
    expect(failed.stderr).toContain("part");
    expect(existsSync(`${directory}/${name}.part`)).toBe(true);
    expect(existsSync(`${directory}/${name}`)).toBe(false);

    await servers.startProcess(victim);
    const missingBytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const done = await fetchFrom(alive[0]!);
    expect({ code: done.code, stderr: done.stderr }).toMatchObject({ code: 0 });
    expect(resultOf(done)).toEqual({
      needed: missingBytes,
      resumed: SIZES[2]! - missingBytes,
      sizeBytes: SIZES[2]!,
    });
    expect(await fileSha256(`${directory}/${name}`)).toBe(sums[2]!);
  });
});
