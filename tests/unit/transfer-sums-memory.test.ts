import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { type FileFacts, factsAt } from "../../src/disk/file-facts.ts";
import { restNeededMs } from "../../src/disk/file-rest.ts";
import { Client } from "../../src/transfer/client.ts";
import { contentService } from "../../src/transfer/content-service.ts";
import { Server } from "../../src/transfer/server.ts";
import { SumsMemory, type SumsOf } from "../../src/transfer/sums-memory.ts";
import { tempFolder } from "../support/temp.ts";

const OF: SumsOf = { path: "a", pieceBytes: 4096, digest: "xxh3" };
const FACTS: FileFacts = {
  kind: "file",
  sizeBytes: 8192,
  mtimeUs: 1,
  mode: 0o644,
  ctimeMs: 1_000_001,
  inode: 1,
  device: 1,
};
const RESTED_MS = FACTS.ctimeMs + 10_000;

describe("what a server remembers of sums", () => {
  test("is about one version of one file, in pieces of one length, with one digest", () => {
    const memory = new SumsMemory();
    const digests = new Uint8Array(16).fill(7);
    memory.remember(OF, FACTS, digests, RESTED_MS);
    expect(memory.recall(OF, FACTS)).toBe(digests);
    for (const other of [{ path: "b" }, { pieceBytes: 8192 }, { digest: "sha256" as const }])
      expect(memory.recall({ ...OF, ...other }, FACTS)).toBeUndefined();
    for (const other of [{ sizeBytes: 1 }, { mtimeUs: 2 }, { ctimeMs: 2 }, { inode: 2 }, { device: 2 }]) {
      memory.remember(OF, FACTS, digests, RESTED_MS);
      expect(memory.recall(OF, { ...FACTS, ...other })).toBeUndefined();
      // It is not to come back with its times.
      expect(memory.recall(OF, FACTS)).toBeUndefined();
    }
  });

  test("is not of a file that had been written just before", () => {
    const memory = new SumsMemory();
    memory.remember(OF, FACTS, new Uint8Array(16), FACTS.ctimeMs + 1);
    expect(memory.recall(OF, FACTS)).toBeUndefined();
  });

  test("is bounded; what was not asked for goes first", () => {
    const memory = new SumsMemory(10_000);
    const paths = ["a", "b", "c", "d"];
    for (const path of paths.slice(0, 3))
      memory.remember({ ...OF, path }, FACTS, new Uint8Array(2_500), RESTED_MS);
    memory.recall({ ...OF, path: "a" }, FACTS);
    memory.remember({ ...OF, path: "d" }, FACTS, new Uint8Array(2_500), RESTED_MS);
    expect(paths.map((path) => memory.recall({ ...OF, path }, FACTS) !== undefined)).toEqual([
      true,
      false,
      true,
      true,
    ]);
    expect(memory.hasRoomFor(10_000)).toBe(false);
    expect(new SumsMemory().hasRoomFor(2 * 1024 * 1024)).toBe(false);
  });
});

test("a server answers RECALL from memory as long as the file is the same, SUMS always from the disk", async () => {
  using folder = tempFolder();
  const path = folder.join("file");
  const contents = new Uint8Array(300 * 4096 + 5).map((_, index) => index * 31);
  fs.writeFileSync(path, contents);
  await rested(path);
  const root = new ContainedRoot(folder.path);
  const server = new Server(
    { address: "127.0.0.1", port: 0, maxConnections: 4 },
    contentService(root, "test"),
    { debug: () => {}, warn: () => {} },
  );
  const client = await Client.connect(
    { host: "127.0.0.1", port: server.port },
    { agent: "test", timeoutMs: 5_000 },
  );
  const ask = async (mayRecall: boolean): Promise<{ digests: string[]; readBytes: number }> => {
    const digests: string[] = [];
    const before = bytesRead();
    await client.sums(
      { path: "file", pieceBytes: 4096, digest: "xxh3", mayRecall },
      { head: () => {}, digest: (digest) => void digests.push(Buffer.from(digest).toString("hex")) },
    );
    return { digests, readBytes: bytesRead() - before };
  };
  const first = await ask(true);
  expect(first.digests).toHaveLength(301);
  expect(first.readBytes).toBeGreaterThanOrEqual(contents.length);
  const second = await ask(true);
  expect(second.digests).toEqual(first.digests);
  expect(second.readBytes).toBeLessThan(contents.length);
  expect((await ask(false)).readBytes).toBeGreaterThanOrEqual(contents.length);

  contents[5_000]! ^= 1;
  fs.writeFileSync(path, contents);
  const changed = await ask(true);
  expect(changed.digests[0]).toBe(first.digests[0]);
  expect(changed.digests[1]).not.toBe(first.digests[1]);
  expect(changed.digests.slice(2)).toEqual(first.digests.slice(2));
  client.close();
  await server.stop();
  root.close();
});

/** What this process has read by system calls, whatever it came from. */
function bytesRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(fs.readFileSync("/proc/self/io", "utf8"))![1]);
}

/** Until its times can tell whether it is written again. */
async function rested(path: string): Promise<void> {
  for (let waitMs = 1; waitMs > 0; waitMs = restNeededMs(factsAt(path)!, Date.now())) await Bun.sleep(waitMs);
}
