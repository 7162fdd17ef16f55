import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Link, OpenFile, RunningDigest } from "../../src/sync/ports.ts";
import { serveControl, askControl } from "../../src/sync/real-control.ts";
import { RealHasher } from "../../src/sync/real-hasher.ts";
import { realClock } from "../../src/sync/real-clock.ts";
import { DrayError } from "../../src/errors/dray-error.ts";
import { RealLedger } from "../../src/sync/real-ledger.ts";
import { realNetwork } from "../../src/sync/real-network.ts";
import { openRealPorts } from "../../src/sync/real-ports.ts";
import { RealTree } from "../../src/sync/real-tree.ts";
import { RealWatcher } from "../../src/sync/real-watcher.ts";
import { THREAD_URL } from "../../src/thread-url.ts";
import { SimulatedWorld } from "../support/sync-ports.ts";
import { tempFolder } from "../support/temp.ts";
import { Condition } from "../support/wait.ts";

const cleanups: (() => void)[] = [];
afterEach(() =>
  cleanups
    .splice(0)
    .toReversed()
    .forEach((cleanup) => cleanup()),
);

function folder(): string {
  const temp = tempFolder();
  cleanups.push(() => temp[Symbol.dispose]());
  return temp.path;
}

/** Of all files that this process has open. */
function openInodes(): bigint[] {
  return fs.readdirSync("/proc/self/fd").flatMap((descriptor) => {
    const stats = fs.statSync(`/proc/self/fd/${descriptor}`, { bigint: true, throwIfNoEntry: false });
    return stats === undefined ? [] : [stats.ino];
  });
}

const md5 = (bytes: Uint8Array): string => new Bun.CryptoHasher("md5").update(bytes).digest("hex");
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const filled = (sizeBytes: number, seed = 7): Uint8Array =>
  Uint8Array.from({ length: sizeBytes }, (_, index) => (index * seed + (index >> 8)) & 0xff);

describe("the hasher", () => {
  function stage(content: Uint8Array): { hasher: RealHasher; file: OpenFile } {
    const tree = new RealTree(folder());
    const hasher = new RealHasher(THREAD_URL, 2);
    const file = tree.create(["f"]);
    file.write(content, 0);
    cleanups.push(() => (hasher.close(), file.close(), tree.close()));
    return { hasher, file };
  }

  test.each([0, 1, 65_536, 65_537, 3_000_000])(
    "sums %d bytes, given as bytes or as ranges of a file",
    async (size) => {
      const content = filled(size);
      const { hasher, file } = stage(content);
      const [ofBytes, ofRanges] = [hasher.begin(), hasher.begin()];
      for (let from = 0; from < size; from += 100_000) {
        const length = Math.min(100_000, size - from);
        ofBytes.add(content.subarray(from, from + length));
        ofRanges.addRange(file, from, length);
      }
      expect(hex(await ofBytes.digest())).toBe(md5(content));
      expect(hex(await ofRanges.digest())).toBe(md5(content));
      expect([ofBytes.pendingBytes, ofRanges.pendingBytes]).toEqual([0, 0]);
      ofBytes.close();
      ofRanges.close();
    },
  );

  test("answers in between, in order, while more is added", async () => {
    const content = filled(900_000);
    const { hasher, file } = stage(content);
    const digest = hasher.begin();
    const answers: Promise<Uint8Array>[] = [];
    for (let from = 0; from < 900_000; from += 30_000) {
      digest.addRange(file, from, 30_000);
      answers.push(digest.digest());
    }
    for (const [index, answer] of (await Promise.all(answers)).entries())
      expect(hex(answer)).toBe(md5(content.subarray(0, (index + 1) * 30_000)));
    digest.close();
  });

  test("reads files that are closed meanwhile, and lets go of them", async () => {
    const { hasher, file } = stage(filled(20_000_000, 3));
    const digests: RunningDigest[] = [hasher.begin(), hasher.begin(), hasher.begin()];
    for (const digest of digests) digest.addRange(file, 0, 20_000_000);
    const { inode } = file.stat();
    file.close();
    const sums = await Promise.all(digests.map((digest) => digest.digest()));
    expect(new Set(sums.map(hex)).size).toBe(1);
    digests.forEach((digest) => digest.close());
    expect(openInodes()).not.toContain(inode);
  });

  test.each([1_000, 200_000])("says that a file of %d bytes is shorter than its range", async (size) => {
    const { hasher, file } = stage(filled(size));
    const digest = hasher.begin();
    digest.addRange(file, 0, size + 1);
    expect(digest.digest()).rejects.toMatchObject({ code: "changed" });
    await digest.digest().catch(() => {});
    digest.close();
    expect(digest.digest()).rejects.toMatchObject({ code: "interrupted" });
  });

  test("ends what waits when it is closed", async () => {
    const { hasher, file } = stage(filled(10_000_000));
    const digest = hasher.begin();
    digest.addRange(file, 0, 10_000_000);
    const waiting = digest.digest();
    hasher.close();
    expect(waiting).rejects.toMatchObject({ code: "interrupted" });
  });
});

describe("the ledger", () => {
  const open = (path: string, setAside = (): void => {}): RealLedger => {
    const ledger = new RealLedger(path, setAside);
    cleanups.push(() => ledger.close());
    return ledger;
  };

  test("is like the simulated one", async () => {
    const path = join(folder(), "sync.db");
    const world = new SimulatedWorld(1);
    const simulated = world.machine("10.0.0.1").boot().ledger;
    const real = open(path);
    const put = async (...rows: [string, string, string | undefined][]): Promise<void> => {
      const changes = rows.map(([table, key, value]) => ({ table, key, value }));
      world.clock.settled(simulated.put(changes));
      await real.put(changes);
    };
    const same = (): void => {
      for (const table of ["a", "b", "none"])
        expect([...real.rows(table)]).toEqual([...simulated.rows(table)]);
    };
    await put(
      ["a", "x", "1"],
      ["a", "é", "2"],
      ["a", "Z", "3"],
      ["b", "x", ""],
      ["a", "\u{1F600}", "4"],
      ["a", "\u{FFFD}", "5"],
    );
    same();
    await put(["a", "x", undefined], ["a", "Z", "33"], ["b", "none", undefined]);
    same();
    for (let index = 0; index < 1200; index++) void put(["b", `${index}`, "v"]);
    await put(["b", "last", "v"]);
    same();
    expect([real.get("a", "Z"), real.get("a", "x"), real.get("none", "x")]).toEqual([
      "33",
      undefined,
      undefined,
    ]);
    expect(real.isSetAside).toBe(false);
  });

  test("is there for the next one, and tells at once what was put", async () => {
    const path = join(folder(), "sync.db");
    const first = open(path);
    const put = first.put([{ table: "t", key: "k", value: "v" }]);
    expect(first.get("t", "k")).toBe("v");
    await put;
    first.close();
    expect(open(path).get("t", "k")).toBe("v");
  });

  test("keeps what nobody waited for when it is closed, and what is put behind that fails", async () => {
    const path = join(folder(), "sync.db");
    const first = open(path);
    const puts = [1, 2, 3].map((number) => first.put([{ table: "t", key: `${number}`, value: "v" }]));
    first.close();
    await Promise.all(puts);
    await expect(first.put([{ table: "t", key: "4", value: "v" }])).rejects.toThrow(DrayError);
    expect([...open(path).rows("t")].map(([key]) => key)).toEqual(["1", "2", "3"]);
  });

  test("that is damaged is set aside", () => {
    const path = join(folder(), "sync.db");
    fs.writeFileSync(path, "no database at all, but long enough to be looked at");
    let told = 0;
    expect(open(path, () => void told++).isSetAside).toBe(true);
    expect(told).toBe(1);
  });
});

describe("links", () => {
  async function connected(): Promise<{ client: Link; server: Link; log: string[]; changed: Condition }> {
    const log: string[] = [];
    const changed = new Condition();
    const note = (text: string): void => {
      log.push(text);
      changed.changed();
    };
    const listening = (name: string) => ({
      data: (bytes: Uint8Array) => note(`${name} ${Buffer.from(bytes).toString()}`),
      drained: () => {},
      ended: () => note(`${name} ended`),
      closed: () => note(`${name} closed`),
    });
    const accepted = Promise.withResolvers<Link>();
    const listener = realNetwork.listen("127.0.0.1", 0, (link) => {
      link.attach(listening("server"));
      accepted.resolve(link);
    });
    cleanups.push(() => listener.stop());
    const client = await realNetwork.dial({ host: "127.0.0.1", port: listener.port }, 5_000, (link) => {
      link.attach(listening("client"));
      return link;
    });
    const server = await accepted.promise;
    cleanups.push(() => (client.terminate(), server.terminate()));
    return { client, server, log, changed };
  }

  const has = (log: string[], entry: string) => (): true | undefined =>
    log.includes(entry) ? true : undefined;

  test("a peer that ended its side is still answered", async () => {
    const { client, server, log, changed } = await connected();
    client.end();
    await changed.until(has(log, "server ended"), () => log.join());
    server.write(Buffer.from("answer"));
    server.end();
    await changed.until(has(log, "client answer"), () => log.join());
    await changed.until(has(log, "client closed"), () => log.join());
  });

  test("a paused link delivers nothing, holds its peer up, and goes on where it was", async () => {
    const { client, server } = await connected();
    let received = 0;
    const changed = new Condition();
    server.attach({
      data: (bytes) => {
        received += bytes.length;
        changed.changed();
      },
      drained: () => {},
      ended: () => {},
      closed: () => {},
    });
    server.pause();
    const portion = new Uint8Array(1024 * 1024);
    let written = 0;
    const isFull = (): boolean => client.isFull;
    while (!isFull()) {
      client.write(portion);
      written += portion.length;
      await new Promise((resolve) => setImmediate(resolve));
      if (written > 1e9) throw new Error("it is never full");
    }
    expect(received).toBeLessThan(1024 * 1024);
    server.resume();
    await changed.until(
      () => (received === written ? true : undefined),
      () => `${received} of ${written} bytes`,
    );
    expect(isFull()).toBe(false);
  });
});

describe("the watcher", () => {
  test("tells of changes anywhere, not of dray's own, and goes on when the root was replaced", async () => {
    const parent = folder();
    const root = join(parent, "root");
    fs.mkdirSync(join(root, ".dray"), { recursive: true });
    const seen: string[] = [];
    const changed = new Condition();
    const watch = new RealWatcher(root).watch({
      changed: (path) => {
        seen.push(path?.join("/") ?? "anything");
        changed.changed();
      },
      failed: () => {},
    });
    cleanups.push(() => watch.close());
    const sees = (name: string): Promise<true> =>
      changed.until(
        () => (seen.includes(name) ? true : undefined),
        () => `${name} among ${seen.join()}`,
      );
    fs.mkdirSync(join(root, "a/b"), { recursive: true });
    fs.writeFileSync(join(root, "a/b/c"), "x");
    fs.writeFileSync(join(root, ".dray/own"), "x");
    fs.writeFileSync(join(root, "last"), "x");
    await sees("a/b/c");
    await sees("last");
    expect(seen.filter((name) => name.startsWith(".dray"))).toEqual([]);
    seen.length = 0;
    fs.renameSync(root, join(parent, "old"));
    fs.mkdirSync(root);
    await sees("anything");
    await changed.until(
      () => {
        fs.writeFileSync(join(root, "new"), String(seen.length));
        return seen.includes("new") ? true : undefined;
      },
      () => `new among ${seen.join()}`,
    );
  });
});

describe("the clock", () => {
  test("wakes in order, not early, and not what was taken back", async () => {
    const woken: string[] = [];
    const now = realClock.monotonicMs();
    const done = Promise.withResolvers<void>();
    realClock.wake(now + 30, () => {
      expect(realClock.monotonicMs()).toBeGreaterThanOrEqual(now + 30);
      woken.push("30");
      done.resolve();
    });
    realClock.wake(now + 10, () => woken.push("10"));
    realClock.wake(now + 15, () => woken.push("cancelled"))();
    realClock.wake(now - 5, () => woken.push("now"));
    realClock.wake(now - 5, () => woken.push("cancelled"))();
    expect(woken).toEqual([]);
    await done.promise;
    expect(woken).toEqual(["now", "10", "30"]);
  });
});

describe("the control socket", () => {
  test("answers, also in a folder with a very long path, and nobody answers afterwards", async () => {
    const root = join(folder(), "x".repeat(120), "y".repeat(120));
    fs.mkdirSync(join(root, ".dray"), { recursive: true });
    expect(await askControl(root, { type: "status" }, 1_000)).toBeUndefined();
    const control = serveControl(root, ({ type, name }) => {
      if (type !== "status") throw new Error(`what is ${type}?`);
      return Array.from({ length: 20_000 }, (_, index) => ({ type: "file", name, index }));
    });
    const answer = (await askControl(root, { type: "status", name: "n\n" }, 5_000))!;
    expect(answer.length).toBe(20_000);
    expect(answer[19_999]).toEqual({ type: "file", name: "n\n", index: 19_999 });
    expect(askControl(root, { type: "dance" }, 5_000)).rejects.toThrow("what is dance?");
    await askControl(root, { type: "dance" }, 5_000).catch(() => {});
    expect(fs.statSync(join(root, ".dray/control")).mode & 0o777).toBe(0o600);
    control.close();
    expect(await askControl(root, { type: "status" }, 1_000)).toBeUndefined();
  });

  test("takes over a socket that a killed process left", async () => {
    const root = folder();
    fs.mkdirSync(join(root, ".dray"));
    const script = `require("net").createServer().listen(${JSON.stringify(join(root, ".dray/control"))}, () => process.kill(process.pid, "SIGKILL"))`;
    Bun.spawnSync([process.execPath, "-e", script]);
    expect(fs.existsSync(join(root, ".dray/control"))).toBe(true);
    expect(await askControl(root, { type: "status" }, 1_000)).toBeUndefined();
    const control = serveControl(root, () => [{ type: "here" }]);
    expect(await askControl(root, { type: "status" }, 5_000)).toEqual([{ type: "here" }]);
    control.close();
  });
});

test("a folder is used by one dray at a time, and can be used again", () => {
  const rootPath = folder();
  const settings = { rootPath, threadUrl: THREAD_URL, threads: 1 };
  const first = openRealPorts(settings, () => {});
  expect(() => openRealPorts(settings, () => {})).toThrow("another dray");
  first.close();
  openRealPorts(settings, () => {}).close();
});

describe("syncs of many at once", () => {
  async function syncMany(): Promise<void> {
    const tree = new RealTree(folder());
    const files = Array.from({ length: 60 }, (_, index) => tree.create([`${index}`]));
    const synced = files.map((file) => file.sync());
    for (const file of files) file.close();
    await Promise.all([...synced, tree.syncDirectory([])]);
    await expect(tree.syncDirectory(["none"])).rejects.toMatchObject({ code: "ENOENT" });
    tree.close();
  }

  test("end, though the files were closed meanwhile", syncMany);

  test("end without the program that syncs a file system", async () => {
    const { PATH } = process.env;
    process.env["PATH"] = "";
    try {
      await syncMany();
    } finally {
      process.env["PATH"] = PATH;
    }
  });
});
