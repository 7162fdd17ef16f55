import { expect, test } from "bun:test";
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { CODE, LiteralWire, md5Of } from "../support/literal-sync-wire.ts";
import { currentRssBytes } from "../support/memory.ts";
import { runDray, startDray } from "../support/process.ts";
import type { Program } from "../support/program.ts";
import { smallFileSystem, tempFolder } from "../support/temp.ts";

interface Server extends AsyncDisposable {
  readonly program: Program;
  readonly sendPort: number;
  readonly receivePort: number;
}

async function startServer(directory: string, flags: string[] = []): Promise<Server> {
  const program = startDray(["sync-server", "0", "0", "--dir", directory, "--json", ...flags]);
  const portOf = async (channel: string): Promise<number> => {
    const isIt = (event: Record<string, unknown>): boolean => event["channel"] === channel;
    return Number((await program.waitFor(isIt, { what: `the ${channel} port` }))["port"]);
  };
  const [sendPort, receivePort] = [await portOf("send"), await portOf("receive")];
  return { program, sendPort, receivePort, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

function dial(port: number): Promise<LiteralWire> {
  return LiteralWire.dial("127.0.0.1", port);
}

/** A whole file, answered. */
async function upload(wire: LiteralWire, name: string, content: string): Promise<number[]> {
  const data = Buffer.from(content);
  await wire.chunk(name, data);
  await wire.named("close", name, md5Of(data));
  return [await wire.status(), await wire.status()];
}

/** The lines of META-DATA that a new client gets. */
async function metaData(port: number): Promise<string[]> {
  const wire = await dial(port);
  let text = "";
  for (;;) {
    const message = await wire.next();
    if (message?.type === "chunk") text += message.data.toString();
    else if (message?.type !== "status") break;
    await wire.code(CODE.ok);
  }
  wire.close();
  return text.split("\n").slice(0, -1);
}

test("starts as the seed says, in ./sync-root, and says where it listens", async () => {
  using folder = tempFolder();
  await using program = startDray(["sync-server", "0", "0"], { cwd: folder.path });
  const send = await program.stdoutMatch(/^Sending updates on 127\.0\.0\.1:(\d+)$/m);
  const receive = await program.stdoutMatch(/^Taking updates on 127\.0\.0\.1:(\d+)$/m);
  const wire = await dial(Number(receive[1]));
  expect(await upload(wire, "docs/a.txt", "content")).toEqual([CODE.ok, CODE.ok]);
  expect(readFileSync(folder.join("sync-root", "docs/a.txt"), "utf8")).toBe("content");
  expect(await metaData(Number(send[1]))).toHaveLength(1);
  wire.close();
  expect(program.stderrText()).toContain("docs/a.txt: 7 B from 127.0.0.1:");
  expect((await program.stop()).code).toBe(0);
});

test("takes its ports as flags, from the environment and as JSON, and swaps them", async () => {
  using folder = tempFolder();
  const config = JSON.stringify({ sendPort: 0, receivePort: 0, dir: folder.join("a"), swapPorts: true });
  await using json = startDray(["sync-server", "--config", "-", "--json"], { stdin: config });
  await json.event("listening");
  expect((await json.stop()).code).toBe(0);
  const env = { DRAY_SYNC_SERVER_DIR: folder.join("b"), DRAY_SYNC_SERVER_RECEIVE_PORT: "0" };
  await using flags = startDray(["sync-server", "--send-port", "0", "--json"], { env });
  await flags.event("listening");
  expect(existsSync(folder.join("b", ".dray"))).toBe(true);
  const { code, stderr } = await runDray(["sync-server", "9201"]);
  expect(code).toBe(2);
  expect(stderr).toContain("RECEIVE_PORT: is required");
  expect((await runDray(["sync-server", "9201", "9201"])).stderr).toContain("two different ports");
});

test("says on stderr that everybody who reaches it may do everything", async () => {
  using folder = tempFolder();
  await using program = startDray(["sync-server", "0", "0", "--dir", folder.path, "--bind", "0.0.0.0"]);
  await program.stderrMatch(/neither authentication nor encryption/);
});

test("a folder has one server, and a port one owner", async () => {
  using folder = tempFolder();
  await using server = await startServer(folder.path);
  const second = await runDray(["sync-server", "0", "0", "--dir", folder.path]);
  expect(second.code).toBe(6);
  expect(second.stderr).toContain("another dray is using it");
  const taken = ["sync-server", "0", String(server.receivePort), "--dir", folder.join("other")];
  const third = await runDray(taken);
  expect(third.code).toBe(2);
  expect(third.stderr).toContain("already in use");
});

test("tells what it does: clients, locks, queues; for people and for programs", async () => {
  using folder = tempFolder();
  await using server = await startServer(folder.path);
  const status = ["sync-server", "--status", "--dir", folder.path];
  const [updates, own] = [await dial(server.sendPort), await dial(server.receivePort)];
  await upload(own, "a", "content");
  await own.chunk("being written", Buffer.from("half"));
  expect(await own.status()).toBe(CODE.ok);
  const asked = await runDray([...status, "--json"]);
  expect(asked.code).toBe(0);
  expect(asked.events.map(({ type }) => type)).toEqual(["server", "client", "lock", "result"]);
  expect(asked.events[0]).toMatchObject({ files: 1, clients: 1, connections: 2, locks: 1, sequence: 1 });
  expect(asked.events[2]).toMatchObject({ name: "being written" });
  const shown = await runDray(status);
  expect(shown.stdout).toMatch(/^1 file, 1 client on 2 connections$/m);
  expect(shown.stdout).toMatch(/"being written": being written by 127\.0\.0\.1:\d+ for /);
  updates.close();
  own.close();
  await server.program.stop();
  const nobody = await runDray(status);
  expect(nobody.code).toBe(7);
  expect(nobody.stderr).toContain("no sync server runs on");
});

test("stopped with an upload under way it lets it come to its end, confirms it, and takes no other", async () => {
  using folder = tempFolder();
  await using server = await startServer(folder.path);
  const wire = await dial(server.receivePort);
  const idle = await dial(server.sendPort);
  await wire.chunk("a", Buffer.from("half "));
  expect(await wire.status()).toBe(CODE.ok);
  server.program.kill("SIGTERM");
  // The idle one is ended: the signal has been seen.
  while ((await idle.next()) !== undefined) await idle.code(CODE.ok);
  idle.close();
  await expect(dial(server.receivePort)).rejects.toThrow();
  await wire.chunk("b", Buffer.from("x"));
  expect(await wire.status()).toBe(CODE.locked);
  await wire.chunk("a", Buffer.from("whole"));
  await wire.named("close", "a", md5Of(Buffer.from("half whole")));
  expect([await wire.status(), await wire.status()]).toEqual([CODE.ok, CODE.ok]);
  expect(await wire.next()).toBeUndefined();
  wire.close();
  expect((await server.program.finished()).code).toBe(0);
  expect(readFileSync(folder.join("a"), "utf8")).toBe("half whole");
});

test("stopped with an upload that goes nowhere it waits as long as --grace says, and leaves nothing of it", async () => {
  using folder = tempFolder();
  await using server = await startServer(folder.path, ["--grace", "300ms"]);
  const wire = await dial(server.receivePort);
  await wire.chunk("a", Buffer.from("half "));
  expect(await wire.status()).toBe(CODE.ok);
  expect((await server.program.stop()).code).toBe(0);
  wire.close();
  expect(existsSync(folder.join("a"))).toBe(false);
  await using again = await startServer(folder.path);
  expect(readdirSync(folder.join(".dray", "staging"))).toEqual([]);
  expect(await metaData(again.sendPort)).toHaveLength(1);
});

test("killed, it comes back with its files, its deletes, its numbers, and the same id", async () => {
  using folder = tempFolder();
  let before: string[];
  {
    await using server = await startServer(folder.path);
    const wire = await dial(server.receivePort);
    for (const name of ["a", "b", "c"]) await upload(wire, name, `content of ${name}`);
    await wire.named("delete", "c");
    expect(await wire.status()).toBe(CODE.ok);
    before = await metaData(server.sendPort);
    await wire.chunk("half", Buffer.from("x"));
    await wire.status();
    await server.program.stop("SIGKILL");
  }
  await using server = await startServer(folder.path);
  expect(await metaData(server.sendPort)).toEqual(before);
  expect(before[0]).toMatch(/\tserver=[0-9a-f]{32}$/);
  const wire = await dial(server.receivePort);
  await wire.named("delete", "c");
  expect(await wire.status()).toBe(CODE.noFile);
  expect(await upload(wire, "half", "whole")).toEqual([CODE.ok, CODE.ok]);
  const line = (await metaData(server.sendPort)).find((text) => text.startsWith("half\t"));
  expect(line).toContain("sequence=5");
});

test("a folder that was emptied stops it, unless somebody says that it is meant so", async () => {
  using folder = tempFolder();
  {
    await using server = await startServer(folder.path);
    const wire = await dial(server.receivePort);
    for (const name of ["a", "b", "c", "d"]) await upload(wire, name, "content");
    await server.program.stop("SIGKILL");
  }
  for (const name of ["a", "b", "c", "d"]) rmSync(folder.join(name));
  const refused = await runDray(["sync-server", "0", "0", "--dir", folder.path]);
  expect(refused.code).toBe(6);
  expect(refused.stderr).toMatch(/all 4 files are missing.*--accept-missing/);
  await using server = await startServer(folder.path, ["--accept-missing"]);
  expect((await metaData(server.sendPort))[0]).toStartWith(".dray\t");
});

test("files that are put into the folder while it is down are served", async () => {
  using folder = tempFolder();
  writeFileSync(folder.join("by hand"), "content");
  await using server = await startServer(folder.path);
  const [line] = await metaData(server.sendPort);
  expect(line?.split("\t").slice(2, 4)).toEqual(["7", md5Of(Buffer.from("content"))]);
});

test("a full disk refuses uploads, loses nothing, and is said in the log", async () => {
  using disk = smallFileSystem(4 * 1024 * 1024);
  if (disk === undefined) return;
  await using server = await startServer(disk.path);
  const wire = await dial(server.receivePort);
  expect(await upload(wire, "small", "content")).toEqual([CODE.ok, CODE.ok]);
  const large = Buffer.alloc(1024 * 1024, 7);
  let code: number = CODE.ok;
  for (let chunks = 0; chunks < 8 && code === CODE.ok; chunks++) {
    await wire.chunk("large", large);
    code = await wire.status();
  }
  expect(code).toBe(CODE.locked);
  await server.program.stderrMatch(/Cannot take "large" from .*no space left/);
  // The space is free when the last thread has let go of the file.
  code = CODE.locked;
  for (let tries = 0; tries < 5_000 && code === CODE.locked; tries++) {
    await wire.chunk("other", Buffer.from("fits"));
    code = await wire.status();
    if (code === CODE.locked) await wire.named("abort", "other");
  }
  await wire.named("close", "other", md5Of(Buffer.from("fits")));
  expect([code, await wire.status()]).toEqual([CODE.ok, CODE.ok]);
  expect(readFileSync(disk.join("small"), "utf8")).toBe("content");
  expect(readdirSync(disk.join(".dray", "staging"))).toEqual([]);
});

/** Everything that a hostile client can think of, once. */
async function storm(server: Server): Promise<void> {
  // Thousands of uploads that never end: beyond the limit they are refused.
  const opener = await dial(server.receivePort);
  const codes: number[] = [];
  for (let index = 0; index < 1_000; index++) await opener.chunk(`half/${index}`, Buffer.from("x"));
  for (let index = 0; index < 1_000; index++) codes.push(await opener.status());
  expect(codes.filter((code) => code === CODE.ok)).toHaveLength(64);
  expect(codes.filter((code) => code === CODE.locked)).toHaveLength(1_000 - 64);

  // Questions whose answers nobody reads.
  const deaf = await dial(server.receivePort);
  deaf.socket.pause();
  const question = Buffer.concat([Buffer.from([5, 0]), Buffer.alloc(16), Buffer.from([1, 0, 120])]);
  const flood = Buffer.concat(Array<Buffer>(10_000).fill(question));
  for (let round = 0; round < 40; round++) deaf.socket.write(flood);

  // Names without end, and heads that are never finished.
  const names = await dial(server.receivePort);
  const name = "n".repeat(65_535);
  for (let round = 0; round < 100; round++) await names.chunk(name, Buffer.from("x"));
  for (let round = 0; round < 100; round++) expect(await names.status()).toBe(CODE.locked);
  const heads = await Promise.all(Array.from({ length: 20 }, () => dial(server.receivePort)));
  for (const head of heads)
    await head.bytes(Buffer.from([1, 0]), Buffer.alloc(20, 1), Buffer.from([255, 255]), Buffer.alloc(65_000));

  // More connections than one address may have.
  const many = await Promise.allSettled(Array.from({ length: 60 }, () => dial(server.sendPort)));
  const accepted = many.flatMap((dialled) => (dialled.status === "fulfilled" ? [dialled.value] : []));
  const greeted = await Promise.all(accepted.map(async (wire) => (await wire.next()) !== undefined));
  expect(greeted.filter(Boolean).length).toBeGreaterThan(0);
  expect(greeted.filter(Boolean).length).toBeLessThanOrEqual(64 - 24);
  for (const wire of [opener, deaf, names, ...heads, ...accepted]) wire.vanish();
}

test("hostile clients cost themselves, and no memory: half-open uploads, floods, endless names, no reading", async () => {
  using folder = tempFolder();
  await using server = await startServer(folder.path, ["--max-per-address", "64"]);
  const good = await dial(server.receivePort);
  const isGone = ({ type }: { type: string }): boolean => type === "disconnected";
  const rss: number[] = [];
  for (let round = 1; round <= 4; round++) {
    await storm(server);
    expect(await upload(good, `good ${round}`, "still served")).toEqual([CODE.ok, CODE.ok]);
    const accepted = (): number => server.program.events.filter(({ type }) => type === "connected").length;
    await server.program.waitFor(() => server.program.events.filter(isGone).length >= accepted() - 1, {
      what: "the end of all hostile connections",
    });
    rss.push(currentRssBytes(server.program.pid));
  }
  // The first rounds fill the pools of the run time; then nothing may be left of a round.
  expect(rss[3]! - rss[1]!).toBeLessThan(64 * 1024 * 1024);
  expect(readdirSync(folder.join(".dray", "staging"))).toEqual([]);
  good.close();
});
