import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import type { Manifest } from "../../src/wire/manifest.ts";
import { manifestPath, partPath } from "../../src/wire/split-names.ts";
import { startContent } from "../support/content-server.ts";
import { fileSha256 } from "../support/file-sha256.ts";
import { PartServers } from "../support/part-servers.ts";
import { runDray } from "../support/process.ts";
import type { DrayEvent, Finished } from "../support/program.ts";
import { ramFolder } from "../support/ram-folder.ts";
import type { ReplicaOutcome } from "../support/replicas.ts";
import type { TempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(90_000);

const MIB = 1024 * 1024;
const SIZE_BYTES = 10 * MIB + 12_345;
const SERVERS = 6;
const COPIES = 2;

let folder: TempFolder;
let original: string;
let servers: PartServers;

beforeEach(async () => {
  folder = ramFolder(300_000_000);
  original = folder.join("original");
  makeLargeFile(original, { seed: 1, sizeBytes: SIZE_BYTES });
  servers = await PartServers.start(folder.join("servers"), { processes: 1, instances: SERVERS });
  await put();
});
afterEach(async () => {
  await servers[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

async function put(): Promise<void> {
  const to = ["--to", servers.list, "--copies", String(COPIES), "--part-size", "2MiB"];
  const { code, stderr } = await runDray(["put", original, "--as", "docs/big", ...to]);
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
}

function manifest(): Manifest {
  return servers.manifestOn(servers.ports[0]!, "docs/big")!;
}

/** The files of a part's copies. */
function copiesOf(part: number): string[] {
  const said = manifest();
  return servers
    .holdersOnDisk("docs/big", said, part)
    .map((port) => servers.pathOn(port, partPath("docs/big", said, part)));
}

function fetchBig(...from: string[]): Promise<Finished> {
  return runDray(["fetch", ...from, "docs/big", folder.join("saved"), "--json"]);
}

function fetchFromPort(port: number, ...flags: string[]): Promise<Finished> {
  return fetchBig("127.0.0.1", String(port), ...flags);
}

function resultOf({ code, events, stderr }: Finished): DrayEvent & { replicas: ReplicaOutcome[] } {
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return events.at(-1) as DrayEvent & { replicas: ReplicaOutcome[] };
}

function expectWhole(): void {
  expect(spawnSync("cmp", [original, folder.join("saved/big")]).status).toBe(0);
  expect(fs.readdirSync(folder.join("saved"))).toEqual(["big"]);
}

function flipByte(path: string, offset: number): void {
  const { atime, mtime } = fs.statSync(path);
  const file = fs.openSync(path, "r+");
  const byte = Buffer.alloc(1);
  fs.readSync(file, byte, 0, 1, offset);
  byte[0]! ^= 1;
  fs.writeSync(file, byte, 0, 1, offset);
  fs.closeSync(file);
  fs.utimesSync(path, atime, mtime);
}

describe("a split file", () => {
  test("comes from whatever server is asked for it, each piece once, as the file that was put", async () => {
    for (const port of servers.ports) {
      const result = resultOf(await fetchFromPort(port, "--overwrite"));
      const { bytesTransferred, bytesWasted } = result as unknown as Record<string, number>;
      expect(bytesTransferred! - bytesWasted!).toBe(SIZE_BYTES);
      expect(result["sha256"]).toBe(await fileSha256(original));
      expectWhole();
      expect(Math.trunc(fs.statSync(folder.join("saved/big")).mtimeMs)).toBe(
        Math.trunc(fs.statSync(original).mtimeMs),
      );
      fs.rmSync(folder.join("saved/big"));
    }
  });

  test("is right though copies have rotted, and their servers are named with the place", async () => {
    const [rotten] = copiesOf(1);
    flipByte(rotten!, 1_500_000);
    const [other] = copiesOf(3);
    flipByte(other!, 10);
    for (let round = 0; round < 3; round++) {
      const { replicas } = resultOf(await fetchFromPort(servers.ports[0]!));
      expectWhole();
      for (const { culprit } of replicas.filter(({ status }) => status === "quarantined"))
        expect(culprit).toMatch(/^its bytes (3145728 to 4194303|6291456 to 7340031) are not those/);
      fs.rmSync(folder.join("saved/big"));
    }
  });

  test("comes although each server has a rotten copy of something, as long as one good copy of each part lives", async () => {
    for (let part = 0; part < manifest().parts.length; part++) flipByte(copiesOf(part)[0]!, 5);
    resultOf(await fetchFromPort(servers.ports[0]!));
    expectWhole();
  });

  test("lacks a part: exit code 3, which one is said; when a copy is back only that is fetched", async () => {
    const copies = copiesOf(2);
    for (const path of copies) fs.renameSync(path, `${path}-away`);
    const { code, events } = await fetchFromPort(servers.ports[0]!);
    expect(code).toBe(3);
    const { message } = events.at(-1) as unknown as { message: string };
    expect(message).toContain(`${2 * MIB} bytes are missing, of part 2 of 6`);
    expect(message).toContain("kept as big.part");
    fs.renameSync(`${copies[0]}-away`, copies[0]!);
    expect(resultOf(await fetchFromPort(servers.ports[0]!))).toMatchObject({
      bytesTransferred: 2 * MIB,
      bytesResumed: SIZE_BYTES - 2 * MIB,
    });
    expectWhole();
  });

  test("is helped out by a server that has all of it under its own name", async () => {
    for (const path of copiesOf(2)) fs.rmSync(path);
    fs.mkdirSync(folder.join("whole/docs"), { recursive: true });
    fs.copyFileSync(original, folder.join("whole/docs/big"));
    await using whole = await startContent(folder.join("whole"));
    const from = `127.0.0.1:${whole.port},127.0.0.1:${servers.ports[3]}`;
    const { replicas } = resultOf(await fetchBig("--from", from));
    expectWhole();
    const outcome = replicas.find(({ port }) => port === whole.port)!;
    expect(outcome.status).toBe("used");
    expect(outcome.bytes).toBeGreaterThanOrEqual(2 * MIB);
  });

  test("is the latest version, also from a server that has missed it", async () => {
    const [port] = servers.ports;
    const path = servers.pathOn(port!, manifestPath("docs/big"));
    const old = fs.readFileSync(path);
    makeLargeFile(original, { seed: 2, sizeBytes: SIZE_BYTES + 5 });
    await put();
    fs.writeFileSync(path, old);
    resultOf(await fetchFromPort(port!));
    expectWhole();
  });

  test("is not found where nobody knows it, and says so for standard output", async () => {
    const missing = await runDray([
      "fetch",
      "127.0.0.1",
      String(servers.ports[0]),
      "docs/none",
      folder.join("saved"),
    ]);
    expect(missing.code).toBe(4);
    const stream = await runDray(["fetch", "127.0.0.1", String(servers.ports[0]), "docs/big", "-"]);
    expect(stream.code).toBe(6);
    expect(stream.stderr).toContain("split into parts");
  });

  test("has a sum: another one than was expected is refused before a byte is asked for", async () => {
    const { code } = await fetchFromPort(servers.ports[0]!, "--expect", `sha256:${"0".repeat(64)}`);
    expect(code).toBe(5);
    expect(fs.existsSync(folder.join("saved/big"))).toBe(false);
    resultOf(await fetchFromPort(servers.ports[0]!, "--expect", `sha256:${await fileSha256(original)}`));
    expectWhole();
  });
});

test("a token is given to servers on machines that were named, and to others only with --follow", async () => {
  const token = folder.join("token");
  fs.writeFileSync(token, "alice:a-secret-of-twenty-bytes\n", { mode: 0o600 });
  const options = { processes: 1, instances: 3, flags: ["--token-file", token] };
  await using guarded = await PartServers.start(folder.join("guarded"), options);
  const flags = ["--token-file", token, "--json"];
  const to = ["--to", guarded.list, "--copies", "1", "--part-size", "2MiB"];
  expect((await runDray(["put", original, "--as", "big", ...to, ...flags])).code).toBe(0);
  const port = String(guarded.ports[0]);
  const fetchAs = (host: string, ...more: string[]): Promise<Finished> =>
    runDray(["fetch", host, port, "big", folder.join("saved"), ...flags, ...more]);
  // To dray, localhost is another machine than the 127.0.0.1 that the manifest names.
  const careful = await fetchAs("localhost");
  expect(careful.code).toBe(3);
  expect(careful.events.at(-1)!["message"]).toContain("--follow");
  expect(fs.existsSync(folder.join("saved/big"))).toBe(false);
  resultOf(await fetchAs("localhost", "--follow"));
  expectWhole();
  fs.rmSync(folder.join("saved/big"));
  resultOf(await fetchAs("127.0.0.1"));
  expectWhole();
});
