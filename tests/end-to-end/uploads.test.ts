import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type RunningServer, startFileserve } from "../support/content-server.ts";
import { diffTrees } from "../support/diff.ts";
import { freePort } from "../support/free-port.ts";
import { runDray, startDray } from "../support/process.ts";
import type { Finished } from "../support/program.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

let folder: TempFolder;
let servers: RunningServer[];
beforeEach(() => {
  folder = tempFolder();
  servers = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  folder[Symbol.dispose]();
});

/** A writable server over a new directory. @returns where it listens, as for --to */
async function serve(name: string, flags = ["--writable"]): Promise<string> {
  mkdirSync(folder.join(name), { recursive: true });
  const server = await startFileserve(folder.join(name), flags);
  servers.push(server);
  return `127.0.0.1:${server.port}`;
}

function local(name: string, contents: string): string {
  mkdirSync(folder.join("local"), { recursive: true });
  writeFileSync(folder.join("local", name), contents);
  return folder.join("local", name);
}

const dray = (...args: string[]): Promise<Finished> => runDray(args);
const served = (name: string): string[] =>
  readdirSync(folder.join(name), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.join(name).length + 1))
    .filter((path) => !path.startsWith(".dray"))
    .sort();

describe("put", () => {
  test("brings files and directories to several servers, as they are", async () => {
    const to = [await serve("one"), await serve("two")];
    const tree = folder.join("tree");
    makeManyFiles(tree, { seed: 1, count: 700, directories: 20, minBytes: 1, maxBytes: 400_000 });
    makeLargeFile(join(tree, "large"), { seed: 2, sizeBytes: 20 * MIB });
    writeFileSync(join(tree, "nothing"), "");
    for (const name of ["with space", "with\nnewline", "日本語", "a:b,c", "-dash", "quote'\""])
      writeFileSync(join(tree, name), name);
    symlinkSync("nothing", join(tree, "link"));
    const put = await dray("put", "-r", tree, "--into", "in/here", "--to", to.join(","), "--json");
    expect(put.code).toBe(0);
    const result = put.events.at(-1)!;
    expect(result).toMatchObject({ type: "result", files: 708, failed: 0, skipped: 1, bytesResumed: 0 });
    expect(result["bytesTransferred"]).toBe(2 * (result["bytes"] as number));
    expect(put.events.filter(({ type }) => type === "file")).toHaveLength(2 * 708);
    for (const name of ["one", "two"])
      expect(await diffTrees(tree, folder.join(name, "in/here/tree"), { links: "left-out" })).toEqual([]);

    // Again: what is large is there already, and nothing is damaged by that.
    const again = await dray("put", "-r", tree, "--into", "in/here", "--to", to[0]!, "--json");
    expect(again.code).toBe(0);
    expect(again.events.at(-1)!["bytesResumed"]).toBeGreaterThanOrEqual(20 * MIB);
    expect(await diffTrees(tree, folder.join("one", "in/here/tree"), { links: "left-out" })).toEqual([]);
  });

  test("says in words what it did, and takes names as people give them", async () => {
    const to = await serve("one");
    const put = await dray("put", local("a.txt", "1"), local("b.txt", "22"), "--to", to);
    expect(put).toMatchObject({ code: 0, stderr: "" });
    expect(put.stdout).toContain(`${to}: complete, 2 files, 3 B`);
    expect((await dray("put", local("c.txt", "3"), "--as", "x/y/z", "--to", to)).code).toBe(0);
    expect((await dray("put", local("c.txt", "3"), "--into", "./p//q/", "--to", to)).code).toBe(0);
    rmSync(folder.join("local/a.txt"));
    expect((await dray("put", "-r", `${folder.join("local")}/.`, "--into", "all", "--to", to)).code).toBe(0);
    expect(served("one")).toEqual(["a.txt", "all/b.txt", "all/c.txt", "b.txt", "p/q/c.txt", "x/y/z"]);
  });

  test("refuses what cannot be meant, before anything is sent", async () => {
    const to = await serve("one");
    const [a, b] = [local("a.txt", "1"), local("b.txt", "2")];
    mkdirSync(folder.join("local/sub"));
    writeFileSync(folder.join("local/sub/a.txt"), "3");
    for (const args of [
      [a],
      [a, "--to", "nowhere"],
      [a, "--to", "::1:9"],
      [a, "--to", `${to},${to}`],
      [a, b, "--as", "x", "--to", to],
      [a, "--as", "x", "--into", "y", "--to", to],
      [a, "--as", "../x", "--to", to],
      [a, folder.join("local/sub/a.txt"), "--to", to],
      ["--to", to],
    ])
      expect({ args, code: (await dray("put", ...args)).code }).toEqual({ args, code: 2 });
    expect(served("one")).toEqual([]);
  });

  test("ends with the exit code that says what went wrong, and names each failure", async () => {
    const to = await serve("one");
    const gone = `127.0.0.1:${await freePort()}`;
    const a = local("a.txt", "1");
    mkdirSync(folder.join("local/sub"));
    const missing = folder.join("local/missing");
    expect((await dray("put", missing, "--to", to)).code).toBe(4);
    const some = await dray("put", missing, a, "--to", to);
    expect(some.code).toBe(3);
    expect(some.stdout).toContain(`${missing}: no such file or directory`);
    expect((await dray("put", folder.join("local/sub"), "--to", to)).code).toBe(6);
    const unreachable = await dray("put", a, "--to", gone, "--timeout", "0.1");
    expect(unreachable).toMatchObject({ code: 7 });
    expect(unreachable.stderr).toContain(gone);
    const half = await dray("put", a, "--to", `${gone},${to}`, "--timeout", "0.1", "--json");
    expect(half.code).toBe(3);
    expect(half.events.at(-1)!["servers"]).toMatchObject([
      { status: "unreachable", files: 0, failed: 1 },
      { status: "complete", files: 1, failed: 0 },
    ]);
    const readOnly = await dray("put", a, "--to", await serve("three", []));
    expect(readOnly.code).toBe(6);
    expect(readOnly.stderr).toContain("without --writable");
    writeFileSync(folder.join("one/theirs"), "x");
    const refused = await dray("put", a, "--as", "theirs", "--to", to);
    expect(refused.code).toBe(6);
    expect(refused.stdout).toContain("belongs to no client");
  });

  test("that is killed is gone on with by the next one, as long as the file is the same", async () => {
    const to = await serve("one");
    const large = folder.join("large");
    makeLargeFile(large, { seed: 3, sizeBytes: 300 * MIB, sparse: true });
    const args = ["put", large, "--to", to, "--json"];
    const parts = (): string[] =>
      readdirSync(folder.join("one/.dray/uploads")).filter((name) => name.endsWith(".part"));
    const first = startDray(args);
    await first.waitFor((event) => event.type === "progress" && sentBytes(event) > 20 * MIB);
    await first.stop("SIGKILL");
    const second = startDray(args);
    await second.waitFor((event) => event.type === "progress" && sentBytes(event) > 20 * MIB);
    const interrupted = await second.stop("SIGINT");
    expect(interrupted.code).toBe(130);
    expect(second.stderrText()).toContain("goes on from there");
    expect(served("one")).toEqual([]);
    expect(parts()).toHaveLength(1);
    const third = await dray(...args);
    expect(third.code).toBe(0);
    const { bytesResumed, bytesTransferred } = third.events.at(-1) as unknown as Record<string, number>;
    expect(bytesResumed).toBeGreaterThan(40 * MIB);
    expect(bytesResumed! + bytesTransferred!).toBe(300 * MIB);
    expect((await Bun.$`cmp ${large} ${folder.join("one/large")}`.nothrow()).exitCode).toBe(0);
    expect(parts()).toEqual([]);
    // Another version starts over.
    utimesSync(large, 1, 1);
    const fourth = await dray(...args);
    expect(fourth.events.at(-1)).toMatchObject({ bytesResumed: 0, bytesTransferred: 300 * MIB });
  });

  test("goes on by itself when the server is killed and comes back", async () => {
    mkdirSync(folder.join("one"));
    await using server = await SteadyServer.writable(folder.join("one"));
    const large = folder.join("large");
    makeLargeFile(large, { seed: 4, sizeBytes: 300 * MIB, sparse: true });
    const put = startDray(["put", large, local("a.txt", "1"), "--to", `127.0.0.1:${server.port}`, "--json"]);
    await put.waitFor((event) => event.type === "progress" && sentBytes(event) > 20 * MIB);
    await server.stop("SIGKILL");
    await server.start();
    const { code, events } = await put.finished({ timeoutMs: 60_000 });
    expect(code).toBe(0);
    const result = events.at(-1) as unknown as Record<string, number>;
    expect(result["bytesResumed"]).toBeGreaterThan(0);
    expect(result["bytesTransferred"]).toBeLessThan(340 * MIB);
    expect((await Bun.$`cmp ${large} ${folder.join("one/large")}`.nothrow()).exitCode).toBe(0);
    expect(served("one")).toEqual(["a.txt", "large"]);
  });

  test("goes on by itself when the server is stopped in an orderly way and comes back", async () => {
    mkdirSync(folder.join("one"));
    await using server = await SteadyServer.writable(folder.join("one"), ["--grace", "0.3"]);
    const tree = folder.join("tree");
    makeManyFiles(tree, { seed: 5, count: 1500, directories: 10, minBytes: 1, maxBytes: 100_000 });
    makeLargeFile(join(tree, "large"), { seed: 6, sizeBytes: 400 * MIB, sparse: true });
    const put = startDray(["put", "-r", tree, "--to", `127.0.0.1:${server.port}`, "--json"]);
    await put.waitFor((event) => event.type === "progress" && sentBytes(event) > 10 * MIB);
    expect((await server.stop()).code).toBe(0);
    await server.start();
    expect((await put.finished({ timeoutMs: 60_000 })).code).toBe(0);
    expect(await diffTrees(tree, folder.join("one/tree"))).toEqual([]);
  });

  test("keeps to the limits of the server", async () => {
    const to = await serve("one", ["--writable", "--max-file", "10k", "--max-total", "15k"]);
    const tooLarge = await dray("put", local("a", "x".repeat(10_241)), "--to", to);
    expect(tooLarge.code).toBe(6);
    expect(tooLarge.stdout).toContain("files of up to 10240");
    expect((await dray("put", local("a", "x".repeat(10_240)), "--to", to)).code).toBe(0);
    const full = await dray("put", local("b", "x".repeat(10_240)), "--to", to);
    expect(full.code).toBe(6);
    expect(full.stdout).toContain("over the limit of 15360 bytes for all uploads together");
  });
});

function sentBytes(event: Record<string, unknown>): number {
  const [server] = event["servers"] as { bytesTransferred: number }[];
  return server?.bytesTransferred ?? 0;
}

describe("owners", () => {
  test("are the names of tokens: nobody else replaces, removes or renames", async () => {
    const tokens = { alice: "alice:her-secret-123456789", bob: "bob:his-secret-1234567890" };
    const tokenFile = (name: string, text: string): string => {
      writeFileSync(folder.join(name), `${text}\n`);
      chmodSync(folder.join(name), 0o600);
      return folder.join(name);
    };
    const all = tokenFile("all", Object.values(tokens).join("\n"));
    const alice = ["--token-file", tokenFile("alice", tokens.alice)];
    const bob = ["--token-file", tokenFile("bob", tokens.bob)];
    const mallory = ["--token-file", tokenFile("mallory", "alice:a-guess-0123456789")];
    const at = await serve("one", ["--writable", "--token-file", all]);
    const a = local("a", "hers");
    expect((await dray("put", a, "--to", at, ...alice)).code).toBe(0);
    for (const who of [bob, mallory, []]) {
      expect((await dray("put", local("a", "his"), "--to", at, ...who)).code).toBe(6);
      expect((await dray("rm", "a", "--on", at, ...who)).code).toBe(6);
      expect((await dray("mv", "a", "b", "--on", at, ...who)).code).toBe(6);
    }
    expect(readFileSync(folder.join("one/a"), "utf8")).toBe("hers");
    expect((await dray("ls", "--on", at, ...bob)).stdout).toBe("a\n");
    expect((await dray("mv", "a", "dir/", "--on", at, ...alice)).code).toBe(0);
    expect((await dray("rm", "dir/a", "--on", at, ...bob)).stderr).toContain("belongs to another client");
    expect(await dray("rm", "dir/a", "--on", at, ...alice)).toMatchObject({
      code: 0,
      stdout: "",
      stderr: "",
    });
    expect(served("one")).toEqual([]);
  });
});

describe("rm, mv and ls", () => {
  test("work on several servers, and say what they could not do", async () => {
    const on = [await serve("one"), await serve("two")].join(",");
    await dray("put", local("a", "1"), local("b", "22"), "--to", on);
    rmSync(folder.join("two/b"));
    const rm = await dray("rm", "a", "b", "--on", on, "--json");
    expect(rm.code).toBe(3);
    expect(rm.events.at(-1)).toEqual({ type: "result", done: 3, failed: 1 });
    expect(rm.stderr).toContain("Cannot remove b on ");
    expect((await dray("rm", "a", "--on", on)).code).toBe(4);
    await dray("put", local("c", "333"), "--to", on);
    expect((await dray("mv", "c", "d/e", "--on", on)).code).toBe(0);
    const ls = await dray("ls", "--on", on);
    expect(ls.stdout).toBe(
      on
        .split(",")
        .map((target) => `${target}:\nd/\n`)
        .join(""),
    );
    expect((await dray("ls", "d", "--on", on.split(",")[0]!)).stdout).toBe("e\n");
    expect((await dray("ls", "-r", "-l", "--on", on.split(",")[0]!)).stdout).toMatch(
      /^ +- .* d\/\n +3 \d{4}-.* d\/e\n$/,
    );
    expect((await dray("ls", "nope", "--on", on)).code).toBe(4);
    expect((await dray("mv", "d/e", "d/e/f", "--on", on)).code).toBe(6);
  });

  test("a server that cannot be reached does not keep the others from it", async () => {
    const at = await serve("one");
    await dray("put", local("a", "1"), "--to", at);
    const gone = `127.0.0.1:${await freePort()}`;
    const rm = await dray("rm", "a", "--on", `${gone},${at}`, "--timeout", "0.1");
    expect(rm.code).toBe(3);
    expect(served("one")).toEqual([]);
    expect((await dray("ls", "--on", gone, "--timeout", "0.1")).code).toBe(7);
  });
});

test("a server that everybody can write to says so loudly", async () => {
  mkdirSync(folder.join("one"));
  await using server = startDray(["fileserve", "0.0.0.0", "0", folder.join("one"), "--writable", "--json"]);
  await server.stderrMatch(/without a token: everybody who can reach it can .* change what others have put/);
});
