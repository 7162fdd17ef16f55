import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { FileServer, fetchPieces } from "../support/file-server.ts";
import { type ContentServer, sourceText, Stage } from "../support/stage.ts";
import { canCount, countCalls } from "../support/system-calls.ts";
import { SyncParty } from "../support/sync-party.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

/**
 * Fast is what does little. A clock says how busy the machine is; the number of system calls for a fixed
 * piece of work says what the code does, and is the same everywhere. Two orders of different size are
 * counted, and what each file more has cost may not exceed its ceiling: some fifth above what it is.
 */
const FEW = 200;
const MANY = 1_200;

interface Work {
  content: Map<string, number>;
  mirror: Map<string, number>;
}

async function countOrder(stage: Stage, content: ContentServer, flags: string[] = []): Promise<Work> {
  let mirror: Map<string, number> | undefined;
  const calls = await countCalls(content.program.pid, async () => {
    mirror = await countCalls(stage.mirror.pid, async () => {
      const { code } = await stage.order([sourceText(content)], { flags });
      expect(code).toBe(0);
    });
  });
  return { content: calls, mirror: mirror! };
}

/** Calls for each unit that the large work has more than the small one. */
function perUnit(small: Map<string, number>, large: Map<string, number>, units: number) {
  const sum = (calls: Map<string, number>, names: readonly string[]): number =>
    [...calls].reduce(
      (total, [name, count]) => total + (names.length === 0 || names.includes(name) ? count : 0),
      0,
    );
  return (...names: string[]): number => (sum(large, names) - sum(small, names)) / units;
}

const SENDS = ["sendto", "sendmsg"];
const RECEIVES = ["recvfrom", "recvmsg"];
const SYNCS = ["fsync", "fdatasync"];

describe.skipIf(!canCount)("what small files cost in system calls (skipped where there is no strace)", () => {
  const orders: { first: Work; again: Work }[] = [];
  beforeAll(async () => {
    for (const count of [FEW, MANY]) {
      await using stage = await Stage.open();
      const tree = { seed: 1, count, directories: 10, minBytes: 4_000, maxBytes: 6_000 };
      const content = await stage.content("data", (directory) => makeManyFiles(directory, tree));
      const first = await countOrder(stage, content);
      orders.push({ first, again: await countOrder(stage, content) });
    }
  });
  const each = (run: "first" | "again", side: keyof Work): ReturnType<typeof perUnit> =>
    perUnit(orders[0]![run][side], orders[1]![run][side], MANY - FEW);

  test("a content server lists, opens, reads and closes each file once", () => {
    const calls = each("first", "content");
    expect(calls()).toBeWithin(4, 7.5);
    expect(calls("openat")).toBeLessThan(1.2);
    expect(calls("pread64", "read")).toBeLessThan(1.2);
  });

  test("a mirror makes, writes and renames each file once, and syncs none of them by itself", () => {
    const calls = each("first", "mirror");
    expect(calls()).toBeWithin(5, 10);
    expect(calls("openat")).toBeLessThan(1.6);
    expect(calls("rename", "renameat", "renameat2")).toBeLessThan(1.1);
    // The file that it wrote, and not what was there before: nothing was.
    expect(calls("statx", "newfstatat", "fstat", "lstat")).toBeLessThan(1.3);
    expect(calls(...SYNCS)).toBeLessThan(0.02);
  });

  test("no file costs a message to the system of its own, on either side: they leave and arrive in batches", () => {
    for (const side of ["content", "mirror"] as const) {
      expect(each("first", side)(...SENDS)).toBeLessThan(0.1);
      expect(each("first", side)(...RECEIVES)).toBeLessThan(0.1);
    }
  });

  test("one that has not changed costs a look on each side, and no byte", () => {
    expect(each("again", "content")()).toBeLessThan(1.3);
    expect(each("again", "content")("openat", "pread64", "read")).toBeLessThan(0.02);
    expect(each("again", "mirror")()).toBeLessThan(1.7);
    expect(each("again", "mirror")("rename", "utimensat", ...SYNCS)).toBeLessThan(0.02);
  });
});

describe.skipIf(!canCount)(
  "what a small file costs that is synced, in system calls (skipped where there is no strace)",
  () => {
    const works: Record<"client" | "server", Map<string, number>>[] = [];
    beforeAll(async () => {
      for (const count of [FEW, MANY]) {
        await using party = await SyncParty.start(["a"]);
        const tree = { seed: 4, count, directories: 10, minBytes: 4_000, maxBytes: 6_000 };
        makeManyFiles(party.temp.join("made"), tree);
        const isThere = (): boolean => party.events("a", "sent").length === count;
        let client: Map<string, number> | undefined;
        const server = await countCalls(party.program("server").pid, async () => {
          client = await countCalls(party.program("a").pid, async () => {
            renameSync(party.temp.join("made"), party.folder("a", "many"));
            await party.until(isThere, `${count} files to be sent`);
          });
        });
        works.push({ client: client!, server });
      }
    });
    const each = (side: "client" | "server"): ReturnType<typeof perUnit> =>
      perUnit(works[0]![side], works[1]![side], MANY - FEW);

    test("the client opens and reads it once, and neither syncs nor sends it by itself", () => {
      const calls = each("client");
      expect(calls("openat")).toBeLessThan(2.8);
      // One scan, one look later, by name and by descriptor; not another one for each event of the watcher.
      expect(calls("statx", "newfstatat", "fstat", "lstat")).toBeLessThan(9);
      expect(calls("pread64")).toBeLessThan(1.2);
      expect(calls("pwrite64", "write")).toBeLessThan(3);
      expect(calls(...SYNCS)).toBeLessThan(0.4);
      expect(calls(...SENDS)).toBeLessThan(0.5);
      expect(calls()).toBeWithin(5, 15);
    });

    test("the server makes, writes and links it once, and neither syncs nor answers it by itself", () => {
      const calls = each("server");
      expect(calls("openat")).toBeLessThan(4);
      expect(calls("link", "linkat", "rename", "renameat", "renameat2")).toBeLessThan(1.1);
      expect(calls("unlink", "unlinkat")).toBeLessThan(1.1);
      expect(calls("pwrite64", "write")).toBeLessThan(3.5);
      expect(calls(...SYNCS)).toBeLessThan(0.5);
      expect(calls(...SENDS)).toBeLessThan(0.5);
      expect(calls()).toBeWithin(5, 25);
    });
  },
);

describe.skipIf(!canCount)(
  "what a large file costs in system calls (skipped where there is no strace)",
  () => {
    test("a few for each MiB, on both sides", async () => {
      const works: Work[] = [];
      const sizesMiB = [16, 80];
      for (const sizeMiB of sizesMiB) {
        await using stage = await Stage.open();
        const file = { seed: 2, sizeBytes: sizeMiB * 1024 ** 2 };
        const content = await stage.content("data", (directory) =>
          makeLargeFile(join(directory, "large"), file),
        );
        works.push(await countOrder(stage, content));
      }
      const units = sizesMiB[1]! - sizesMiB[0]!;
      const content = perUnit(works[0]!.content, works[1]!.content, units);
      expect(content("pread64", "read")).toBeLessThan(5);
      expect(content()).toBeLessThan(30);
      const mirror = perUnit(works[0]!.mirror, works[1]!.mirror, units);
      expect(mirror("write", "pwrite64")).toBeLessThan(6);
      expect(mirror()).toBeLessThan(40);
    });
  },
);

describe.skipIf(!canCount)(
  "what an answer from memory costs in system calls (skipped where there is no strace)",
  () => {
    let server: FileServer;
    const folder = tempFolder();
    beforeAll(async () => {
      makeLargeFile(folder.join("hot"), { seed: 3, sizeBytes: 4096 });
      server = await FileServer.start(folder.path);
    });
    afterAll(async () => {
      await server[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    });

    test("the request is received, the file looked at, the answer sent: no more than that", async () => {
      const client = await server.connect();
      const ask = async (times: number): Promise<void> => {
        for (let time = 0; time < times; time++) await fetchPieces(client, "hot", () => {});
      };
      await ask(100);
      const few = await countCalls(server.program.pid, () => ask(100));
      const many = await countCalls(server.program.pid, () => ask(600));
      const calls = perUnit(few, many, 500);
      expect(calls(...SENDS)).toBeLessThan(1.1);
      expect(calls("openat", "read", "pread64", "close")).toBeLessThan(0.1);
      // A socket is read until it is empty: that is one more.
      expect(calls()).toBeLessThan(4.5);
    });
  },
);
