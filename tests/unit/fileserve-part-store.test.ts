import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { PartStore } from "../../src/fileserve/part-store.ts";
import { tempFolder } from "../support/temp.ts";

const DAY_MS = 86_400_000;
const PART_BYTES = 100_000;

const version = (path: string): { path: string; sizeBytes: number; mtimeUs: number } => ({
  path,
  sizeBytes: 1_000_000,
  mtimeUs: 7,
});

function park(store: PartStore, owner: string, path: string, nowMs: number, bytes = PART_BYTES): void {
  const part = store.take(owner, version(path));
  part.write(new Uint8Array(bytes));
  store.park(part, owner, nowMs);
}

test("of each owner the newest 64 parts are kept", () => {
  using folder = tempFolder();
  const store = new PartStore(folder.join("uploads"), 0);
  park(store, "bob", "his", 1);
  for (let index = 0; index < 66; index++) park(store, "alice", `hers-${index}`, 10 + index);
  expect(store.parkedBytes).toBe(65 * PART_BYTES);
  expect(store.parkedBytesOf("bob", version("his"))).toBe(PART_BYTES);
  const left = Array.from({ length: 66 }, (_, index) =>
    store.parkedBytesOf("alice", version(`hers-${index}`)),
  );
  expect(left.slice(0, 3)).toEqual([0, 0, PART_BYTES]);
  expect(readdirSync(folder.join("uploads"))).toHaveLength(1 + 65);
});

test("a part is gone on with by its owner, for its version, and only once", () => {
  using folder = tempFolder();
  const store = new PartStore(folder.join("uploads"), 0);
  park(store, "alice", "a", 1);
  expect(store.parkedBytesOf("bob", version("a"))).toBe(0);
  expect(store.parkedBytesOf("alice", { ...version("a"), mtimeUs: 8 })).toBe(0);
  expect(store.parkedBytesOf("alice", { ...version("a"), sizeBytes: 2_000_000 })).toBe(0);
  const part = store.take("alice", version("a"));
  expect(part.writtenBytes).toBe(PART_BYTES);
  expect(store.parkedBytes).toBe(0);
  part.discard();
  const anew = store.take("alice", version("a"));
  expect(anew.writtenBytes).toBe(0);
  anew.discard();
});

test("what is hardly begun is not kept, nor what nobody went on with for a week", () => {
  using folder = tempFolder();
  const nowMs = Date.now();
  const store = new PartStore(folder.join("uploads"), nowMs);
  park(store, "alice", "small", nowMs, 60_000);
  expect(store.parkedBytes).toBe(0);
  park(store, "alice", "a", nowMs);
  store.sweep(nowMs + 6 * DAY_MS);
  expect(store.parkedBytes).toBe(PART_BYTES);
  store.sweep(nowMs + 8 * DAY_MS);
  expect(readdirSync(folder.join("uploads"))).toEqual(["boot"]);
  park(store, "alice", "a", nowMs);
  expect(new PartStore(folder.join("uploads"), nowMs + 6 * DAY_MS).parkedBytes).toBe(PART_BYTES);
  expect(new PartStore(folder.join("uploads"), nowMs + 8 * DAY_MS).parkedBytes).toBe(0);
});

test("what a killed server left of small files is removed at the start", () => {
  using folder = tempFolder();
  mkdirSync(folder.join("uploads"));
  writeFileSync(folder.join("uploads/123-4.tmp"), "x");
  expect(new PartStore(folder.join("uploads"), 0).parkedBytes).toBe(0);
  expect(readdirSync(folder.join("uploads"))).toEqual(["boot"]);
});

test("of another boot no part is trusted, also when the first start in this one did not come to its end", () => {
  using folder = tempFolder();
  const uploads = folder.join("uploads");
  park(new PartStore(uploads, 0), "alice", "a", 1);
  writeFileSync(`${uploads}/boot`, "another boot of this machine");
  mkdirSync(`${uploads}/000`); // what no start can remove ends this one before it gets to the part
  expect(() => new PartStore(uploads, 0)).toThrow();
  rmdirSync(`${uploads}/000`);
  if (!readdirSync(uploads).some((name) => name.endsWith(".part"))) return; // listed in another order here
  expect(new PartStore(uploads, 0).parkedBytes).toBe(0);
});
