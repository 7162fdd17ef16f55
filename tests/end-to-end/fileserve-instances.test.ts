import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { runDray, startDray } from "../support/process.ts";
import type { Program } from "../support/program.ts";
import { isFree } from "../support/free-port.ts";
import { steadyPorts } from "../support/steady-ports.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

setDefaultTimeout(60_000);

let folder: TempFolder;
beforeEach(() => {
  folder = tempFolder();
});
afterEach(() => folder[Symbol.dispose]());

async function listening(program: Program, count: number): Promise<number[]> {
  const ports = (): number[] =>
    program.events.filter(({ type }) => type === "listening").map((event) => event["port"] as number);
  await program.waitFor(() => ports().length === count, { what: `${count} servers` });
  return ports();
}

test("fifty servers in one process, each on the directory of its port", async () => {
  const first = await steadyPorts(50);
  const template = folder.join("d{port}");
  await using program = startDray([
    ...["fileserve", "127.0.0.1", String(first), template],
    ...["--instances", "50", "--writable", "--cache-size", "100MiB", "--json"],
  ]);
  const ports = await listening(program, 50);
  expect(ports).toEqual(Array.from({ length: 50 }, (_, index) => first + index));
  expect(readdirSync(folder.path).sort()).toEqual(ports.map((port) => `d${port}`).sort());

  writeFileSync(folder.join("a"), "first");
  writeFileSync(folder.join("b"), "second");
  const put = (name: string, port: number) =>
    runDray(["put", folder.join(name), "--as", "x", "--to", `127.0.0.1:${port}`]);
  expect((await put("a", ports[7]!)).code).toBe(0);
  expect((await put("b", ports[8]!)).code).toBe(0);
  expect(readFileSync(folder.join(`d${ports[7]}`, "x"), "utf8")).toBe("first");
  for (const [port, contents] of [
    [ports[7], "first"],
    [ports[8], "second"],
  ] as const) {
    const fetched = await runDray(["fetch", "127.0.0.1", String(port), "x", "-"]);
    expect(fetched).toMatchObject({ code: 0, stdout: contents });
  }
  expect((await runDray(["fetch", "127.0.0.1", String(ports[9]), "x", "-"])).code).toBe(4);

  const ended = await program.stop("SIGTERM");
  expect(ended.code).toBe(0);
  const told = program.events.filter(({ type }) => type === "statistics");
  expect(told).toHaveLength(1);
  expect(told[0]).toMatchObject({ misses: 2, files: 2 });
  // They share what one would have had.
  expect(told[0]!["limitBytes"]).toBeLessThanOrEqual(100 * 1024 * 1024);
  expect(told[0]!["limitBytes"]).toBeGreaterThan(90 * 1024 * 1024);
});

test("free ports, and a directory that is named after the one that was found", async () => {
  await using program = startDray([
    "fileserve",
    "127.0.0.1",
    "0",
    folder.join("of-{port}"),
    "--instances",
    "3",
  ]);
  await program.stdoutMatch(/(?:Listening on 127\.0\.0\.1:\d+\n){3}/);
  const ports = [...program.stdoutText().matchAll(/:(\d+)/g)].map(([, port]) => port!);
  expect(readdirSync(folder.path).sort()).toEqual(ports.map((port) => `of-${port}`).sort());
});

test("one server may be named after its port, too", async () => {
  await using program = startDray(["fileserve", "127.0.0.1", "0", folder.join("{port}"), "--json"]);
  const [port] = await listening(program, 1);
  expect(readdirSync(folder.path)).toEqual([String(port)]);
});

test("what cannot be meant is refused before anybody listens", async () => {
  mkdirSync(folder.join("d"));
  const refused = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await runDray(["fileserve", "127.0.0.1", ...args]);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await refused("0", folder.join("d"), "--instances", "2")).toContain("{port}");
  expect(await refused("65530", folder.join("d{port}"), "--instances", "7")).toContain("fewer ports");
  expect(await refused("0", folder.join("d{port}"), "--instances", "0")).toContain("--instances");
  expect(readdirSync(folder.path)).toEqual(["d"]);
});

test("a port that is taken ends all of them", async () => {
  const first = await steadyPorts(4);
  const args = (port: number): string[] => ["fileserve", "127.0.0.1", String(port), folder.join("d{port}")];
  await using other = startDray([...args(first + 2), "--json"]);
  await listening(other, 1);
  const { code, stderr } = await runDray([...args(first), "--instances", "4"]);
  expect(code).toBe(2);
  expect(stderr).toContain("already in use");
  expect(await isFree(first)).toBe(true);
});
