import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { fileSha256 } from "../support/file-sha256.ts";
import { runDray, startDray } from "../support/process.ts";
import type { DrayEvent, Finished, Program } from "../support/program.ts";
import type { Fault } from "../support/proxy-faults.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { type ReplicaOutcome, StagedReplicas } from "../support/replicas.ts";
import type { TempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(90_000);

const PIECE_BYTES = 256 * 1024;
const SIZE_BYTES = 12 * 1024 * 1024 + 12_345;
/** So slow that all take part. */
const SLOW: Fault[] = [{ kind: "throttle", bytesPerSecond: 8_000_000 }];

let folder: TempFolder;
let original: string;

beforeEach(() => {
  folder = ramFolder(300_000_000);
  original = folder.join("original");
  makeLargeFile(original, { seed: 1, sizeBytes: SIZE_BYTES });
  fs.utimesSync(original, 1_700_000_000, 1_700_000_000);
});
afterEach(() => {
  folder[Symbol.dispose]();
});

function stage(
  ...faults: (readonly Fault[] | ((connection: number) => readonly Fault[]))[]
): Promise<StagedReplicas> {
  return StagedReplicas.start(folder.join("replicas"), original, "big", faults);
}

function command(list: string, ...flags: string[]): string[] {
  return ["fetch", "--from", list, "big", folder.join("saved"), "--json", ...flags];
}

function fetchFrom(list: string, ...flags: string[]): Promise<Finished> {
  return runDray(command(list, ...flags));
}

function expectWhole(): void {
  expect(spawnSync("cmp", [original, folder.join("saved/big")]).status).toBe(0);
  expect(fs.readdirSync(folder.join("saved"))).toEqual(["big"]);
}

function resultOf({ code, events, stderr }: Finished): DrayEvent {
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return events.at(-1)!;
}

function sum(outcomes: readonly (ReplicaOutcome | undefined)[], of: "bytes" | "bytesWasted"): number {
  return outcomes.reduce((total, outcome) => total + outcome![of], 0);
}

/** Changes some bytes, and neither size nor time. */
function rot(path: string, offset: number): void {
  const { atime, mtime } = fs.statSync(path);
  const file = fs.openSync(path, "r+");
  fs.writeSync(file, "rotten", offset);
  fs.closeSync(file);
  fs.utimesSync(path, atime, mtime);
}

async function progressed(program: Program, bytes: number): Promise<void> {
  const isThere = (event: DrayEvent): boolean =>
    event.type === "progress" && (event["bytes"] as number) >= bytes;
  await program.waitFor(isThere, { what: `${bytes} bytes` });
}

describe("a file that four servers have", () => {
  test("comes from all of them, each piece once", async () => {
    await using replicas = await stage(SLOW, SLOW, SLOW, SLOW);
    const result = resultOf(await fetchFrom(replicas.list));
    expectWhole();
    expect(result["sha256"]).toBe(await fileSha256(original));
    const outcomes = replicas.outcomes(result);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: "used" });
      expect(outcome!.bytes).toBeGreaterThan(0);
    }
    expect(sum(outcomes, "bytes")).toBe(SIZE_BYTES);
    const { bytesTransferred, bytesWasted } = result as unknown as Record<string, number>;
    expect(bytesTransferred! - bytesWasted!).toBe(SIZE_BYTES);
    expect(sum(outcomes, "bytesWasted")).toBe(bytesWasted!);
    expect(fs.statSync(folder.join("saved/big")).mtimeMs).toBe(fs.statSync(original).mtimeMs);
  });

  test("is not fetched again while it is the same", async () => {
    await using replicas = await stage([], []);
    await fetchFrom(replicas.list);
    expect(resultOf(await fetchFrom(replicas.list))).toMatchObject({
      outcome: "unchanged",
      bytesTransferred: 0,
    });
    expectWhole();
  });

  test("comes without those that are not there or do not have it, and these are named", async () => {
    await using replicas = await stage([], [], [], []);
    await replicas.all[0]!.proxy[Symbol.asyncDispose]();
    fs.rmSync(replicas.path(1, "big"));
    const result = resultOf(await fetchFrom(replicas.list));
    expectWhole();
    const [gone, without, ...others] = replicas.outcomes(result);
    expect(gone).toMatchObject({ status: "unreachable", error: expect.stringContaining("refused") });
    expect(without).toMatchObject({ status: "absent", error: "it has no such file" });
    expect(sum(others, "bytes")).toBe(SIZE_BYTES);
    await replicas.all[0]!.server[Symbol.asyncDispose]();
  });

  test("is the version that most have; another one is named, and none of its bytes is used", async () => {
    await using replicas = await stage([], [], []);
    fs.appendFileSync(replicas.path(0, "big"), "more");
    const result = resultOf(await fetchFrom(replicas.list));
    expectWhole();
    const [other] = replicas.outcomes(result);
    expect(other).toMatchObject({ status: "other-version", bytes: 0 });
    expect(other!.error).toContain(`${SIZE_BYTES + 4} bytes`);
  });

  test("is refused where two say different things and nobody decides; both are named", async () => {
    await using replicas = await stage([], []);
    rot(replicas.path(1, "big"), 5_000_000);
    const { code, events } = await fetchFrom(replicas.list);
    expect(code).toBe(5);
    const { message } = events.at(-1) as unknown as { message: string };
    expect(message).toContain(replicas.name(0));
    expect(message).toContain(replicas.name(1));
    expect(message).toContain(`from ${Math.floor(5_000_000 / PIECE_BYTES) * PIECE_BYTES} on`);
    expect(fs.existsSync(folder.join("saved/big"))).toBe(false);
  });

  test("is right where one of three has rotten bytes, and that one is named with the place", async () => {
    await using replicas = await stage(SLOW, SLOW, SLOW);
    rot(replicas.path(1, "big"), 5_000_000);
    const result = resultOf(await fetchFrom(replicas.list));
    expectWhole();
    const [first, rotten, third] = replicas.outcomes(result);
    expect(rotten).toMatchObject({ status: "quarantined" });
    const from = Math.floor(5_000_000 / PIECE_BYTES) * PIECE_BYTES;
    expect(rotten!.culprit).toContain(`bytes ${from} to ${from + PIECE_BYTES - 1}`);
    for (const honest of [first, third]) expect(honest).toMatchObject({ status: "used" });
  });

  test("goes on without a server that is killed", async () => {
    const slower: Fault[] = [{ kind: "throttle", bytesPerSecond: 2_000_000 }];
    // What it had handed to the kernel when it was killed would still arrive, and might be its whole share.
    const doomed: Fault[] = [
      { kind: "stall", atByte: 1_000_000 },
      { kind: "cut", atByte: 1_000_000 + PIECE_BYTES, how: "rst" },
    ];
    await using replicas = await stage(slower, doomed, slower);
    await using program = startDray(command(replicas.list));
    await progressed(program, SIZE_BYTES / 5);
    const { proxy, server } = replicas.all[1]!;
    await server.program.stop("SIGKILL");
    proxy.release();
    const result = resultOf(await program.finished());
    expectWhole();
    const [, killed] = replicas.outcomes(result);
    expect(killed).toMatchObject({ status: "lost" });
    expect(killed!.bytes).toBeGreaterThan(0);
  });

  test("comes again from one that was lost and is back", async () => {
    const slower: Fault[] = [{ kind: "throttle", bytesPerSecond: 1_500_000 }];
    await using replicas = await stage(slower, slower, slower);
    await using program = startDray(command(replicas.list));
    await progressed(program, SIZE_BYTES / 10);
    const { server, directory, proxy } = replicas.all[1]!;
    const became = (status: string): Promise<DrayEvent> =>
      program.waitFor((event) => event["status"] === status && event["port"] === proxy.port, {
        what: status,
      });
    await server.program.stop("SIGKILL");
    await became("lost");
    const before = program.events.findLast(({ type }) => type === "progress")!;
    const had = (before["replicas"] as ReplicaOutcome[]).find(({ port }) => port === proxy.port)!.bytes;
    await using again = startDray(["content", "-p", String(server.port), "-d", directory, "--json"]);
    await again.listening();
    await became("back");
    const result = resultOf(await program.finished());
    expectWhole();
    const [, returned] = replicas.outcomes(result);
    expect(returned).toMatchObject({ status: "used" });
    expect(returned!.bytes).toBeGreaterThan(had);
  });

  test("comes from one that comes late, too", async () => {
    // The first connection is turned away, as by a server that is being started.
    const late = (connection: number): Fault[] =>
      connection === 0 ? [{ kind: "cut", atByte: 0, how: "rst" }] : SLOW;
    const slower: Fault[] = [{ kind: "throttle", bytesPerSecond: 4_000_000 }];
    await using replicas = await stage(slower, slower, late);
    const result = resultOf(await fetchFrom(replicas.list));
    expectWhole();
    const [, , third] = replicas.outcomes(result);
    expect(third!.status).toBe("used");
    expect(third!.bytes).toBeGreaterThan(0);
  });

  test("is fetched in the ordinary way from the only one that has it", async () => {
    await using replicas = await stage([], []);
    fs.rmSync(replicas.path(0, "big"));
    const result = resultOf(await fetchFrom(replicas.list));
    expectWhole();
    expect(replicas.outcomes(result)[1]).toMatchObject({ status: "used", bytes: SIZE_BYTES });
  });
});

describe("a fetch that was interrupted", () => {
  test("asks for what is missing only, whoever has it now", async () => {
    await using replicas = await stage(SLOW, SLOW, SLOW, SLOW);
    await using program = startDray(command(`${replicas.name(0)},${replicas.name(1)}`));
    await progressed(program, SIZE_BYTES / 3);
    await program.stop("SIGKILL");
    expect(fs.existsSync(folder.join("saved/big"))).toBe(false);
    const { bytesResumed, bytesTransferred, bytesWasted } = resultOf(
      await fetchFrom(`${replicas.name(2)},${replicas.name(3)}`),
    ) as unknown as Record<string, number>;
    expect(bytesResumed).toBeGreaterThan(SIZE_BYTES / 3);
    expect(bytesResumed! + bytesTransferred! - bytesWasted!).toBe(SIZE_BYTES);
    expectWhole();
  });

  test("is gone on with by the only one that has it still", async () => {
    await using replicas = await stage(SLOW, SLOW, SLOW);
    await using program = startDray(command(`${replicas.name(0)},${replicas.name(1)}`));
    await progressed(program, SIZE_BYTES / 3);
    await program.stop("SIGKILL");
    fs.rmSync(replicas.path(0, "big"));
    const result = resultOf(await fetchFrom(`${replicas.name(0)},${replicas.name(2)}`));
    expect(result["bytesResumed"]).toBeGreaterThan(SIZE_BYTES / 3);
    expectWhole();
  });

  test("is gone on with after one from a single server", async () => {
    await using replicas = await stage(SLOW, []);
    const alone = [
      "fetch",
      "127.0.0.1",
      String(replicas.all[0]!.proxy.port),
      "big",
      folder.join("saved"),
      "--json",
    ];
    await using program = startDray(alone);
    await progressed(program, SIZE_BYTES / 3);
    await program.stop("SIGINT");
    const result = resultOf(await fetchFrom(replicas.list));
    expect(result["bytesResumed"]).toBeGreaterThan(SIZE_BYTES / 3);
    expectWhole();
  });

  test("does not believe bytes that have rotted meanwhile", async () => {
    await using replicas = await stage(SLOW, SLOW);
    await using program = startDray(command(replicas.list));
    await progressed(program, SIZE_BYTES / 2);
    await program.stop("SIGINT");
    const part = fs.openSync(folder.join("saved/big.part"), "r+");
    fs.writeSync(part, "rotten", 100);
    fs.closeSync(part);
    resultOf(await fetchFrom(replicas.list));
    expectWhole();
  });
});

test("of two fetches of one file into one directory, the second says so and leaves", async () => {
  await using replicas = await stage(SLOW, SLOW);
  await using first = startDray(command(replicas.list));
  await progressed(first, SIZE_BYTES / 4);
  const second = await fetchFrom(replicas.list);
  expect(second.code).toBe(6);
  expect(second.events.at(-1)).toMatchObject({ type: "error", code: "locked" });
  resultOf(await first.finished());
  expectWhole();
});

test("a sum that was expected has the last word", async () => {
  await using replicas = await stage([], []);
  const wrong = `sha256:${"0".repeat(64)}`;
  expect((await fetchFrom(replicas.list, "--expect", wrong)).code).toBe(5);
  expect(fs.readdirSync(folder.join("saved"))).toEqual([]);
  resultOf(await fetchFrom(replicas.list, "--expect", `sha256:${await fileSha256(original)}`));
  expectWhole();
});

test("nobody has it: exit code 4; nobody is there: exit code 7", async () => {
  await using replicas = await stage([], []);
  const missing = await runDray(["fetch", "--from", replicas.list, "no-such", folder.join("saved")]);
  expect(missing.code).toBe(4);
  expect(missing.stderr).toContain(replicas.name(1));
  for (const { proxy } of replicas.all) await proxy[Symbol.asyncDispose]();
  const nobody = await fetchFrom(replicas.list, "--timeout", "300ms");
  expect(nobody.code).toBe(7);
  expect(fs.existsSync(folder.join("saved"))).toBe(false);
  for (const { server } of replicas.all) await server[Symbol.asyncDispose]();
});

test("when all are lost it fails after the patience, says what is missing, and keeps what came", async () => {
  await using replicas = await stage(SLOW, SLOW);
  await using program = startDray(command(replicas.list, "--patience", "1"));
  await progressed(program, SIZE_BYTES / 4);
  for (const { server } of replicas.all) await server.program.stop("SIGKILL");
  const { code, events } = await program.finished();
  expect(code).toBe(7);
  const { message } = events.at(-1) as unknown as { message: string };
  expect(message).toContain("bytes are missing");
  expect(message).toContain(replicas.name(0));
  expect(message).toContain("kept as big.part");
  expect(fs.readdirSync(folder.join("saved")).sort()).toEqual(["big.part", "big.part-journal"]);
});

test("people see who brought how much, and who did what", async () => {
  await using replicas = await stage([], [], []);
  rot(replicas.path(1, "big"), 100);
  const { code, stdout, stderr } = await runDray([
    "fetch",
    "--from",
    replicas.list,
    "big",
    folder.join("saved"),
  ]);
  expect(code).toBe(0);
  expect(stdout).toBe(`${await fileSha256(original)}  ${folder.join("saved/big")}\n`);
  expect(stderr).toMatch(
    new RegExp(`${replicas.name(1)}: .*quarantined \\(its bytes 0 to ${PIECE_BYTES - 1} are`),
  );
});

test("an empty file and a small one come too", async () => {
  await using replicas = await stage([], []);
  for (const text of ["", "Hello"]) {
    for (const index of [0, 1]) {
      fs.writeFileSync(replicas.path(index, "big"), text);
      fs.utimesSync(replicas.path(index, "big"), 1_600_000_000, 1_600_000_000);
    }
    resultOf(await fetchFrom(replicas.list, "--overwrite"));
    expect(fs.readFileSync(folder.join("saved/big"), "utf8")).toBe(text);
  }
});

test("what does not go together is refused", async () => {
  for (const args of [
    ["fetch", "--from", "127.0.0.1:1", "-r", "docs", "out"],
    ["fetch", "--from", "127.0.0.1:1", "docs", "-"],
    ["fetch", "--from", "127.0.0.1:1", "list"],
    ["fetch", "--from", "127.0.0.1:1", "--host", "127.0.0.1", "docs", "out"],
    ["fetch", "docs", "out"],
  ]) {
    expect((await runDray(args)).code).toBe(2);
  }
});
