import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { MANIFEST_LIMITS, type Manifest } from "../../src/wire/manifest.ts";
import { encodeManifest } from "../../src/wire/manifest-codec.ts";
import { manifestPath, partPath, splitDirectory } from "../../src/wire/split-names.ts";
import { PartServers, type PartServersOptions } from "../support/part-servers.ts";
import { fileSha256 } from "../support/file-sha256.ts";
import { freePort } from "../support/free-port.ts";
import { runDray, startDray, startProgram } from "../support/process.ts";
import type { DrayEvent, Finished } from "../support/program.ts";
import { type TempFolder, smallFileSystem, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;
const IMPATIENT = ["--timeout", "0.2", "--patience", "0.2", "--attempts", "2"];

let folder: TempFolder;
let servers: PartServers;
beforeEach(() => {
  folder = tempFolder();
});
afterEach(async () => {
  await servers?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

async function start(options: PartServersOptions): Promise<void> {
  servers = await PartServers.start(folder.join("servers"), options);
}

/** A local file whose blocks all differ. */
function local(name: string, sizeBytes: number, seed = 1): string {
  const path = folder.join("local", name);
  makeLargeFile(path, { seed, sizeBytes });
  return path;
}

const put = (...args: string[]): Promise<Finished> => runDray(["put", "--json", ...args]);
const result = ({ events }: Finished): DrayEvent => events.at(-1)!;
const ofType = ({ events }: Finished, type: string): DrayEvent[] =>
  events.filter((event) => event.type === type);

async function sha256sum(...paths: string[]): Promise<string> {
  const { stdout } = await startProgram(["sh", "-c", 'cat -- "$@" | sha256sum', "sh", ...paths]).finished();
  return stdout.split(" ")[0]!;
}

function manifestOf(name: string, ports = servers.ports): Manifest {
  const manifests = ports.map((port) => servers.manifestOn(port, name));
  expect(manifests.every((manifest) => manifest !== undefined)).toBe(true);
  expect(new Set(manifests.map((manifest) => JSON.stringify(manifest))).size).toBe(1);
  return manifests[0]!;
}

const byNumber = (a: number, b: number): number => a - b;

/** As docs/PARTS.md says it. */
function rendezvous(root: string, part: number, ports: readonly number[]): number[] {
  const weight = (port: number): string =>
    createHash("sha256").update(`${root}/${part}/127.0.0.1:${port}`).digest("hex");
  return ports.toSorted((a, b) => (weight(a) < weight(b) ? 1 : -1));
}

/** Every part is where the manifest says, has as many copies as it shall have, and they are the file. */
async function expectPlaced(
  path: string,
  name: string,
  copies: number,
  ports = servers.ports,
): Promise<Manifest> {
  const manifest = manifestOf(name, ports);
  for (const [part] of manifest.parts.entries()) {
    const wantedPorts = rendezvous(manifest.root, part, ports).slice(0, copies).sort(byNumber);
    expect(servers.holders(manifest, part).sort(byNumber)).toEqual(wantedPorts);
    expect(
      servers
        .holdersOnDisk(name, manifest, part)
        .filter((port) => ports.includes(port))
        .sort(byNumber),
    ).toEqual(wantedPorts);
  }
  // Each run of copies, the n-th of each part, makes up the file.
  const sum = await sha256sum(path);
  expect(manifest.root).toBe(sum);
  for (let nth = 0; nth < copies; nth++) {
    const parts = manifest.parts.map((_, part) =>
      servers.pathOn(servers.holders(manifest, part)[nth]!, partPath(name, manifest, part)),
    );
    expect(await sha256sum(...parts)).toBe(sum);
    for (const [part, { sha256 }] of manifest.parts.entries())
      expect(await fileSha256(parts[part]!)).toBe(sha256);
  }
  return manifest;
}

describe("put --copies", () => {
  test("places five copies of each part on fifty servers, and the manifest on all", async () => {
    await start({ processes: 1, instances: 50 });
    const path = local("a.iso", 40 * MIB + 12_345);
    const done = await put(
      path,
      "--into",
      "in",
      "--to",
      servers.list,
      "--copies",
      "5",
      "--part-size",
      "2MiB",
    );
    expect(done.code).toBe(0);
    const manifest = await expectPlaced(path, "in/a.iso", 5);
    expect(manifest.parts).toHaveLength(21);
    expect(manifest).toMatchObject({ copies: 5, sizeBytes: 40 * MIB + 12_345, digest: "xxh3" });
    expect(manifest.mtimeUs).toBe(Math.round(statSync(path).mtimeMs * 1000));
    expect(ofType(done, "placed")).toMatchObject([
      { path: "in/a.iso", parts: 21, copies: 5, manifests: 50, short: [], sha256: manifest.root },
    ]);
    expect(ofType(done, "copy")).toHaveLength(5 * 21);
    expect(result(done)).toMatchObject({ type: "result", files: 1, failed: 0, bytesResumed: 0 });
    expect(result(done)["bytesTransferred"]).toBe(5 * (40 * MIB + 12_345));
    const told = result(done)["servers"] as { status: string; copies: number }[];
    expect(told).toHaveLength(50);
    expect(told.every(({ status }) => status === "complete")).toBe(true);
    expect(told.reduce((sum, { copies }) => sum + copies, 0)).toBe(5 * 21);
  });

  test("the same again sends nothing and changes nothing, also after a touch", async () => {
    await start({ processes: 1, instances: 6 });
    const path = local("a", 9 * MIB + 1);
    const again = (): Promise<Finished> =>
      put(path, "--to", servers.list, "--copies", "2", "--part-size", "1M");
    expect((await again()).code).toBe(0);
    const before = await expectPlaced(path, "a", 2);
    const second = await again();
    expect(second.code).toBe(0);
    // The last part has one byte: what is so small is sent rather than asked about.
    expect(result(second)).toMatchObject({ bytesTransferred: 2, bytesResumed: 18 * MIB });
    expect(await expectPlaced(path, "a", 2)).toEqual(before);
    utimesSync(path, 1_600_000_000, 1_600_000_000);
    expect(result(await again())).toMatchObject({ bytesTransferred: 2, failed: 0 });
    const touched = await expectPlaced(path, "a", 2);
    expect(touched).toEqual({ ...before, mtimeUs: 1_600_000_000_000_000, placedMs: touched.placedMs });
    expect(touched.placedMs).toBeGreaterThan(before.placedMs);
  });

  test("a new version takes the place of the old one, whose parts go to the trash", async () => {
    await start({ processes: 1, instances: 5 });
    const options = ["--to", servers.list, "--copies", "2", "--part-size", "1M"];
    const path = local("a", 5 * MIB, 1);
    expect((await put(path, ...options)).code).toBe(0);
    local("a", 3 * MIB + 7, 2);
    expect((await put(path, ...options)).code).toBe(0);
    await expectPlaced(path, "a", 2);
    const files = servers.ports.flatMap((port) => servers.filesOn(port));
    expect(files).toHaveLength(5 + 2 * 4);
    // The same bytes cut in another way are a version, too.
    expect((await put(path, ...options.slice(0, -1), "2M")).code).toBe(0);
    expect((await expectPlaced(path, "a", 2)).parts).toHaveLength(2);
    expect(servers.ports.flatMap((port) => servers.filesOn(port))).toHaveLength(5 + 2 * 2);
  });

  test("takes the place of an unsplit file, and --digest sha256 and empty files are no exception", async () => {
    await start({ processes: 1, instances: 3 });
    const path = local("a", 2 * MIB);
    expect((await runDray(["put", path, "--to", servers.list])).code).toBe(0);
    expect((await put(path, "--to", servers.list, "--copies", "2", "--digest", "sha256")).code).toBe(0);
    const manifest = await expectPlaced(path, "a", 2);
    expect(manifest.digest).toBe("sha256");
    const sums = Buffer.from(manifest.pieces).toString("hex");
    expect(sums.slice(0, 64)).toBe(
      new Bun.CryptoHasher("sha256").update(readFileSync(path).subarray(0, MIB)).digest("hex"),
    );
    for (const port of servers.ports) expect(existsSync(servers.pathOn(port, "a"))).toBe(false);
    const empty = folder.join("local/empty");
    writeFileSync(empty, "");
    expect((await put(empty, "--to", servers.list, "--copies", "2")).code).toBe(0);
    expect(manifestOf("empty")).toMatchObject({ sizeBytes: 0, parts: [], root: await sha256sum(empty) });
  });

  test("with fewer servers than copies does what is possible, says so, and ends with 3", async () => {
    await start({ processes: 1, instances: 3 });
    const path = local("a", 3 * MIB);
    const done = await put(path, "--to", servers.list, "--copies", "5", "--part-size", "1M");
    expect(done.code).toBe(3);
    await expectPlaced(path, "a", 3);
    expect(ofType(done, "placed")[0]!["short"]).toEqual([0, 1, 2].map((part) => ({ part, copies: 3 })));
    const words = await runDray(["put", path, "--to", servers.list, "--copies", "5", "--part-size", "1M"]);
    expect(words.code).toBe(3);
    expect(words.stdout).toContain("too few copies: part 0 has 3, part 1 has 3, part 2 has 3");
  });

  test("goes on without servers that are dead, and places their share on others", async () => {
    await start({ processes: 4, instances: 2 });
    await servers.kill(1);
    const alive = servers.ports.filter((port) => servers.processOf(port) !== 1);
    const path = local("a", 6 * MIB);
    const done = await put(path, "--to", servers.list, "--copies", "3", "--part-size", "1M", ...IMPATIENT);
    expect(done.code).toBe(0);
    await expectPlaced(path, "a", 3, alive);
    const told = result(done)["servers"] as { status: string; error?: string }[];
    expect(told.map(({ status }) => status).filter((status) => status === "unreachable")).toHaveLength(2);
    expect(ofType(done, "server").filter((event) => event["error"] !== undefined)).toHaveLength(2);
    expect(manifestOf("a", alive).servers).toHaveLength(6);
  });

  test("a server that dies in the middle is replaced", async () => {
    await start({ processes: 4, instances: 1 });
    const path = local("a", 96 * MIB);
    const running = startDray([
      "put",
      path,
      "--to",
      servers.list,
      "--copies",
      "2",
      "--part-size",
      "4M",
      "--json",
      ...IMPATIENT,
    ]);
    await running.event("copy");
    await servers.kill(2);
    const done = await running.finished({ timeoutMs: 60_000 });
    expect(done.code).toBe(0);
    const alive = servers.ports.filter((port) => servers.processOf(port) !== 2);
    const manifest = manifestOf("a", alive);
    for (const part of manifest.parts.keys()) {
      const living = servers.holders(manifest, part).filter((port) => alive.includes(port));
      expect(living).toHaveLength(2);
    }
  });

  test.each([
    ["SIGKILL", null],
    ["SIGINT", 130],
  ] as const)("ended by %s and started again sends only what is missing", async (signal, code) => {
    await start({ processes: 1, instances: 4 });
    const path = local("a", 192 * MIB);
    const options = [path, "--to", servers.list, "--copies", "2", "--part-size", "8M"];
    const first = startDray(["put", ...options, "--json"]);
    await first.waitFor(() => first.events.filter(({ type }) => type === "copy").length >= 8, {
      what: "eight copies",
    });
    expect((await first.stop(signal)).code).toBe(code);
    const before = first.events.filter(({ type }) => type === "copy").length;
    expect(servers.ports.some((port) => servers.manifestOn(port, "a") !== undefined)).toBe(false);
    const second = await put(...options);
    expect(second.code).toBe(0);
    const { bytesTransferred, bytesResumed } = result(second) as unknown as Record<string, number>;
    expect(bytesResumed).toBeGreaterThanOrEqual(before * 8 * MIB);
    expect(bytesTransferred! + bytesResumed!).toBe(2 * 192 * MIB);
    await expectPlaced(path, "a", 2);
  });

  test("copies of an interrupted put that have rotted since are sent again", async () => {
    await start({ processes: 1, instances: 3 });
    const path = local("a", 4 * MIB);
    const options = [path, "--to", servers.list, "--copies", "2", "--part-size", "1M"];
    expect((await put(...options)).code).toBe(0);
    const manifest = manifestOf("a");
    const damaged = servers.pathOn(servers.holders(manifest, 1)[0]!, partPath("a", manifest, 1));
    flipBit(damaged, 777_777);
    const again = await put(...options);
    expect(again.code).toBe(0);
    expect(ofType(again, "rotten")).toHaveLength(1);
    expect(result(again)["bytesTransferred"]).toBe(MIB);
    await expectPlaced(path, "a", 2);
  });

  test("a file that changes while it is put is given up, and no manifest speaks of it", async () => {
    await start({ processes: 1, instances: 3 });
    const path = local("a", 128 * MIB);
    const options = ["put", path, "--to", servers.list, "--copies", "2", "--part-size", "4M", "--json"];
    const running = startDray(options);
    await running.event("copy");
    appendFileSync(path, "more");
    const done = await running.finished();
    expect(done.code).toBe(5);
    expect(ofType(done, "failure")).toMatchObject([{ file: path, code: "changed" }]);
    for (const port of servers.ports) expect(servers.manifestOn(port, "a")).toBeUndefined();
    expect((await put(...options.slice(1, -1))).code).toBe(0);
    await expectPlaced(path, "a", 2);
  });

  test("a file of somebody else's name is refused, and nothing of ours is left", async () => {
    writeFileSync(folder.join("tokens"), "alice:secret-of-alice\nbob:secret-of-bob\n", { mode: 0o600 });
    for (const name of ["alice", "bob"])
      writeFileSync(folder.join(name), `${name}:secret-of-${name}\n`, { mode: 0o600 });
    await start({ processes: 1, instances: 3, flags: ["--token-file", folder.join("tokens")] });
    const [ours, theirs] = [local("a", 3 * MIB, 1), local("b", 2 * MIB, 2)];
    const to = ["--to", servers.list, "--copies", "2", "--part-size", "1M", "--as", "x"];
    expect((await put(ours, ...to, "--token-file", folder.join("alice"))).code).toBe(0);
    const before = servers.ports.map((port) => servers.filesOn(port));
    const refused = await put(theirs, ...to, "--token-file", folder.join("bob"));
    expect(refused.code).toBe(6);
    expect(refused.stderr + JSON.stringify(refused.events)).toContain("belongs to");
    expect(servers.ports.map((port) => servers.filesOn(port))).toEqual(before);
    await expectPlaced(ours, "x", 2);
    expect((await put(theirs, ...to)).code).toBe(6);
  });

  test("a manifest that would count for ever, and one that is none, are told", async () => {
    await start({ processes: 1, instances: 2 });
    const path = local("a", 2 * MIB);
    const split = ["--to", servers.list, "--copies", "2", "--as", "x"];
    expect((await put(path, ...split)).code).toBe(0);
    const forged = folder.join("local/forged");
    writeFileSync(
      forged,
      encodeManifest({ ...manifestOf("x"), placedMs: MANIFEST_LIMITS.placedMs, mode: 0 }),
    );
    const onOne = ["--as", manifestPath("x"), "--to", servers.names()[0]!];
    expect((await put(forged, ...onOne)).code).toBe(0);
    const refused = await put(path, ...split);
    expect(refused.code).toBe(6);
    expect(JSON.stringify(result(refused))).toContain("after which none can come");
    // One that nobody can read is no version, and in nobody's way.
    writeFileSync(forged, "nonsense");
    expect((await put(forged, ...onOne)).code).toBe(0);
    expect((await runDray(["ls", "x", "--on", servers.names()[0]!])).code).toBe(5);
    expect((await put(path, ...split)).code).toBe(0);
    await expectPlaced(path, "x", 2);
  });

  test("several files and directories, and what cannot be put", async () => {
    await start({ processes: 1, instances: 3 });
    local("tree/a", 2 * MIB, 1);
    local("tree/sub/b", 100_000, 2);
    const done = await put(
      "-r",
      folder.join("local/tree"),
      folder.join("local/missing"),
      "--to",
      servers.list,
      "--copies",
      "2",
    );
    expect(done.code).toBe(3);
    await expectPlaced(folder.join("local/tree/a"), "tree/a", 2);
    await expectPlaced(folder.join("local/tree/sub/b"), "tree/sub/b", 2);
    expect(ofType(done, "failure")).toMatchObject([
      { file: folder.join("local/missing"), code: "not-found" },
    ]);
    const named = await put(
      folder.join("local/tree/a"),
      "--as",
      "x.dray-parts",
      "--to",
      servers.list,
      "--copies",
      "2",
    );
    expect(named.code).toBe(6);
    const gone = `127.0.0.1:${await freePort()}`;
    expect((await put(folder.join("local/tree/a"), "--to", gone, "--copies", "1", ...IMPATIENT)).code).toBe(
      7,
    );
    for (const args of [
      ["--part-size", "1M"],
      ["--repair", "--as", "x"],
      ["--copies", "0"],
      ["--copies", "65"],
    ])
      expect((await put(folder.join("local/tree/a"), "--to", gone, ...args)).code).toBe(2);
  });
});

function flipBit(path: string, offset: number): void {
  const { atime, mtime } = statSync(path);
  const byte = readFileSync(path)[offset]!;
  const file = openSync(path, "r+");
  writeSync(file, Uint8Array.of(byte ^ 4), 0, 1, offset);
  closeSync(file);
  utimesSync(path, atime, mtime);
}

describe("put --repair", () => {
  const OPTIONS = ["--copies", "3", "--part-size", "1M"];

  async function place(instances: number, sizeBytes = 8 * MIB): Promise<string> {
    await start({ processes: instances, instances: 1 });
    const path = local("a", sizeBytes);
    expect((await put(path, "--to", servers.list, ...OPTIONS)).code).toBe(0);
    return path;
  }
  const repair = (to = servers.list, ...more: string[]): Promise<Finished> =>
    put("--repair", "a", "--to", to, ...more, ...IMPATIENT);

  test("of a file that is well does nothing", async () => {
    const path = await place(4);
    const before = manifestOf("a");
    const done = await repair();
    expect(done.code).toBe(0);
    expect(ofType(done, "repaired")).toMatchObject([
      { good: 24, rotten: 0, restored: 0, removed: 0, short: [] },
    ]);
    expect(result(done)["bytesTransferred"]).toBe(0);
    expect(await expectPlaced(path, "a", 3)).toEqual(before);
  });

  test("restores copies that are gone, and those whose bits have flipped", async () => {
    const path = await place(5);
    const manifest = manifestOf("a");
    rmSync(servers.pathOn(servers.holders(manifest, 0)[0]!, partPath("a", manifest, 0)));
    rmSync(servers.pathOn(servers.holders(manifest, 0)[1]!, partPath("a", manifest, 0)));
    flipBit(servers.pathOn(servers.holders(manifest, 3)[2]!, partPath("a", manifest, 3)), 1_000_000);
    flipBit(servers.pathOn(servers.ports[1]!, manifestPath("a")), 50);
    rmSync(servers.pathOn(servers.ports[2]!, manifestPath("a")));
    const done = await repair();
    expect(done.code).toBe(0);
    expect(ofType(done, "repaired")).toMatchObject([{ good: 21, rotten: 1, restored: 3, short: [] }]);
    expect(result(done)["bytesTransferred"]).toBe(3 * MIB);
    expect(await expectPlaced(path, "a", 3)).toEqual(manifest);
  });

  test("gives a new server its share, and takes it from where it was", async () => {
    const path = await place(5);
    const [added, ...old] = servers.ports;
    // As if the first server were new: the others are the whole world before.
    expect((await runDray(["rm", "a", "--on", servers.list])).code).toBe(0);
    expect((await put(path, "--to", servers.names(old).join(","), ...OPTIONS)).code).toBe(0);
    const before = manifestOf("a", old);
    const done = await repair();
    expect(done.code).toBe(0);
    const after = await expectPlaced(path, "a", 3);
    const gained = after.parts.filter((_, part) => servers.holders(after, part).includes(added!)).length;
    expect(gained).toBeGreaterThan(0);
    expect(gained).toBeLessThan(8);
    expect(ofType(done, "repaired")).toMatchObject([{ restored: gained, removed: gained }]);
    expect(after.placedMs).toBeGreaterThan(before.placedMs);
  });

  test("does without a dead server, whose copies count again when it is back", async () => {
    const path = await place(5);
    await servers.kill(0);
    const alive = servers.ports.slice(1);
    const done = await repair();
    expect(done.code).toBe(0);
    const manifest = manifestOf("a", alive);
    for (const part of manifest.parts.keys()) {
      const living = servers.holders(manifest, part).filter((port) => alive.includes(port));
      expect(living).toHaveLength(3);
    }
    await servers.startProcess(0);
    const back = await repair();
    expect(back.code).toBe(0);
    expect(result(back)["bytesTransferred"]).toBe(0);
    await expectPlaced(path, "a", 3);
  });

  test("names the parts of which no good copy is left, and makes the rest whole", async () => {
    const path = await place(4);
    const manifest = manifestOf("a");
    for (const port of servers.holders(manifest, 2)) rmSync(servers.pathOn(port, partPath("a", manifest, 2)));
    for (const port of servers.holders(manifest, 5).slice(1))
      rmSync(servers.pathOn(port, partPath("a", manifest, 5)));
    const done = await repair();
    expect(done.code).toBe(3);
    expect(ofType(done, "repaired")[0]!["short"]).toEqual([{ part: 2, copies: 0 }]);
    const after = manifestOf("a");
    expect(servers.holders(after, 5)).toHaveLength(3);
    // The file itself brings back what is lost.
    expect((await put(path, "--to", servers.list, ...OPTIONS)).code).toBe(0);
    await expectPlaced(path, "a", 3);
  });

  test("changes the number of copies, and tidies up behind interrupted puts", async () => {
    const path = await place(5);
    mkdirSync(servers.pathOn(servers.ports[0]!, `${splitDirectory("a")}/0123456789abcdef-1`), {
      recursive: true,
    });
    const other = local("other", 2 * MIB, 9);
    expect(
      (
        await runDray([
          "put",
          other,
          "--as",
          `${splitDirectory("a")}/0123456789abcdef-1/0`,
          "--to",
          servers.list,
        ])
      ).code,
    ).toBe(0);
    const done = await repair(servers.list, "--copies", "2");
    expect(done.code).toBe(0);
    expect(ofType(done, "repaired")).toMatchObject([{ copies: 2, restored: 0, removed: 8 + 5 }]);
    await expectPlaced(path, "a", 2);
    const grown = await repair(servers.list, "--copies", "4");
    expect(grown.code).toBe(0);
    await expectPlaced(path, "a", 4);
  });

  test("without room for temp files blames no server, and changes nothing", async () => {
    const path = await place(4);
    using small = smallFileSystem(MIB / 2);
    if (small === undefined) return;
    const manifest = manifestOf("a");
    rmSync(servers.pathOn(servers.holders(manifest, 0)[0]!, partPath("a", manifest, 0)));
    const args = ["put", "--repair", "a", "--to", servers.list];
    const failed = await runDray(args, { env: { TMPDIR: small.path } });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain("no space left");
    expect(manifestOf("a")).toEqual(manifest);
    expect(readdirSync(small.path)).toEqual([]);
    expect((await repair()).code).toBe(0);
    await expectPlaced(path, "a", 3);
  });

  test("of what is not there ends with 4, of servers that are not with 7", async () => {
    await start({ processes: 1, instances: 2 });
    expect((await repair()).code).toBe(4);
    expect((await repair(`127.0.0.1:${await freePort()}`)).code).toBe(7);
  });
});

describe("rm, mv and ls of split files", () => {
  beforeEach(async () => {
    await start({ processes: 1, instances: 3 });
    copyFileSync(local("a", 3 * MIB), folder.join("local/plain"));
    expect(
      (
        await put(
          folder.join("local/a"),
          "--into",
          "d",
          "--to",
          servers.list,
          "--copies",
          "2",
          "--part-size",
          "1M",
        )
      ).code,
    ).toBe(0);
    expect(
      (await runDray(["put", folder.join("local/plain"), "--into", "d", "--to", servers.list])).code,
    ).toBe(0);
  });
  const dray = (...args: string[]): Promise<Finished> => runDray(args);

  test("ls shows one file of the whole size, and all of it with --all", async () => {
    const [one] = servers.names();
    expect((await dray("ls", "d", "--on", one!)).stdout).toBe("a\nplain\n");
    expect((await dray("ls", "-r", "--on", one!)).stdout.split("\n").sort()).toEqual([
      "",
      "d/",
      "d/a",
      "d/plain",
    ]);
    expect((await dray("ls", "d", "-l", "--on", one!)).stdout).toMatch(
      /^ +3145728 \d{4}-.* a\n +3145728 .* plain\n$/,
    );
    expect((await dray("ls", "d/a", "--on", one!)).stdout).toBe("d/a\n");
    const json = await dray("ls", "d", "--json", "--on", one!);
    expect(json.events.find((event) => event["path"] === "d/a")).toMatchObject({
      ...{ type: "entry", kind: "file", sizeBytes: 3 * MIB, parts: 3, copies: 2 },
      sha256: await sha256sum(folder.join("local/a")),
    });
    const all = (await dray("ls", "-r", "--all", "--on", one!)).stdout;
    expect(all).toContain("d/a.dray-parts/manifest\n");
    expect(all).not.toContain("d/a\n");
    expect((await dray("ls", "d/a.dray-parts", "--on", one!)).stdout).toContain("manifest\n");
    expect((await dray("ls", "d/b", "--on", one!)).code).toBe(4);
  });

  test("ls shows an unsplit file that was put later, once", async () => {
    const [one] = servers.names();
    expect((await runDray(["put", folder.join("local/plain"), "--as", "d/a", "--to", one!])).code).toBe(0);
    expect((await dray("ls", "d", "--on", one!)).stdout).toBe("a\nplain\n");
    expect((await dray("rm", "d/a", "--on", one!)).code).toBe(0);
    expect((await dray("ls", "d", "--on", one!)).stdout).toBe("plain\n");
  });

  test("mv renames it on all its servers, rm removes it", async () => {
    const before = manifestOf("d/a");
    const part = await dray("mv", "d/a", "e/b", "--on", servers.names()[0]!);
    expect(part.code).toBe(6);
    expect(part.stderr).toContain("name all its servers");
    expect((await dray("mv", "d/a", "d/plain", "--on", servers.list)).code).toBe(6);
    expect((await dray("mv", "d/plain", "d/a", "--on", servers.list)).code).toBe(6);
    expect((await dray("mv", "d/a", "e/b", "--on", servers.list)).code).toBe(0);
    expect(await expectPlaced(folder.join("local/a"), "e/b", 2)).toEqual(before);
    expect((await dray("mv", "d/a", "e/c", "--on", servers.list)).code).toBe(4);
    const rm = await dray("rm", "e/b", "--on", servers.list, "--json");
    expect(rm.code).toBe(0);
    for (const port of servers.ports) expect(servers.filesOn(port)).toEqual(["d/plain"]);
    expect((await dray("rm", "e/b", "--on", servers.list)).code).toBe(4);
    expect((await dray("ls", "e", "--on", servers.names()[0]!)).stdout).toBe("");
  });
});
