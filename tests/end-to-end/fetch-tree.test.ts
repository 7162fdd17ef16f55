import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { startContent } from "../support/content-server.ts";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { runDray, startDray } from "../support/process.ts";
import type { Finished } from "../support/program.ts";
import { startProxy } from "../support/proxy.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { ramFolder } from "../support/ram-folder.ts";
import type { TempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles, makeOddTree } from "../support/tree.ts";
import { errorFrame } from "../support/wire-bytes.ts";

setDefaultTimeout(90_000);

let folder: TempFolder;
beforeEach(() => {
  folder = ramFolder(200_000_000);
});
afterEach(() => folder[Symbol.dispose]());

function fetch(port: number, path: string, ...flags: string[]): Promise<Finished> {
  const to = ["fetch", "127.0.0.1", String(port), path, folder.join("saved")];
  return runDray([...to, "--recursive", "--json", ...flags]);
}

function makeServed(): string {
  const served = folder.join("served");
  const many = { seed: 1, count: 600, directories: 30, minBytes: 0, maxBytes: 20_000 };
  makeManyFiles(join(served, "docs/many"), many);
  makeLargeFile(join(served, "docs/large"), { seed: 2, sizeBytes: 9_000_000 });
  makeLargeFile(join(served, "docs/larger"), { seed: 3, sizeBytes: 5_000_000 });
  fs.mkdirSync(join(served, "docs/empty"));
  fs.writeFileSync(join(served, "other"), "not asked for");
  return served;
}

describe("a directory", () => {
  test("arrives with all that is below it, over a few connections, under its own name", async () => {
    const served = makeServed();
    await using server = await startContent(served);
    await using proxy = await startProxy({ target: { host: "127.0.0.1", port: server.port } });
    const { code, events } = await fetch(proxy.port, "docs");
    expect(code).toBe(0);
    expect(await diffTrees(join(served, "docs"), folder.join("saved/docs"))).toEqual([]);
    expect(fs.readdirSync(folder.join("saved"))).toEqual(["docs"]);
    expect(proxy.connections.length).toBeLessThanOrEqual(4);
    expect(events.at(-1)).toMatchObject({ type: "result", files: 602, failed: 0, unchanged: 0 });
  });

  test("is not fetched again where nothing has changed, and only what has", async () => {
    const served = makeServed();
    await using server = await startContent(served);
    await fetch(server.port, "docs/many");
    const [some = ""] = namesBelow(join(served, "docs/many")).filter((name) => !name.endsWith("/"));
    fs.writeFileSync(join(served, "docs/many", some), "new contents");
    const { code, events } = await fetch(server.port, "docs/many");
    expect(code).toBe(0);
    expect(events.at(-1)).toMatchObject({ files: 600, unchanged: 599, bytesTransferred: 12 });
    expect(fs.existsSync(folder.join("saved/many", `${some}.~1~`))).toBe(true);
  });

  test("is everything with a dot, with odd names, and sums that sha256sum agrees with", async () => {
    const served = folder.join("served");
    fs.mkdirSync(served);
    makeOddTree(served, { seed: 4 });
    await using server = await startContent(served);
    const to = ["fetch", "127.0.0.1", String(server.port), ".", "saved", "-r", "--sum"];
    const { code, stdout } = await runDray(to, { cwd: folder.path });
    expect(code).toBe(0);
    expect(await diffTrees(served, folder.join("saved"))).toEqual([]);
    const checked = spawnSync("sha256sum", ["--check", "--quiet", "--strict"], {
      cwd: folder.path,
      input: stdout,
    });
    expect({ status: checked.status, stderr: String(checked.stderr) }).toEqual({ status: 0, stderr: "" });
  });

  test("may be a single file", async () => {
    await using server = await startContent(makeServed());
    expect((await fetch(server.port, "docs/large")).code).toBe(0);
    expect(fs.readdirSync(folder.join("saved"))).toEqual(["large"]);
  });

  test("that is not there: exit 4", async () => {
    await using server = await startContent(makeServed());
    expect((await fetch(server.port, "nothing")).code).toBe(4);
    expect(fs.existsSync(folder.join("saved"))).toBe(false);
  });

  test("killed at any moment goes on where it was", async () => {
    const served = makeServed();
    await using server = await startContent(served);
    await using proxy = await startProxy({
      target: { host: "127.0.0.1", port: server.port },
      faults: (connection) => (connection < 4 ? [{ kind: "stall", atByte: 3_000_000 }] : []),
    });
    const to = ["fetch", "127.0.0.1", String(proxy.port), "docs", folder.join("saved"), "-r", "--json"];
    await using program = startDray(to);
    await proxy.reached("stall");
    await program.waitFor((event) => (event["bytesTransferred"] as number) > 4_000_000);
    await program.stop("SIGKILL");
    const { code, events } = await fetch(proxy.port, "docs");
    expect(code).toBe(0);
    expect(events.at(-1)?.["bytesResumed"]).toBeGreaterThan(1_000_000);
    const left = namesBelow(folder.join("saved")).filter((name) => /\.part/.test(name));
    expect(left).toEqual([]);
    expect(spawnSync("cmp", [join(served, "docs/large"), folder.join("saved/docs/large")]).status).toBe(0);
  });
});

describe("a directory of which some cannot be had", () => {
  test("arrives but for that: exit 3, and each failure is told", async () => {
    const files = {
      "d/good": Buffer.from("good"),
      "d/bad": Buffer.from("bad"),
      "d/last": Buffer.from("last"),
    };
    using source = new ScriptedSource({
      files,
      fetch: (connection, asked) => {
        if (asked.path === "d/bad") connection.send(errorFrame(asked.id, 9, "not for you"));
        else connection.answerFetch(asked);
      },
    });
    const { code, events } = await fetch(source.port, "d");
    expect(code).toBe(3);
    expect(events.filter(({ type }) => type === "failure")).toEqual([
      { type: "failure", file: "d/bad", code: "refused", message: "not for you" },
    ]);
    expect(events.at(-1)).toMatchObject({ files: 2, failed: 1 });
    expect(fs.readdirSync(folder.join("saved/d")).sort()).toEqual(["good", "last"]);
  });

  test.each([
    "../escaped",
    "/absolute",
    "elsewhere/x",
    "d/../../escaped",
    "d//x",
    "d/./x",
    "d/.dray-file-a1.tmp",
  ])("does not put %p anywhere", async (hostile) => {
    using source = new ScriptedSource({
      list: (connection, asked) =>
        connection.sendList(asked, [
          { path: "d", kind: "directory" },
          { path: hostile, size: 1 },
          { path: "d/good", size: 4 },
        ]),
      files: { "d/good": Buffer.from("good"), [hostile]: Buffer.from("x") },
    });
    const { code, events } = await fetch(source.port, "d");
    const isOdd = hostile.endsWith(".tmp"); // a name of ours only if it is exactly of that form
    if (!isOdd) expect({ code, failed: events.at(-1)?.["failed"] }).toEqual({ code: 3, failed: 1 });
    const names = namesBelow(folder.path).filter((name) => !isOdd || !name.endsWith(".tmp"));
    expect(names.sort()).toEqual(["saved/", "saved/d/", "saved/d/good"]);
  });

  test("does not follow a link that leads out of the directory to save to", async () => {
    await using server = await startContent(makeServed());
    fs.mkdirSync(folder.join("saved/docs"), { recursive: true });
    fs.mkdirSync(folder.join("outside"));
    fs.symlinkSync(folder.join("outside"), folder.join("saved/docs/many"));
    expect((await fetch(server.port, "docs")).code).toBe(3);
    expect(fs.readdirSync(folder.join("outside"))).toEqual([]);
  });

  test("skips links, and says so", async () => {
    const served = makeServed();
    fs.symlinkSync("large", join(served, "docs/link"));
    await using server = await startContent(served);
    const { code, events } = await fetch(server.port, "docs");
    expect(code).toBe(0);
    expect(events.find(({ type }) => type === "skipped")).toMatchObject({ file: "docs/link" });
    expect(fs.existsSync(folder.join("saved/docs/link"))).toBe(false);
  });
});

test("a server with room for one connection serves a directory all the same", async () => {
  const served = makeServed();
  await using server = await startContent(served, ["--max-connections", "1"]);
  expect((await fetch(server.port, "docs")).code).toBe(0);
  expect(await diffTrees(join(served, "docs"), folder.join("saved/docs"))).toEqual([]);
});

test("a server that is gone in between is waited for, and each file is there once", async () => {
  const served = makeServed();
  await using server = await startContent(served);
  await using proxy = await startProxy({
    target: { host: "127.0.0.1", port: server.port },
    faults: (connection) =>
      connection < 8 ? [{ kind: "cut", atByte: 200_000 + connection * 300_000, how: "rst" }] : [],
  });
  const { code, events } = await fetch(proxy.port, "docs");
  expect(code).toBe(0);
  expect(await diffTrees(join(served, "docs"), folder.join("saved/docs"))).toEqual([]);
  const files = events.filter(({ type }) => type === "file").map(({ file }) => file);
  expect(new Set(files).size).toBe(files.length);
});

test("a connection that breaks is the fault of one file, not of those behind it in the line", async () => {
  await using server = await startContent(makeServed());
  await using proxy = await startProxy({
    target: { host: "127.0.0.1", port: server.port },
    faults: (connection) => (connection === 1 ? [{ kind: "cut", atByte: 100_000, how: "rst" }] : []),
  });
  const { events } = await fetch(proxy.port, "docs/many", "--attempts", "1");
  await proxy.reached("cut");
  expect(events.at(-1)).toMatchObject({ type: "result" });
  expect(events.at(-1)?.["failed"]).toBeLessThanOrEqual(1);
});
