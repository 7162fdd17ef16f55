import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { CACHE_PIECE_BYTES, entryCost } from "../../src/fileserve/cache-entry.ts";
import { CachedFetch } from "../../src/fileserve/cached-fetch.ts";
import { type CacheUse, FileCache } from "../../src/fileserve/file-cache.ts";
import { restNeededMs } from "../../src/disk/file-rest.ts";
import { hidesState } from "../../src/disk/own-state.ts";
import { LruQueue } from "../../src/fileserve/lru-queue.ts";
import { TO_END } from "../../src/wire/messages.ts";
import { Answering, failureOf } from "../support/responder-answer.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const LARGE_BYTES = 10 * CACHE_PIECE_BYTES;
const LIMIT_BYTES = 3 * LARGE_BYTES;

let folder: TempFolder;
let root: ContainedRoot;
let cache: FileCache;
beforeEach(() => {
  folder = tempFolder();
  fs.mkdirSync(folder.join("docs"));
  fs.writeFileSync(folder.join("docs/small"), "small");
  fs.writeFileSync(folder.join("large"), Buffer.alloc(LARGE_BYTES, "large"));
  root = new ContainedRoot(folder.path);
  cache = new FileCache(root, LIMIT_BYTES, new LruQueue(), () => Date.now() + 60_000);
});
afterEach(() => {
  root.close();
  folder[Symbol.dispose]();
});

function open(path: string): CacheUse {
  const found = cache.open(path.split("/"));
  if (!("use" in found) || found.use === undefined) throw new Error(`${path} is not from the cache`);
  return found.use;
}

/** Bytes of a range, a piece at a time and waiting for them, as an answer does. */
async function bytes(use: CacheUse, offset: number, length: number): Promise<string> {
  let text = "";
  while (text.length < length) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const pieceBytes = Math.min(CACHE_PIECE_BYTES, length - text.length);
    const view = use.bytes(offset + text.length, pieceBytes, offset + length, resolve);
    if (view === undefined) await promise;
    else text += Buffer.from(view).toString("latin1");
  }
  return text;
}

function fetch(path: string): Answering {
  const order = { path, offset: 0, length: TO_END, digest: "xxh3" } as const;
  return new Answering((wake) => new CachedFetch({ root, cache, hides: hidesState }, order, 1, wake));
}

const ignore = (): void => {};

describe("single flight", () => {
  test("a hundred that ask at once for a file read it once and get one buffer's bytes", async () => {
    const uses = Array.from({ length: 100 }, () => open("large"));
    const all = await Promise.all(uses.map((use) => bytes(use, 0, LARGE_BYTES)));
    expect(new Set(all)).toEqual(new Set([fs.readFileSync(folder.join("large"), "latin1")]));
    expect(cache.statistics).toMatchObject({ hits: 99, misses: 1, bytesRead: LARGE_BYTES, files: 1 });
    expect(cache.statistics.pinnedBytes).toBe(cache.statistics.bytes);
    for (const use of uses) use.release(ignore);
    expect(cache.statistics.pinnedBytes).toBe(0);
  });

  test("who comes later gets what is there at once, and the rest as it comes", async () => {
    const first = open("large");
    await bytes(first, 0, CACHE_PIECE_BYTES);
    const second = open("large");
    expect(second.bytes(0, CACHE_PIECE_BYTES, CACHE_PIECE_BYTES, ignore)).toBeDefined();
    expect(second.bytes(9 * CACHE_PIECE_BYTES, 1, LARGE_BYTES, ignore)).toBeUndefined();
    await bytes(second, 0, LARGE_BYTES);
    expect(cache.statistics.bytesRead).toBe(LARGE_BYTES);
  });

  test("a range reads only its pieces, and a file that nobody finished is gone on with later", async () => {
    const first = open("large");
    await bytes(first, 5 * CACHE_PIECE_BYTES + 1, 10);
    expect(cache.statistics.bytesRead).toBe(CACHE_PIECE_BYTES);
    first.release(ignore);
    const second = open("large");
    await bytes(second, 4 * CACHE_PIECE_BYTES, 3 * CACHE_PIECE_BYTES);
    expect(cache.statistics).toMatchObject({ bytesRead: 3 * CACHE_PIECE_BYTES, misses: 1, hits: 1 });
  });

  test("descriptors are open only as long as somebody needs more of the file", async () => {
    const isOpen = (): boolean =>
      fs.readdirSync("/proc/self/fd").some((fd) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${fd}`) === folder.join("large");
        } catch {
          return false; // that of the listing itself
        }
      });
    const use = open("large");
    await bytes(use, 0, CACHE_PIECE_BYTES);
    expect(isOpen()).toBeTrue();
    use.release(ignore);
    expect(isOpen()).toBeFalse();
    const again = open("large");
    await bytes(again, 0, LARGE_BYTES);
    expect(isOpen()).toBeFalse();
  });
});

describe("a file that changes", () => {
  const changes: [string, () => void][] = [
    ["is written to", () => fs.writeSync(fs.openSync(folder.join("large"), "r+"), "X", LARGE_BYTES - 1)],
    ["becomes shorter", () => fs.truncateSync(folder.join("large"), 10)],
    ["grows", () => fs.appendFileSync(folder.join("large"), "X")],
  ];
  test.each(changes)("%s while it is read: an error for all who need more, then anew", async (_, change) => {
    const [first, second] = [open("large"), open("large")];
    await bytes(first, 0, CACHE_PIECE_BYTES);
    await Bun.sleep(30); // the file system's clock goes in ticks
    change();
    const need = (use: CacheUse): Promise<string> => bytes(use, 9 * CACHE_PIECE_BYTES, CACHE_PIECE_BYTES);
    expect(await failureOf(need(first))).toBe("changed");
    expect(await failureOf(need(second))).toBe("changed");
    const anew = open("large");
    const { sizeBytes } = anew.facts;
    expect(await bytes(anew, 0, sizeBytes)).toBe(fs.readFileSync(folder.join("large"), "latin1"));
    for (const use of [first, second, anew]) use.release(ignore);
    expect(cache.statistics).toMatchObject({
      files: 1,
      pinnedBytes: 0,
      bytes: entryCost("large", sizeBytes),
    });
  });

  test("is replaced: who has the old one keeps it, who asks next gets the new one, both from memory", async () => {
    const old = open("large");
    const before = await bytes(old, 0, LARGE_BYTES);
    fs.writeFileSync(folder.join("new"), "new");
    fs.renameSync(folder.join("new"), folder.join("large"));
    const current = open("large");
    expect(await bytes(current, 0, 3)).toBe("new");
    expect(await bytes(old, 0, LARGE_BYTES)).toBe(before);
    expect(cache.statistics.files).toBe(1);
    expect(cache.statistics.bytes).toBe(entryCost("large", LARGE_BYTES) + entryCost("large", 3));
    old.release(ignore);
    expect(cache.statistics.bytes).toBe(entryCost("large", 3));
  });

  test("is replaced before its first byte is read: an error, nothing mixed", async () => {
    const use = open("large");
    fs.writeFileSync(folder.join("new"), Buffer.alloc(LARGE_BYTES, "new"));
    fs.renameSync(folder.join("new"), folder.join("large"));
    expect(await failureOf(bytes(use, 0, 10))).toBe("changed");
  });

  test("and keeps its size, replaced or written to, is noticed by its inode and its times", async () => {
    expect((await fetch("docs/small").toEnd()).toString("latin1")).toContain("small");
    fs.writeFileSync(folder.join("new"), "other");
    const { atime, mtime } = fs.statSync(folder.join("docs/small"));
    fs.utimesSync(folder.join("new"), atime, mtime);
    fs.renameSync(folder.join("new"), folder.join("docs/small"));
    expect((await fetch("docs/small").toEnd()).toString("latin1")).toContain("other");
    await Bun.sleep(30); // the file system's clock goes in ticks
    fs.writeFileSync(folder.join("docs/small"), "third");
    fs.utimesSync(folder.join("docs/small"), atime, mtime);
    expect((await fetch("docs/small").toEnd()).toString("latin1")).toContain("third");
    expect(cache.statistics).toMatchObject({ misses: 3, hits: 0, files: 1 });
  });

  test("goes with its whole directory, or comes back behind a link: never served from memory", async () => {
    await fetch("docs/small").toEnd();
    expect(cache.statistics.files).toBe(1);
    fs.renameSync(folder.join("docs"), folder.join("moved"));
    expect(await failureOf(fetch("docs/small").toEnd())).toBe("not-found");
    expect(cache.statistics.files).toBe(0);
    await fetch("moved/small").toEnd();
    fs.renameSync(folder.join("moved"), folder.join("other"));
    fs.symlinkSync("other", folder.join("moved"));
    expect(await failureOf(fetch("moved/small").toEnd())).toBe("refused");
    fs.renameSync(folder.join("other/small"), folder.join("real"));
    fs.symlinkSync("real", folder.join("file-link"));
    expect(await failureOf(fetch("file-link").toEnd())).toBe("refused");
  });
});

describe("a file that was just written", () => {
  test("rests until the clock of the file system has moved on, and is sent then", async () => {
    cache = new FileCache(root, LIMIT_BYTES, new LruQueue());
    fs.writeFileSync(folder.join("fresh"), "fresh");
    const answer = fetch("fresh");
    expect(answer.step()).toBe("waiting");
    await answer.woken();
    expect((await answer.toEnd()).toString("latin1")).toContain("fresh");
    expect(cache.statistics).toMatchObject({ misses: 1, streamed: 0 });
  });

  test("again and again is sent from the disk, past the cache", async () => {
    cache = new FileCache(root, LIMIT_BYTES, new LruQueue());
    fs.writeFileSync(folder.join("fresh"), "fresh");
    const answer = fetch("fresh");
    expect(answer.step()).toBe("waiting");
    fs.writeFileSync(folder.join("fresh"), "fresher");
    await answer.woken();
    expect((await answer.toEnd()).toString("latin1")).toContain("fresher");
    expect(cache.statistics).toMatchObject({ misses: 0, streamed: 1, files: 0 });
  });

  test("needs no rest once its times are older than a tick, of whatever length", () => {
    const facts = (ctimeMs: number): Parameters<typeof restNeededMs>[0] => ({
      kind: "file",
      sizeBytes: 1,
      mtimeUs: 0,
      mode: 0o644,
      ctimeMs,
      inode: 1,
      device: 1,
    });
    expect(restNeededMs(facts(1_000_000.25), 1_000_020.25)).toBe(0);
    expect(restNeededMs(facts(1_000_000.25), 1_000_005.25)).toBe(15);
    expect(restNeededMs(facts(1_000_000.25), 900_000)).toBe(20);
    // A file system that counts in seconds.
    expect(restNeededMs(facts(1_000_000), 1_000_100)).toBe(1_950);
    expect(restNeededMs(facts(1_000_000), 1_002_050)).toBe(0);
  });
});

test("what is hidden, not there, no file, or outside is not to be had", async () => {
  fs.mkdirSync(folder.join(".dray"));
  fs.writeFileSync(folder.join(".dray/secret"), "secret");
  const asked = { ".dray/secret": "not-found", ".dray": "not-found", missing: "not-found", docs: "refused" };
  for (const [path, code] of Object.entries(asked)) expect(await failureOf(fetch(path).toEnd())).toBe(code);
  for (const path of ["../large", "/etc/passwd", ""])
    expect(await failureOf(fetch(path).toEnd())).toBe("name");
  expect(await failureOf(fetch(".").toEnd())).toBe("refused");
  expect(cache.statistics).toMatchObject({ files: 0, bytes: 0 });
});

test("other spellings of a name are the same file", async () => {
  for (const path of ["docs/small", "./docs//small", "docs/./small"]) await fetch(path).toEnd();
  expect(cache.statistics).toMatchObject({ hits: 2, misses: 1, files: 1 });
});
