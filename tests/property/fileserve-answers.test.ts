import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import fc from "fast-check";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { CACHE_PIECE_BYTES } from "../../src/fileserve/cache-entry.ts";
import { CachedFetch, type ServedTree } from "../../src/fileserve/cached-fetch.ts";
import { FileCache } from "../../src/fileserve/file-cache.ts";
import { hidesState } from "../../src/disk/own-state.ts";
import { S3FifoQueue } from "../../src/fileserve/s3-fifo-queue.ts";
import { type FetchOrder, FetchResponder } from "../../src/transfer/fetch-responder.ts";
import { TO_END } from "../../src/wire/messages.ts";
import { Answering } from "../support/responder-answer.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";
import { runs } from "./runs.ts";

const LIMIT_BYTES = 4 * 1024 * 1024;
const PIECE = CACHE_PIECE_BYTES;
const SIZES = [0, 1, 5, 16_384, 65_535, 65_536, 65_537, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 1_000_000];

let folder: TempFolder;
let root: ContainedRoot;
beforeAll(() => {
  folder = tempFolder();
  for (const sizeBytes of SIZES) makeLargeFile(folder.join(`${sizeBytes}`), { seed: sizeBytes, sizeBytes });
  root = new ContainedRoot(folder.path);
});
afterAll(() => {
  root.close();
  folder[Symbol.dispose]();
});

const boundary = fc.constantFrom(0, 1, 65_536, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, TO_END);
const position = fc.oneof(boundary, fc.integer({ min: 0, max: 1_100_000 }));
const order: fc.Arbitrary<FetchOrder> = fc.record({
  path: fc.constantFrom(...SIZES).map(String),
  offset: fc.oneof(fc.constant(0), position),
  length: fc.oneof(fc.constant(TO_END), position),
  digest: fc.constantFrom("xxh3", "sha256"),
});
const requestId = fc.integer({ min: 1, max: 0xffff_ffff });

/** Long after all files were written, so that none has to rest. */
const later = (): number => Date.now() + 60_000;

test("from the cache, in whatever state it is, comes byte for byte what comes from the disk", async () => {
  const property = fc.asyncProperty(fc.array(fc.tuple(order, requestId), { minLength: 1 }), async (asked) => {
    const cache = new FileCache(root, LIMIT_BYTES, new S3FifoQueue(LIMIT_BYTES), later);
    const tree: ServedTree = { root, cache, hides: hidesState };
    const answers = asked.map(
      ([one, id]) => new Answering((wake) => new CachedFetch(tree, one, id, wake)).toEnd(), // all at once
    );
    for (const [index, answer] of answers.entries()) {
      const [one, id] = asked[index]!;
      const expected = await new Answering(() => new FetchResponder(root, hidesState, one, id)).toEnd();
      expect(expected.equals(await answer)).toBeTrue();
      const again = await new Answering((wake) => new CachedFetch(tree, one, id, wake)).toEnd();
      expect(expected.equals(again)).toBeTrue();
    }
    const { pinnedBytes, bytesRead, streamed } = cache.statistics;
    expect([pinnedBytes, streamed]).toEqual([0, 0]);
    // Each piece was read once, whoever wanted it.
    const sizes = new Set(asked.map(([{ path }]) => Number(path)));
    expect(bytesRead).toBeLessThanOrEqual([...sizes].reduce((sum, sizeBytes) => sum + sizeBytes, 0));
  });
  await fc.assert(property, runs(60));
});

test("a cache that is too small, or none, changes nothing but where the bytes come from", async () => {
  for (const limitBytes of [0, 100_000, PIECE + 5_000]) {
    const cache = new FileCache(root, limitBytes, new S3FifoQueue(limitBytes), later);
    for (const path of fs.readdirSync(folder.path)) {
      const one: FetchOrder = { path, offset: 0, length: TO_END, digest: "xxh3" };
      const tree: ServedTree = { root, cache, hides: hidesState };
      const answer = await new Answering((wake) => new CachedFetch(tree, one, 7, wake)).toEnd();
      const expected = await new Answering(() => new FetchResponder(root, hidesState, one, 7)).toEnd();
      expect(expected.equals(answer)).toBeTrue();
      expect(cache.statistics.bytes).toBeLessThanOrEqual(limitBytes);
    }
  }
});

test("frames of many small files leave in one buffer", async () => {
  const cache = new FileCache(root, LIMIT_BYTES, new S3FifoQueue(LIMIT_BYTES), later);
  const tree: ServedTree = { root, cache, hides: hidesState };
  const one: FetchOrder = { path: "16384", offset: 0, length: TO_END, digest: "xxh3" };
  const expected = await new Answering(() => new FetchResponder(root, hidesState, one, 7)).toEnd();
  await new Answering((wake) => new CachedFetch(tree, one, 7, wake)).toEnd();
  const { OutBuffer } = await import("../../src/transfer/responder.ts");
  const out = new OutBuffer(3 * expected.length + 10);
  for (let index = 0; index < 3; index++)
    expect(new CachedFetch(tree, one, 7, () => {}).fill(out)).toBe("done");
  expect(Buffer.from(out.frames).equals(Buffer.concat([expected, expected, expected]))).toBeTrue();
  expect(new CachedFetch(tree, one, 7, () => {}).fill(out)).toBe("more");
  expect(cache.statistics.hits).toBe(3);
});
