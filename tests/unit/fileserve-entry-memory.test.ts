import { expect, test } from "bun:test";
import { EntryMemory, bufferBytes } from "../../src/fileserve/entry-memory.ts";

const KIB = 1024;

test("a buffer holds what it is for, and little more", () => {
  const memory = new EntryMemory();
  for (const needed of [1, 32 * KIB, 32 * KIB + 1, 200_000, 256 * KIB]) {
    const { length } = memory.take(needed);
    expect(length).toBe(bufferBytes(needed));
    expect(length).toBeGreaterThanOrEqual(needed);
    expect(length - needed).toBeLessThan(32 * KIB);
  }
});

test("what one leaves the next one of that length takes, and nobody else", () => {
  const memory = new EntryMemory();
  const first = memory.take(256 * KIB);
  const second = memory.take(256 * KIB);
  expect(second.buffer).not.toBe(first.buffer);
  memory.give(first);
  expect(memory.take(100 * KIB).buffer).not.toBe(first.buffer);
  expect(memory.take(250 * KIB).buffer).toBe(first.buffer);
  expect(memory.take(256 * KIB).buffer).not.toBe(first.buffer);
});

test("of what nobody uses no more stays than is said, and the rest is free at once", () => {
  const memory = new EntryMemory();
  const long = [0, 1, 2].map(() => memory.take(256 * KIB));
  const short = [0, 1, 2].map(() => memory.take(32 * KIB));
  for (const buffer of [...long, ...short]) memory.give(buffer);
  const held = (): number => [...long, ...short].reduce((bytes, { byteLength }) => bytes + byteLength, 0);
  memory.keepAtMost(held());
  expect(held()).toBe(3 * 288 * KIB);
  memory.keepAtMost(400 * KIB);
  expect(held()).toBe((256 + 3 * 32) * KIB);
  memory.keepAtMost(0);
  expect(held()).toBe(0);
  expect(memory.take(32 * KIB).byteLength).toBe(32 * KIB);
});
