import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { partPath } from "../../src/wire/split-names.ts";
import { type RunningServer, startContent } from "../support/content-server.ts";
import { PartServers } from "../support/part-servers.ts";
import { runDray, startDray } from "../support/process.ts";
import type { DrayEvent } from "../support/program.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import type { Fault } from "../support/proxy-faults.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { type FetchAsked, type ScriptedConnection, ScriptedSource } from "../support/scripted-source.ts";
import type { TempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";
import { chain, dataFrame, endFrame, fileFrame, piecesOf } from "../support/wire-bytes.ts";

setDefaultTimeout(90_000);

const MIB = 1024 * 1024;
const SIZE_BYTES = 12 * MIB + 777;
/** Slow enough for everybody to get a share, and for a silence to be noticed. */
const UNHURRIED: Fault = { kind: "throttle", bytesPerSecond: 3 * MIB };

let folder: TempFolder;
let opened: AsyncDisposableStack;

beforeEach(() => {
  folder = ramFolder(200 * MIB);
  makeLargeFile(folder.join("right/big"), { seed: 1, sizeBytes: SIZE_BYTES });
  opened = new AsyncDisposableStack();
});
afterEach(async () => {
  await opened.disposeAsync();
  folder[Symbol.dispose]();
});

interface Replica {
  program?: RunningServer["program"];
  proxy?: Proxy;
  port: number;
}

/** A content server over one of the folders, behind a proxy if there are faults. */
async function serve(directory: string, faults?: readonly Fault[]): Promise<Replica> {
  const server = opened.use(await startContent(folder.join(directory)));
  if (faults === undefined) return server;
  const proxy = opened.use(await startProxy({ target: { host: "127.0.0.1", port: server.port }, faults }));
  return { program: server.program, proxy, port: proxy.port };
}

/** The same file with some bits turned over, as a bad disk gives it back: neither size nor times tell. */
function rotten(directory: string, offsets: readonly number[]): void {
  fs.mkdirSync(folder.join(directory));
  const path = folder.join(directory, "big");
  fs.cpSync(folder.join("right/big"), path);
  flipBits(path, offsets);
  spawnSync("touch", ["-r", folder.join("right/big"), path]);
}

function flipBits(path: string, offsets: readonly number[]): void {
  const file = fs.openSync(path, "r+");
  const byte = Buffer.alloc(1);
  for (const offset of offsets) {
    fs.readSync(file, byte, 0, 1, offset);
    fs.writeSync(file, Buffer.of(byte[0]! ^ 0x10), 0, 1, offset);
  }
  fs.closeSync(file);
}

function older(directory: string): void {
  fs.mkdirSync(folder.join(directory));
  fs.cpSync(folder.join("right/big"), folder.join(directory, "big"));
  fs.truncateSync(folder.join(directory, "big"), SIZE_BYTES - 5 * MIB);
  fs.utimesSync(folder.join(directory, "big"), 1_000_000_000, 1_000_000_000);
}

/** Knows what is in the file, says so, and sends something else. */
function liar(): Replica {
  const files = { big: fs.readFileSync(folder.join("right/big")) };
  const mtimeUs = Math.round(fs.statSync(folder.join("right/big")).mtimeMs * 1000);
  const lie = (connection: ScriptedConnection, asked: FetchAsked): void => {
    const { id, digest, offset, length, path } = asked;
    if (path !== "big") return connection.answerFetch(asked);
    const range = Buffer.from(files.big.subarray(offset, offset + length));
    if (range.length > 0) range[range.length - 1]! ^= 1;
    const pieces = piecesOf(range, 256 * 1024);
    connection.send(
      fileFrame(id, { size: SIZE_BYTES, mtimeUs, offset, length: range.length }),
      ...pieces.map((piece) => dataFrame(id, digest, piece)),
      endFrame(id, range.length, chain(digest, pieces)),
    );
  };
  return opened.use(asyncDisposable(new ScriptedSource({ files, mtimeUs, fetch: lie })));
}

function asyncDisposable(source: ScriptedSource): ScriptedSource & AsyncDisposable {
  return Object.assign(source, { [Symbol.asyncDispose]: async () => source[Symbol.dispose]() });
}

function command(replicas: readonly Replica[], ...flags: string[]): string[] {
  const from = replicas.map(({ port }) => `127.0.0.1:${port}`).join();
  return ["fetch", "--from", from, "big", folder.join("saved"), "--json", ...flags];
}

function expectRight({ code, stderr }: { code: number | null; stderr: string }): void {
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  expect(spawnSync("cmp", [folder.join("right/big"), folder.join("saved/big")]).status).toBe(0);
  expect(fs.readdirSync(folder.join("saved"))).toEqual(["big"]);
}

interface Reported {
  port: number;
  status: string;
  bytes: number;
  bytesWasted: number;
  error?: string;
  culprit?: string;
}

function reported(events: readonly DrayEvent[], { port }: Replica): Reported {
  const replicas = events.at(-1)?.["replicas"] as Reported[];
  return replicas.find((replica) => replica.port === port)!;
}

describe("one of several servers", () => {
  test("whose disk has rotted is named, with the place, and its bytes are not used", async () => {
    rotten("bad", [5 * MIB + 1]);
    const replicas = [await serve("bad"), await serve("right"), await serve("right")];
    const finished = await runDray(command(replicas));
    expectRight(finished);
    const bad = reported(finished.events, replicas[0]!);
    expect(bad).toMatchObject({ status: "quarantined" });
    expect(bad.culprit).toContain("its bytes 5242880 to 5505023 are");
    for (const good of replicas.slice(1))
      expect(reported(finished.events, good)).not.toHaveProperty("culprit");
  });

  test("that sends other bytes than it should is named, and not asked again", async () => {
    const replicas = [await serve("right", [UNHURRIED]), liar(), await serve("right", [UNHURRIED])];
    const finished = await runDray(command(replicas));
    expectRight(finished);
    const bad = reported(finished.events, replicas[1]!);
    expect(bad).toMatchObject({ status: "quarantined" });
    expect(bad.culprit).toMatch(/^its bytes \d+ to \d+ are not those of the file$/);
  });

  test("behind a line that flips bits is named, and whatever came right from it is used", async () => {
    const flips: Fault[] = [{ kind: "flip", atByte: 900_000, bit: 3 }];
    const replicas = [await serve("right", [UNHURRIED]), await serve("right", flips)];
    const finished = await runDray(command(replicas));
    expectRight(finished);
    const bad = reported(finished.events, replicas[1]!);
    expect(bad.culprit).toContain("damaged");
    expect(bad.bytes).toBeGreaterThan(0);
  });

  test("with another version is named, and its bytes are never mixed in", async () => {
    older("old");
    const replicas = [await serve("right"), await serve("old"), await serve("right")];
    const finished = await runDray(command(replicas));
    expectRight(finished);
    const old = reported(finished.events, replicas[1]!);
    expect(old).toMatchObject({ status: "other-version", bytes: 0 });
    expect(old.error).toContain("2001-09-09T01:46:40");
  });

  test("that stalls holds nobody up, and is named", async () => {
    const stalls: Fault[] = [{ kind: "stall", atByte: 700_000 }];
    const replicas = [await serve("right", [UNHURRIED]), await serve("right", stalls)];
    const finished = await runDray(command(replicas, "--stall", "2s"));
    expectRight(finished);
    expect(reported(finished.events, replicas[1]!).culprit).toMatch(
      /^it sent nothing of what it was asked for/,
    );
  });
});

describe("several servers at once", () => {
  test("a liar, an old version, a dead one and a silent one: the file is right, and each is named", async () => {
    older("old");
    const replicas = {
      good: await serve("right", [UNHURRIED]),
      lies: liar(),
      old: await serve("old"),
      dies: await serve("right", [{ kind: "stall", atByte: 800_000 }]),
      stalls: await serve("right", [{ kind: "stall", atByte: 700_000 }]),
      other: await serve("right", [UNHURRIED]),
    };
    await using dray = startDray(command(Object.values(replicas)));
    await replicas.dies.proxy!.reached("stall");
    replicas.dies.program!.kill("SIGKILL");
    replicas.dies.proxy!.release();
    const finished = await dray.finished({ timeoutMs: 60_000 });
    expectRight(finished);
    const of = (replica: Replica): Reported => reported(finished.events, replica);
    expect(of(replicas.lies)).toMatchObject({ status: "quarantined" });
    expect(of(replicas.lies).culprit).toContain("are not those of the file");
    expect(of(replicas.old)).toMatchObject({ status: "other-version" });
    expect(of(replicas.dies).status).toMatch(/^lost|unreachable$/);
    expect(of(replicas.dies)).toHaveProperty("error");
    expect(of(replicas.stalls).culprit).toContain("it sent nothing of what it was asked for");
    for (const good of [replicas.good, replicas.other]) {
      expect(of(good)).not.toHaveProperty("culprit");
      expect(of(good).bytes).toBeGreaterThan(0);
    }
    const result = finished.events.at(-1)!;
    const { bytesTransferred, bytesWasted } = result as { bytesTransferred?: number; bytesWasted?: number };
    expect(bytesTransferred! - bytesWasted!).toBe(SIZE_BYTES);
  });

  test("all but one with rot of their own: those that cannot decide are helped out by the others", async () => {
    rotten("a", [1 * MIB]);
    rotten("b", [4 * MIB]);
    rotten("c", [9 * MIB]);
    const replicas = [await serve("a"), await serve("b"), await serve("c"), await serve("right")];
    const finished = await runDray(command(replicas));
    expectRight(finished);
    for (const [index, place] of [1, 4, 9].entries())
      expect(reported(finished.events, replicas[index]!).culprit).toContain(`its bytes ${place * MIB} to`);
    expect(reported(finished.events, replicas[3]!)).not.toHaveProperty("culprit");
  });

  test("the same bytes with other times: all are used", async () => {
    rotten("copy", []);
    fs.utimesSync(folder.join("copy/big"), 1_000_000_000, 1_000_000_000);
    const replicas = [await serve("right", [UNHURRIED]), await serve("copy", [UNHURRIED])];
    const finished = await runDray(command(replicas));
    expectRight(finished);
    for (const replica of replicas)
      expect(reported(finished.events, replica).bytes).toBeGreaterThan(SIZE_BYTES / 4);
  });

  test("two that differ and nobody to decide: nothing is published, both are named", async () => {
    rotten("bad", [5 * MIB]);
    const replicas = [await serve("right"), await serve("bad")];
    const { code, events } = await runDray(command(replicas));
    expect(code).toBe(5);
    const { message } = events.at(-1) as { message?: string };
    for (const { port } of replicas) expect(message).toContain(`127.0.0.1:${port}`);
    expect(fs.existsSync(folder.join("saved/big"))).toBe(false);
  });
});

describe("a split file", () => {
  test("of which every server has rotten copies, and every piece one good copy, is fetched whole", async () => {
    const servers = opened.use(await PartServers.start(folder.join("parts"), { processes: 3, instances: 1 }));
    const split = ["--to", servers.list, "--copies", "3", "--part-size", "2M"];
    expect((await runDray(["put", folder.join("right/big"), ...split])).code).toBe(0);
    const [a = 0, b = 0, c = 0] = servers.ports;
    const manifest = servers.manifestOn(a, "big")!;
    const spoil = (port: number, part: number, ...offsets: number[]): void =>
      flipBits(servers.pathOn(port, partPath("big", manifest, part)), offsets);
    // Piece by piece of 1 MiB: only c has the first one, only a the second one, only b the third one.
    for (const port of [a, b]) spoil(port, 0, 5);
    for (const port of [b, c]) spoil(port, 0, MIB + 5);
    for (const port of [a, c]) spoil(port, 1, 5);
    const finished = await runDray(command([{ port: a }]));
    expectRight(finished);
    for (const port of [a, b, c])
      expect(reported(finished.events, { port }).culprit).toMatch(
        /^its bytes \d+ to \d+ are not those of the file$/,
      );
  });
});
