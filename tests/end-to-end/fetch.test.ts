import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { drayBinary } from "../support/binary.ts";
import { type RunningServer, startContent, startFileserve } from "../support/content-server.ts";
import { fileSha256 } from "../support/file-sha256.ts";
import { runDray } from "../support/process.ts";
import type { Finished } from "../support/program.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(60_000);

const KIB = 1024;
const ODD_NAMES = [
  "with space",
  "line\nfeed",
  "car\rriage",
  "a:b",
  "back\\slash",
  "-dash",
  "ümläut",
  "list",
  "~1~",
];
const SIZES = { empty: 0, byte: 1, piece: 256 * KIB, "piece and a byte": 256 * KIB + 1, large: 3_000_001 };

let served: TempFolder;
let server: RunningServer;
let cached: RunningServer;
let saved: TempFolder;

beforeAll(async () => {
  served = tempFolder();
  saved = tempFolder();
  for (const [name, sizeBytes] of Object.entries(SIZES))
    makeLargeFile(served.join("docs/deep", name), { seed: sizeBytes, sizeBytes });
  for (const name of ODD_NAMES) fs.writeFileSync(served.join(name), `contents of ${name}`);
  fs.chmodSync(served.join("docs/deep/large"), 0o755);
  server = await startContent(served.path);
  cached = await startFileserve(served.path);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await cached[Symbol.asyncDispose]();
  served[Symbol.dispose]();
  saved[Symbol.dispose]();
});

let nextPlace = 0;
/** A directory that nothing is in, and that is not there yet. */
function newPlace(): string {
  return saved.join(`place ${nextPlace++}`);
}

function fetch(file: string, place: string, ...flags: string[]): Promise<Finished> {
  return runDray(["fetch", ...flags, "--", "127.0.0.1", String(server.port), file, place]);
}

/** What sha256sum says about a file, run where the test runs. */
function sha256sum(path: string): string {
  return spawnSync("sha256sum", ["--", path], { encoding: "utf8" }).stdout;
}

describe("one file", () => {
  test.each(Object.keys(SIZES))(
    "of size %p arrives whole, under its last component, with its time",
    async (name) => {
      const place = newPlace();
      const { code, stdout } = await fetch(`docs/deep/${name}`, place);
      expect(code).toBe(0);
      expect(fs.readdirSync(place)).toEqual([name]);
      expect(stdout).toBe(sha256sum(join(place, name)));
      const [source, copy] = [served.join("docs/deep", name), join(place, name)];
      expect(spawnSync("cmp", [source, copy]).status).toBe(0);
      expect(Math.abs(fs.statSync(copy).mtimeMs - fs.statSync(source).mtimeMs)).toBeLessThan(0.002);
      expect(fs.statSync(copy).mode & 0o100).toBe(fs.statSync(source).mode & 0o100);
    },
  );

  test.each(ODD_NAMES)("may be called %p", async (name) => {
    const place = newPlace();
    const { code, stdout } = await fetch(name, place);
    expect(code).toBe(0);
    expect(fs.readFileSync(join(place, name), "utf8")).toBe(`contents of ${name}`);
    expect(stdout).toBe(sha256sum(join(place, name)));
  });

  test("says with --json what it did", async () => {
    const place = newPlace();
    const { events } = await fetch("docs/deep/large", place, "--json");
    const copy = join(place, "large");
    expect(events.at(-1)).toMatchObject({
      type: "result",
      file: "docs/deep/large",
      path: copy,
      outcome: "fetched",
      sizeBytes: SIZES.large,
      bytesTransferred: SIZES.large,
      bytesResumed: 0,
      sha256: await fileSha256(copy),
      durationMs: expect.any(Number),
    });
  });

  test("may be asked for with flags, and with JSON", async () => {
    const [byFlags, byJson] = [newPlace(), newPlace()];
    const flags = [
      "--host",
      "127.0.0.1",
      "--port",
      String(server.port),
      "--file",
      "list",
      "--directory",
      byFlags,
    ];
    expect((await runDray(["fetch", ...flags])).code).toBe(0);
    const config = { host: "127.0.0.1", port: server.port, file: "list", directory: byJson, sum: false };
    const { code, stdout } = await runDray(["fetch", "--config", "-"], { stdin: JSON.stringify(config) });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(fs.readdirSync(byFlags)).toEqual(["list"]);
    expect(fs.readdirSync(byJson)).toEqual(["list"]);
  });

  test("that is there already is not fetched again, and its sum is printed all the same", async () => {
    const place = newPlace();
    const first = await fetch("docs/deep/large", place);
    const inode = fs.statSync(join(place, "large")).ino;
    const again = await fetch("docs/deep/large", place, "--json");
    expect(again.code).toBe(0);
    expect(again.events.at(-1)).toMatchObject({
      outcome: "unchanged",
      bytesTransferred: 0,
      sha256: first.stdout.slice(0, 64),
    });
    expect(fs.statSync(join(place, "large")).ino).toBe(inode);
  });

  test.each(["byte", "large"])(
    "keeps the different %p that stood in its place, unless told otherwise",
    async (name) => {
      const place = newPlace();
      fs.mkdirSync(place);
      fs.writeFileSync(join(place, name), "mine");
      const kept = await fetch(`docs/deep/${name}`, place, "--json");
      expect(kept.code).toBe(0);
      expect(kept.events.at(-1)?.["backup"]).toBe(join(place, `${name}.~1~`));
      expect(fs.readFileSync(join(place, `${name}.~1~`), "utf8")).toBe("mine");
      expect(fs.statSync(join(place, name)).size).toBe(SIZES[name as keyof typeof SIZES]);
      fs.writeFileSync(join(place, name), "mine again");
      expect((await fetch(`docs/deep/${name}`, place, "--overwrite")).code).toBe(0);
      expect(fs.readdirSync(place).sort()).toEqual([name, `${name}.~1~`]);
    },
  );

  test("is not put in the place of a directory", async () => {
    const place = newPlace();
    fs.mkdirSync(join(place, "large/in"), { recursive: true });
    const { code, stderr } = await fetch("docs/deep/large", place);
    expect(code).toBe(6);
    expect(stderr).toContain("a directory");
    expect(fs.readdirSync(place)).toEqual(["large"]);
  });
});

describe("what was expected", () => {
  test.each(["byte", "large"])("of %p is there: exit 0", async (name) => {
    const sum = await fileSha256(served.join("docs/deep", name));
    expect(
      (await fetch(`docs/deep/${name}`, newPlace(), "--expect", `sha256:${sum.toUpperCase()}`)).code,
    ).toBe(0);
  });

  test.each(["byte", "large"])("of %p is not there: exit 5, and nothing is left", async (name) => {
    const place = newPlace();
    const { code, stderr } = await fetch(`docs/deep/${name}`, place, "--expect", `sha256:${"0".repeat(64)}`);
    expect(code).toBe(5);
    expect(stderr).toContain(await fileSha256(served.join("docs/deep", name)));
    expect(fs.readdirSync(place)).toEqual([]);
  });

  test("is the last word on a file that looks unchanged and is not", async () => {
    const place = newPlace();
    await fetch("docs/deep/large", place);
    const copy = join(place, "large");
    const { atime, mtime } = fs.statSync(copy);
    const descriptor = fs.openSync(copy, "r+");
    fs.writeSync(descriptor, "damage", 1_000_000);
    fs.closeSync(descriptor);
    fs.utimesSync(copy, atime, String(mtime.getTime() / 1000));
    fs.utimesSync(copy, atime, fs.statSync(served.join("docs/deep/large")).mtime);
    const sum = await fileSha256(served.join("docs/deep/large"));
    expect((await fetch("docs/deep/large", place, "--expect", `sha256:${sum}`)).code).toBe(0);
    expect(await fileSha256(copy)).toBe(sum);
    expect(fs.existsSync(`${copy}.~1~`)).toBe(true);
  });
});

describe("what cannot be had", () => {
  test("is not there: exit 4, and no directory is made for it", async () => {
    const place = newPlace();
    const { code, stderr } = await fetch("docs/nothing", place);
    expect(code).toBe(4);
    expect(stderr).toContain(`Cannot fetch docs/nothing from 127.0.0.1:${server.port}: no such file`);
    expect(fs.existsSync(place)).toBe(false);
  });

  test.each(["docs", "docs/", "."])(
    "is the directory %p: exit 6, and a word about --recursive",
    async (name) => {
      const { code, stderr } = await fetch(name, newPlace());
      expect(code).toBe(6);
      expect(stderr).toContain("--recursive");
    },
  );

  test.each(["../docs", "/etc/passwd", "docs/../../x"])("is the name %p: exit 6", async (name) => {
    expect((await fetch(name, newPlace())).code).toBe(6);
  });

  test("is at a server that is not there: exit 7", async () => {
    const { code, stderr } = await runDray(["fetch", "127.0.0.1", "1", "x", newPlace(), "--timeout", "0.3"]);
    expect(code).toBe(7);
    expect(stderr).toContain("connection refused");
  });

  test("is a list of a cache from a server without one: exit 6", async () => {
    const { code, stderr } = await runDray(["fetch", "127.0.0.1", String(server.port), "list"]);
    expect(code).toBe(6);
    expect(stderr).toContain("does not offer");
  });

  test("is a mistake on the command line: exit 2, and every one is told", async () => {
    const { code, stderr } = await runDray([
      "fetch",
      "127.0.0.1",
      "1",
      "x",
      "--expect",
      "md5:0",
      "--recursiv",
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain("2 problems");
    expect((await runDray(["fetch", "127.0.0.1", "1", "x"])).stderr).toContain("SAVEDIR");
    expect((await runDray(["fetch", "127.0.0.1", "1", "x", "-", "-r"])).code).toBe(2);
    expect((await runDray(["fetch", "127.0.0.1", "1", "x", "-", "--json"])).code).toBe(2);
  });
});

describe("standard output", () => {
  /** Runs a pipeline in a shell. */
  function shell(line: string): { status: number | null; stdout: string } {
    const fetched = `'${drayBinary()}' fetch 127.0.0.1 ${server.port}`;
    const { status, stdout } = spawnSync("bash", ["-o", "pipefail", "-c", line.replace("FETCH", fetched)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return { status, stdout };
  }

  test.each(Object.keys(SIZES))("gets a file of size %p", (name) => {
    const { status } = shell(`FETCH 'docs/deep/${name}' - | cmp - '${served.join("docs/deep", name)}'`);
    expect(status).toBe(0);
  });

  test("a slow reader gets all of it", () => {
    const { status, stdout } = shell(`FETCH docs/deep/large - | (sleep 0.5; sha256sum)`);
    expect(status).toBe(0);
    expect(stdout.slice(0, 64)).toBe(sha256sum(served.join("docs/deep/large")).slice(0, 64));
  });

  test("a reader that has enough ends it, and that is no success", () => {
    const { status, stdout } = shell(`FETCH docs/deep/large - | head -c 10 | wc -c`);
    expect(stdout.trim()).toBe("10");
    expect(status).toBe(1);
  });

  test("what was expected is checked in the end", () => {
    expect(shell(`FETCH docs/deep/large - --expect sha256:${"0".repeat(64)} >/dev/null`).status).toBe(5);
  });

  test("a full device is an error", () => {
    expect(shell(`FETCH docs/deep/large - >/dev/full`).status).toBe(1);
  });
});

describe("the list of the cache", () => {
  test("is one name a line, harmless to print, with sizes and hits under --json", async () => {
    const to = ["fetch", "127.0.0.1", String(cached.port)];
    for (const name of ["line\nfeed", "docs/deep/piece"]) await runDray([...to, name, newPlace()]);
    await runDray([...to, "line\nfeed", newPlace()]);
    const plain = await runDray([...to, "list"]);
    expect(plain.code).toBe(0);
    expect(plain.stdout.trim().split("\n").sort()).toEqual(["docs/deep/piece", "line\\nfeed"]);
    const { events } = await runDray([...to, "list", "--json"]);
    expect(events.filter(({ type }) => type === "cached")).toContainEqual(
      expect.objectContaining({ path: "docs/deep/piece", sizeBytes: SIZES.piece, pins: 0 }),
    );
    expect(events.at(-1)).toMatchObject({ type: "result", files: 2 });
  });
});
