import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { type RunningServer, startContent } from "../support/content-server.ts";
import { peakRssBytes } from "../support/memory.ts";
import { runDray, startDray } from "../support/process.ts";
import { startProxy } from "../support/proxy.ts";
import type { Fault } from "../support/proxy-faults.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { seededRandom } from "../support/random.ts";
import { type FetchAsked, type ScriptedConnection, ScriptedSource } from "../support/scripted-source.ts";
import { smallFileSystem, type TempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";
import { dataFrame, errorFrame, fileFrame, piecesOf } from "../support/wire-bytes.ts";

setDefaultTimeout(90_000);

const MIB = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;
const SIZE_BYTES = 6 * MIB + 777;

let folder: TempFolder;
let server: RunningServer;

beforeEach(async () => {
  folder = ramFolder(200 * MIB);
  makeLargeFile(folder.join("served/big"), { seed: 1, sizeBytes: SIZE_BYTES });
  server = await startContent(folder.join("served"));
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function command(port: number, place = "saved"): string[] {
  return ["fetch", "127.0.0.1", String(port), "big", folder.join(place), "--json"];
}

/** One bad place in each of the first connections, always behind what the ones before have brought. */
const DAMAGES: Record<string, (atByte: number) => Fault> = {
  "cut orderly": (atByte) => ({ kind: "cut", atByte, how: "fin" }),
  reset: (atByte) => ({ kind: "cut", atByte, how: "rst" }),
  "with a flipped bit": (atByte) => ({ kind: "flip", atByte, bit: atByte % 8 }),
  "with garbage in it": (atByte) => ({ kind: "garbage", atByte, bytes: Buffer.from("garbage") }),
};

describe("a connection", () => {
  test.each(Object.entries(DAMAGES))("%s costs a piece each time, and never the file", async (_, damage) => {
    const random = seededRandom(5);
    const bad = 6;
    await using proxy = await startProxy({
      target: { host: "127.0.0.1", port: server.port },
      faults: (connection) => (connection < bad ? [damage(random.integer(300_000, 1_000_000))] : []),
    });
    // A reset also takes back what has arrived and was not read yet: some attempts bring nothing.
    const { code, events } = await runDray([...command(proxy.port), "--attempts", "20"]);
    expect(code).toBe(0);
    expect(spawnSync("cmp", [folder.join("served/big"), folder.join("saved/big")]).status).toBe(0);
    expect(fs.readdirSync(folder.join("saved"))).toEqual(["big"]);
    expect(events.filter(({ type }) => type === "retry")).toHaveLength(bad);
    expect(events.at(-1)?.["bytesTransferred"]).toBeLessThanOrEqual(SIZE_BYTES + bad * PIECE_BYTES);
  });

  test("that never brings anything is given up after the attempts, with the part as it was", async () => {
    await using proxy = await startProxy({
      target: { host: "127.0.0.1", port: server.port },
      faults: (connection) => [{ kind: "cut", atByte: connection === 0 ? 1_000_000 : 2_000, how: "rst" }],
    });
    const { code, events } = await runDray([...command(proxy.port), "--attempts", "3"]);
    expect(code).toBe(7);
    expect(events.at(-1)).toMatchObject({ type: "error", code: "closed" });
    expect(fs.readdirSync(folder.join("saved")).sort()).toEqual(["big.part", "big.part-journal"]);
  });

  test("to standard output that is cut brings each byte once", async () => {
    await using proxy = await startProxy({
      target: { host: "127.0.0.1", port: server.port },
      faults: (connection) => (connection < 5 ? [{ kind: "cut", atByte: 900_000, how: "rst" }] : []),
    });
    // As above: after a reset some attempts bring nothing.
    const { code, stdout } = await runDray([
      "fetch",
      "127.0.0.1",
      String(proxy.port),
      "text",
      "-",
      "--expect",
      `sha256:${textFile()}`,
      "--attempts",
      "20",
    ]);
    expect(code).toBe(0);
    expect(stdout).toBe(fs.readFileSync(folder.join("served/text"), "utf8"));
  });
});

/** @returns its SHA-256 */
function textFile(): string {
  const text = Array.from({ length: 300_000 }, (_, line) => `line ${line}\n`).join("");
  fs.writeFileSync(folder.join("served/text"), text);
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}

test("a server without room says when to come back, and is obeyed", async () => {
  await server[Symbol.asyncDispose]();
  server = await startContent(folder.join("served"), ["--max-connections", "1"]);
  await using proxy = await startProxy({
    target: { host: "127.0.0.1", port: server.port },
    faults: (connection) => (connection === 0 ? [{ kind: "stall", atByte: 500_000 }] : []),
  });
  await using first = startDray(command(proxy.port, "first"));
  await proxy.reached("stall");
  await using second = startDray(command(proxy.port, "second"));
  const retry = await second.event("retry");
  expect(retry["code"]).toBe("busy");
  expect(retry["waitMs"]).toBeGreaterThanOrEqual(1_000);
  proxy.release();
  expect((await first.finished()).code).toBe(0);
  expect((await second.finished()).code).toBe(0);
});

describe("a file that changes", () => {
  /** Sends the first half of a version, and then says that it has changed. */
  function sendHalf(
    connection: ScriptedConnection,
    { id, digest, offset, length }: FetchAsked,
    bytes: Buffer,
  ): void {
    const half = piecesOf(bytes.subarray(offset), PIECE_BYTES).slice(0, 4);
    connection.send(
      fileFrame(id, { size: bytes.length, offset, length: Math.min(length, bytes.length - offset) }),
      ...half.map((piece) => dataFrame(id, digest, piece)),
      errorFrame(id, 6, "the file changed while it was being sent"),
    );
  }

  function version(seed: number, sizeBytes: number): Buffer {
    const bytes = Buffer.alloc(sizeBytes);
    seededRandom(seed).fill(bytes);
    return bytes;
  }

  test("while it is fetched is fetched anew, and never mixed", async () => {
    const [old, now] = [version(1, SIZE_BYTES), version(2, SIZE_BYTES + 1)];
    const files = { big: old };
    using source = new ScriptedSource({
      files,
      fetch: (connection, asked) => {
        const isData = connection.number > 0 || asked.length === 0;
        if (isData) return connection.answerFetch(asked);
        files.big = now;
        sendHalf(connection, asked, old);
      },
    });
    const { code, events } = await runDray(command(source.port));
    expect(code).toBe(0);
    expect(events.find(({ type }) => type === "retry")).toMatchObject({ code: "changed", attempt: 1 });
    expect(fs.readFileSync(folder.join("saved/big")).equals(now)).toBe(true);
  });

  test("each time it is fetched is given up: exit 5", async () => {
    let bytes = version(0, SIZE_BYTES);
    const files = { big: bytes };
    using source = new ScriptedSource({
      files,
      fetch: (connection, asked) => {
        if (asked.length === 0) return connection.answerFetch(asked);
        sendHalf(connection, asked, bytes);
        files.big = bytes = version(0, bytes.length + 1);
      },
    });
    const { code, events } = await runDray([...command(source.port), "--attempts", "3"]);
    expect(code).toBe(5);
    expect(events.filter(({ type }) => type === "retry")).toHaveLength(2);
    expect(fs.existsSync(folder.join("saved/big"))).toBe(false);
  });

  test("behind what standard output has got already is an error: exit 5", async () => {
    const files = { big: version(1, SIZE_BYTES) };
    using source = new ScriptedSource({
      files,
      fetch: (connection, asked) => {
        if (asked.length === 0) return connection.answerFetch(asked);
        sendHalf(connection, asked, files.big);
        files.big = version(2, SIZE_BYTES + 5);
      },
    });
    const { code, stderr } = await runDray(["fetch", "127.0.0.1", String(source.port), "big", "-"]);
    expect(code).toBe(5);
    expect(stderr).toContain("changed at the server after");
  });
});

const canMount = ((): boolean => {
  const disk = smallFileSystem(MIB);
  disk?.[Symbol.dispose]();
  return disk !== undefined;
})();

test.skipIf(!canMount)("on a full disk says so, keeps the part, and goes on when there is room", async () => {
  using disk = smallFileSystem(4 * MIB)!;
  const to = ["fetch", "127.0.0.1", String(server.port), "big", disk.path, "--json"];
  const full = await runDray(to);
  expect(full.code).toBe(1);
  expect(full.stderr).toContain("no space left on the device");
  expect(full.stderr).toContain("kept as big.part");
  expect(fs.readdirSync(disk.path).sort()).toEqual(["big.part", "big.part-journal"]);
  expect(spawnSync("mount", ["-o", `remount,size=${16 * MIB}`, disk.path]).status).toBe(0);
  const { code, events } = await runDray(to);
  expect(code).toBe(0);
  expect(events.at(-1)?.["bytesResumed"]).toBeGreaterThan(3 * MIB);
  expect(spawnSync("cmp", [folder.join("served/big"), disk.join("big")]).status).toBe(0);
});

test("memory does not grow with the file: 2 GiB", async () => {
  const sizeBytes = 2048 * MIB;
  makeLargeFile(folder.join("served/huge"), { seed: 1, sizeBytes, sparse: true });
  const to = ["fetch", "127.0.0.1", String(server.port), "huge"];
  using disk = ramFolder(sizeBytes);
  await using program = startDray([...to, disk.path, "--json"]);
  await program.waitFor((event) => (event["bytes"] as number) > 0.7 * sizeBytes, { timeoutMs: 60_000 });
  expect(peakRssBytes(program.pid)).toBeLessThan(200 * MIB);
  expect((await program.finished({ timeoutMs: 60_000 })).code).toBe(0);
});
