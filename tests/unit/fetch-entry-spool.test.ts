import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { EntrySpool } from "../../src/fetch/entry-spool.ts";
import type { ListEntry } from "../../src/wire/entries.ts";

/** About 50 MB: far more than what is kept in memory. */
const BATCHES = 400;
const BATCH_ENTRIES = 500;

function entry(index: number): ListEntry {
  const path = `${"directory/".repeat(20)}file ${index}`;
  const kind = index % 7 === 0 ? "directory" : "file";
  return { kind, path, size: index, mtimeUs: -index, mode: 0o644, target: "" };
}

function fill(spool: EntrySpool): void {
  for (let batch = 0; batch < BATCHES; batch++)
    spool.push(Array.from({ length: BATCH_ENTRIES }, (_, at) => entry(batch * BATCH_ENTRIES + at)));
}

test("a list of any length comes out as it went in, and leaves no file", () => {
  const files = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("dray-list-"));
  const before = files();
  const spool = new EntrySpool();
  fill(spool);
  expect(files()).toEqual(before);
  let wrong = 0;
  for (let index = 0; index < BATCHES * BATCH_ENTRIES; index++) {
    const next = spool.next();
    const expected = entry(index);
    if (next?.path !== expected.path || next.size !== index || next.kind !== expected.kind) wrong++;
  }
  expect(wrong).toBe(0);
  expect(spool.next()).toBeUndefined();
  spool.clear();
});

test("one that broke off is forgotten, and another begun", () => {
  const spool = new EntrySpool();
  expect(spool.next()).toBeUndefined();
  fill(spool);
  spool.next();
  spool.clear();
  spool.push([entry(1)]);
  spool.push([]);
  spool.push([entry(2)]);
  expect([spool.next(), spool.next(), spool.next()]).toEqual([entry(1), entry(2), undefined]);
  spool.clear();
});
