import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { HELLO, fetch } from "../property/content-stage.ts";
import type { CachedEntry } from "../../src/wire/cached-entries.ts";
import { FileServer, fetchBytes, fetchPieces } from "../support/file-server.ts";
import { IndependentClient } from "../support/independent-client.ts";
import { runDray, startDray } from "../support/process.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

let folder: TempFolder;
beforeEach(() => {
  folder = tempFolder();
});
afterEach(() => folder[Symbol.dispose]());

describe("dray fileserve HOST PORT DIR", () => {
  test("says where it listens, serves and lists, and ends with what the cache did", async () => {
    fs.mkdirSync(folder.join("docs"));
    fs.writeFileSync(folder.join("docs/a.txt"), "hello");
    await using server = await FileServer.start(folder.path);
    await using client = await IndependentClient.connect(server.port);
    expect((await client.list(".")).map(({ path }) => path)).toEqual(["docs", "docs/a.txt"]);
    for (const digest of ["xxh3", "sha256", "xxh3"] as const) {
      const { bytes } = await client.receiveFile(client.requestFile("docs/a.txt", { digest }), digest);
      expect(bytes.toString()).toBe("hello");
    }
    await client[Symbol.asyncDispose]();
    expect(await server.statistics()).toMatchObject({ hits: 2, misses: 1, bytesRead: 5, files: 1 });
    const { code, events } = await server.program.stop().then(() => server.program.finished());
    expect(code).toBe(0);
    expect(events.map(({ type }) => type)).toEqual(["listening", "statistics", "statistics"]);
  });

  test("without --json the line is for people, and the statistics are in the log", async () => {
    await using dray = startDray(["fileserve", "127.0.0.1", "0", folder.path]);
    await dray.stdoutMatch(/^Listening on 127\.0\.0\.1:\d+\n$/);
    const { code } = await dray.stop("SIGINT");
    expect(code).toBe(0);
    expect(dray.stderrText()).toMatch(/Cache: 0 requests, 0 \(0 %\) found; .* holds 0 files, 0 B of /);
    expect(dray.stdoutText().split("\n")).toHaveLength(2);
  });

  test("the seed's form is strict: too few, too many, and what cannot be are told at once", async () => {
    const few = await runDray(["fileserve", "127.0.0.1"]);
    expect(few.code).toBe(2);
    expect(few.stderr).toContain("PORT: is required (give it as argument 2");
    expect(few.stderr).toContain("DIR: is required (give it as argument 3");
    const many = await runDray(["fileserve", "127.0.0.1", "http", folder.join("none"), "x", "-p", "1"]);
    expect(many.code).toBe(2);
    expect(many.stderr).toContain('"x": unexpected argument');
    expect(many.stderr).toContain("--port: given more than once (PORT, -p)");
    expect(many.stderr).toContain("DIR: there is no directory");
  });

  test("the same as flags and as JSON", async () => {
    const config = {
      bind: "127.0.0.1",
      port: 0,
      directory: folder.path,
      cacheSize: "1MiB",
      cachePolicy: "lru",
    };
    await using dray = startDray(["fileserve", "--config", "-", "--json"], { stdin: JSON.stringify(config) });
    await dray.listening();
    await dray.stop();
    expect(dray.events.at(-1)).toMatchObject({ type: "statistics", limitBytes: MIB });
  });
});

test("CACHE lists the names with sizes, hits and pins", async () => {
  const total = makeManyFiles(folder.path, {
    seed: 1,
    count: 1_500,
    directories: 20,
    minBytes: 0,
    maxBytes: 3_000,
  });
  fs.writeFileSync(folder.join("line\nbreak, and: colon"), "odd");
  await using server = await FileServer.start(folder.path);
  const client = await server.connect();
  const names: string[] = [];
  await client.list(".", 4, (batch) => {
    for (const { kind, path } of batch) if (kind === "file") names.push(path);
  });
  for (let start = 0; start < names.length; start += 200) {
    await Promise.all(names.slice(start, start + 200).map((name) => fetchBytes(client, name)));
  }
  await fetchBytes(client, "line\nbreak, and: colon");
  const cached: CachedEntry[] = [];
  await client.cache((batch) => void cached.push(...batch));
  expect(cached.map(({ path }) => path).sort()).toEqual(names.sort());
  expect(cached.reduce((bytes, { size }) => bytes + size, 0)).toBe(total + 3);
  const odd = cached.find(({ path }) => path.startsWith("line"));
  expect(odd).toEqual({ path: "line\nbreak, and: colon", size: 3, hits: 1, pins: 0 });
});

test("a hundred clients for one cold file read it once, and one who takes a byte a second delays nobody", async () => {
  const sizeBytes = 32 * MIB;
  makeLargeFile(folder.join("cold"), { seed: 5, sizeBytes });
  fs.writeFileSync(folder.join("other"), "other");
  await using server = await FileServer.start(folder.path);

  const slow = connect({ host: "127.0.0.1", port: server.port });
  await once(slow, "connect");
  slow.write(Buffer.concat([HELLO, fetch(1, "cold")]));
  await once(slow, "readable");
  let takenBytes = 0;
  const everySecond = setInterval(() => (takenBytes += (slow.read(1) as Buffer | null)?.length ?? 0), 1_000);
  try {
    const expected = createHash("sha256")
      .update(fs.readFileSync(folder.join("cold")))
      .digest("hex");
    const clients = await Promise.all(Array.from({ length: 100 }, () => server.connect()));
    const [first, ...others] = clients;
    const digest = createHash("sha256");
    const chains = await Promise.all([
      fetchPieces(first!, "cold", (bytes) => void digest.update(bytes)),
      ...others.map((client) => fetchPieces(client, "cold", () => {})),
    ]);
    // Every client has checked every piece and the chain over them: the same chain is the same file.
    expect(new Set(chains).size).toBe(1);
    expect(digest.digest("hex")).toBe(expected);
    expect((await fetchBytes(first!, "other")).toString()).toBe("other");
    const statistics = await server.statistics();
    expect(statistics).toMatchObject({ misses: 2, hits: 100, streamed: 0, bytesRead: sizeBytes + 5 });
    // The slow one holds on to the file, and to nothing else.
    expect(statistics.pinnedBytes).toBeGreaterThan(sizeBytes);
    expect(takenBytes).toBeLessThan(1_000);
    slow.destroy();
    const letGo = async (): Promise<void> => {
      while ((await server.statistics()).pinnedBytes > 0);
    };
    await letGo();
  } finally {
    clearInterval(everySecond);
    slow.destroy();
  }
});

describe("nothing outside the directory is served", () => {
  test("by name, by link, or by a link that takes a directory's place", async () => {
    const served = folder.join("served");
    fs.mkdirSync(`${served}/docs`, { recursive: true });
    fs.writeFileSync(folder.join("secret"), "secret");
    fs.writeFileSync(`${served}/docs/secret`, "public");
    fs.symlinkSync("../secret", `${served}/link`);
    fs.symlinkSync("..", `${served}/up`);
    await using server = await FileServer.start(served);
    const codes: Record<string, number> = {
      "../secret": 10,
      "../../etc/passwd": 10,
      "/etc/passwd": 10,
      "docs/../../secret": 10,
      "docs\0": 10,
      link: 9,
      "up/secret": 9,
      docs: 9,
      ".": 9,
      ".dray/x": 4,
    };
    for (const [path, code] of Object.entries(codes)) {
      await using client = await IndependentClient.connect(server.port);
      const answer = client.receiveFile(client.requestFile(path));
      const failure = await answer.then(
        () => undefined,
        (error: unknown) => error,
      );
      expect([path, failure]).toEqual([path, expect.objectContaining({ code })]);
    }
    const client = await server.connect();
    expect((await fetchBytes(client, "docs/secret")).toString()).toBe("public");
    fs.renameSync(`${served}/docs`, folder.join("docs"));
    fs.symlinkSync("../docs", `${served}/docs`);
    expect(fetchBytes(client, "docs/secret")).rejects.toThrow("symbolic link");
  });
});

test("a file that does not fit into the cache comes from the disk, and leaves the others in", async () => {
  makeLargeFile(folder.join("large"), { seed: 6, sizeBytes: 3 * MIB });
  fs.writeFileSync(folder.join("small"), "small");
  await using server = await FileServer.start(folder.path, ["--cache-size", "2MiB"]);
  const client = await server.connect();
  await fetchBytes(client, "small");
  for (let round = 0; round < 2; round++) {
    expect((await fetchBytes(client, "large")).equals(fs.readFileSync(folder.join("large")))).toBeTrue();
  }
  await fetchBytes(client, "small");
  expect(await server.statistics()).toMatchObject({
    streamed: 2,
    misses: 1,
    hits: 1,
    bytesRead: 5,
    evictions: 0,
  });
});
