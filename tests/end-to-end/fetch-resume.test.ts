import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { encodeHead } from "../../src/fetch/piece-journal.ts";
import { type RunningServer, startContent } from "../support/content-server.ts";
import { runDray, startDray } from "../support/process.ts";
import type { DrayEvent, Program } from "../support/program.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import type { Fault } from "../support/proxy-faults.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { seededRandom } from "../support/random.ts";
import { steadyPort } from "../support/steady-port.ts";
import type { TempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(90_000);

const PIECE_BYTES = 256 * 1024;
const SIZE_BYTES = 24 * 1024 * 1024 + 12_345;
const LEFT = ["big", "big.part", "big.part-journal"];

let folder: TempFolder;
let server: RunningServer;

beforeEach(async () => {
  folder = ramFolder(300_000_000);
  makeLargeFile(folder.join("served/big"), { seed: 1, sizeBytes: SIZE_BYTES });
  server = await startContent(folder.join("served"));
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Whatever passes, a proxy of its own for each connection's faults, on one port. */
function proxyWith(faults: readonly Fault[] | ((connection: number) => readonly Fault[])): Promise<Proxy> {
  return startProxy({ target: { host: "127.0.0.1", port: server.port }, faults });
}

function start(port: number, ...flags: string[]): Program {
  return startDray(["fetch", "127.0.0.1", String(port), "big", folder.join("saved"), "--json", ...flags]);
}

async function finish(port: number, ...flags: string[]): Promise<DrayEvent> {
  await using program = start(port, ...flags);
  const { code, events, stderr } = await program.finished();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return events.at(-1)!;
}

function expectWhole(): void {
  expect(spawnSync("cmp", [folder.join("served/big"), folder.join("saved/big")]).status).toBe(0);
  expect(fs.readdirSync(folder.join("saved")).filter((name) => name !== "big")).toEqual([]);
}

/** Waits until a fetch has verified so many bytes in all. */
async function verified(program: Program, bytes: number): Promise<DrayEvent> {
  return program.waitFor((event) => event.type === "progress" && (event["bytes"] as number) >= bytes, {
    what: `${bytes} verified bytes`,
  });
}

describe("a fetch that is killed", () => {
  test("again and again goes on each time where it was, and loses at most a piece", async () => {
    const random = seededRandom(7);
    const kills = 8;
    // Each connection stands still at a random place, where the fetch is killed.
    const stalls = Array.from({ length: kills }, () => random.integer(100_000, SIZE_BYTES / 5));
    await using proxy = await proxyWith((connection) =>
      connection < kills ? [{ kind: "stall", atByte: stalls[connection]! }] : [],
    );
    let verifiedBytes = 0;
    for (const [kill, stall] of stalls.entries()) {
      await using program = start(proxy.port);
      await proxy.reached("stall", { connection: kill });
      const wholePieces = Math.floor((stall - 1_000) / (PIECE_BYTES + 24));
      if (wholePieces > 0) {
        // Not one verified byte is asked for twice.
        expect((await program.event("started"))["bytesResumed"]).toBe(verifiedBytes);
        await verified(program, verifiedBytes + wholePieces * PIECE_BYTES);
      }
      await program.stop("SIGKILL");
      verifiedBytes += wholePieces * PIECE_BYTES;
      expect(fs.existsSync(folder.join("saved/big"))).toBe(false);
    }
    const result = await finish(proxy.port);
    expect(result).toMatchObject({
      bytesResumed: verifiedBytes,
      bytesTransferred: SIZE_BYTES - verifiedBytes,
    });
    expectWhole();
    const crossed = proxy.connections.reduce((sum, { bytesToClient }) => sum + bytesToClient, 0);
    expect(crossed).toBeLessThan(SIZE_BYTES * 1.001 + kills * (PIECE_BYTES + 1_000));
  });

  test("at any moment leaves nothing that the next one trusts wrongly", async () => {
    await using proxy = await proxyWith([{ kind: "throttle", bytesPerSecond: 60_000_000 }]);
    const random = seededRandom(3);
    for (let kill = 0; kill < 10; kill++) {
      await using program = start(proxy.port);
      const enough = Bun.sleep(random.integer(20, 250)); // a moment, not a wait for something
      await Promise.race([enough, program.exit]);
      await program.stop("SIGKILL");
    }
    await finish(proxy.port);
    expectWhole();
  });
});

test("a fetch that is interrupted says how to go on, and goes on", async () => {
  await using proxy = await proxyWith((connection) =>
    connection === 0 ? [{ kind: "stall", atByte: SIZE_BYTES / 2 }] : [],
  );
  await using program = start(proxy.port);
  await verified(program, SIZE_BYTES / 3);
  const { code, stderr } = await (async () => {
    program.kill("SIGINT");
    return program.finished();
  })();
  expect(code).toBe(130);
  expect(stderr).toContain("kept as big.part");
  expect(stderr).toContain("the same command goes on");
  expect(fs.readdirSync(folder.join("saved")).sort()).toEqual(LEFT.slice(1));
  const { bytesResumed, bytesTransferred } = await finish(proxy.port);
  expect(bytesResumed).toBeGreaterThan(SIZE_BYTES / 3);
  expect((bytesResumed as number) + (bytesTransferred as number)).toBe(SIZE_BYTES);
  expectWhole();
});

test("of two fetches of one file into one directory, the second says so and leaves", async () => {
  await using proxy = await proxyWith([{ kind: "stall", atByte: SIZE_BYTES / 2 }]);
  await using first = start(proxy.port);
  await verified(first, SIZE_BYTES / 3);
  const second = await runDray(["fetch", "127.0.0.1", String(proxy.port), "big", folder.join("saved")]);
  expect(second.code).toBe(6);
  expect(second.stderr).toContain("another dray fetch");
  proxy.release();
  expect((await first.finished()).code).toBe(0);
  expectWhole();
});

test("a server that goes away and comes back is waited for", async () => {
  const port = await steadyPort();
  await server[Symbol.asyncDispose]();
  const serve = (): Program =>
    startDray(["content", "-p", String(port), "-d", folder.join("served"), "--json"]);
  await using proxy = await startProxy({
    target: { host: "127.0.0.1", port },
    // What a killed server had handed to the kernel still arrives, which may be the whole rest.
    faults: (connection) =>
      connection === 0
        ? [
            { kind: "stall", atByte: SIZE_BYTES / 2 },
            { kind: "cut", atByte: SIZE_BYTES / 2 + PIECE_BYTES, how: "rst" },
          ]
        : [],
  });
  await using gone = serve();
  await gone.listening();
  await using program = start(proxy.port);
  await verified(program, SIZE_BYTES / 3);
  await gone.stop("SIGKILL");
  proxy.release();
  await program.event("retry");
  await using back = serve();
  await back.listening();
  const { code, events } = await program.finished();
  expect(code).toBe(0);
  expect(events.at(-1)?.["bytesTransferred"]).toBeLessThan(SIZE_BYTES + 2 * PIECE_BYTES);
  expectWhole();
});

test("a server that does not come back is given up after the patience, and the part is kept", async () => {
  await using proxy = await proxyWith([{ kind: "stall", atByte: SIZE_BYTES / 2 }]);
  await using program = start(proxy.port, "--patience", "1");
  await verified(program, SIZE_BYTES / 3);
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  const { code, stderr } = await program.finished();
  expect(code).toBe(7);
  expect(stderr).toContain("kept as big.part");
  expect(fs.readdirSync(folder.join("saved")).sort()).toEqual(LEFT.slice(1));
});

describe("a part", () => {
  /** Leaves about half of the file. */
  async function leavePart(): Promise<void> {
    await using proxy = await proxyWith([{ kind: "stall", atByte: SIZE_BYTES / 2 }]);
    await using program = start(proxy.port);
    await verified(program, SIZE_BYTES / 3);
    await program.stop("SIGKILL");
  }

  test("of a version that the server has no more is started over, never mixed", async () => {
    await leavePart();
    makeLargeFile(folder.join("served/big"), { seed: 2, sizeBytes: SIZE_BYTES });
    await using program = start(server.port);
    // The origin is another one as well; either is a reason.
    const restarted = await program.event("restarted");
    expect(restarted["reason"]).toEqual(expect.any(String));
    expect((await program.finished()).events.at(-1)).toMatchObject({ bytesResumed: 0 });
    expectWhole();
  });

  test("whose journal is damaged is started over", async () => {
    await using proxy = await proxyWith((connection) =>
      connection === 0 ? [{ kind: "stall", atByte: SIZE_BYTES / 2 }] : [],
    );
    await using program = start(proxy.port);
    await verified(program, SIZE_BYTES / 3);
    await program.stop("SIGKILL");
    const journal = folder.join("saved/big.part-journal");
    const bytes = fs.readFileSync(journal);
    bytes[25]! ^= 1;
    fs.writeFileSync(journal, bytes);
    await using again = start(proxy.port);
    expect((await again.event("restarted"))["reason"]).toContain("damaged");
    expect((await again.finished()).code).toBe(0);
    expectWhole();
  });

  test("in which a byte has changed since is mended, and only that piece is fetched again", async () => {
    await using proxy = await proxyWith((connection) =>
      connection === 0 ? [{ kind: "stall", atByte: SIZE_BYTES / 2 }] : [],
    );
    await using program = start(proxy.port);
    await verified(program, SIZE_BYTES / 3);
    program.kill("SIGTERM");
    expect((await program.finished()).code).toBe(143);
    const part = fs.openSync(folder.join("saved/big.part"), "r+");
    fs.writeSync(part, "x", PIECE_BYTES * 3 + 5);
    fs.closeSync(part);
    const { bytesResumed, bytesTransferred } = await finish(proxy.port);
    const together = (bytesResumed as number) + (bytesTransferred as number);
    expect(together).toBeLessThanOrEqual(SIZE_BYTES + PIECE_BYTES);
    expectWhole();
  });

  test("that was synced and has rotted since is read back, and the rotten piece is fetched again", async () => {
    const source = fs.readFileSync(folder.join("served/big"));
    const { mtimeNs } = fs.statSync(folder.join("served/big"), { bigint: true });
    const origin = `127.0.0.1:${server.port}`;
    const mtimeUs = Math.round(Number(mtimeNs) / 1000);
    const { bytes, records } = encodeHead({ origin, path: "big", sizeBytes: SIZE_BYTES, mtimeUs }, 1n);
    const journal: Uint8Array[] = [bytes];
    const pieces = 40;
    for (let offset = 0; offset < pieces * PIECE_BYTES; offset += PIECE_BYTES) {
      const digest = Bun.hash.xxHash3(source.subarray(offset, offset + PIECE_BYTES));
      journal.push(records.piece({ offset, lengthBytes: PIECE_BYTES, digest }).slice());
    }
    journal.push(records.synced(records.count).slice());
    const part = source.subarray(0, pieces * PIECE_BYTES);
    part[7 * PIECE_BYTES + 1]! ^= 1;
    fs.mkdirSync(folder.join("saved"));
    fs.writeFileSync(folder.join("saved/big.part"), part);
    fs.writeFileSync(folder.join("saved/big.part-journal"), Buffer.concat(journal));
    expect(await finish(server.port)).toMatchObject({
      bytesResumed: pieces * PIECE_BYTES,
      bytesTransferred: SIZE_BYTES - (pieces - 1) * PIECE_BYTES,
    });
    expectWhole();
  });

  test("of somebody else is left alone: exit 6", async () => {
    fs.mkdirSync(folder.join("saved"));
    fs.writeFileSync(folder.join("saved/big.part"), "mine");
    const to = ["fetch", "127.0.0.1", String(server.port), "big", folder.join("saved")];
    const { code, stderr } = await runDray(to);
    expect(code).toBe(6);
    expect(stderr).toContain("in the way");
    expect(fs.readFileSync(join(folder.join("saved"), "big.part"), "utf8")).toBe("mine");
  });
});
