import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { type ContainedDirectory, ContainedRoot } from "../../src/disk/contained-root.ts";
import { PartFile } from "../../src/fetch/part-file.ts";
import { partNames } from "../../src/fetch/part-names.ts";
import type { PieceDigests } from "../../src/fetch/piece-digests.ts";
import { type PartVersion, SEVERAL_SERVERS } from "../../src/fetch/piece-journal.ts";
import { ReplicatedFile } from "../../src/fetch/replicated-file.ts";
import { SeedFile } from "../../src/fetch/seed-file.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const NAME = "file";
const names = partNames(NAME);
const contents = Buffer.from("0123456789abcdefghijABCDEFGHIJ-+");
const layout = { sizeBytes: 32, pieceBytes: 10, parts: [{ first: 0, count: 4 }] };
const version: PartVersion = { origin: SEVERAL_SERVERS, path: NAME, sizeBytes: 32, mtimeUs: 1 };

let folder: TempFolder;
let root: ContainedRoot;
let directory: ContainedDirectory;
let counters: ConstructorParameters<typeof ReplicatedFile>[4];

beforeEach(() => {
  folder = tempFolder();
  root = new ContainedRoot(folder.path);
  directory = root.hold([]);
  counters = { doneBytes: 0, transferredBytes: 0, resumedBytes: 0, seededBytes: 0, wastedBytes: 0 };
});
afterEach(() => {
  directory[Symbol.dispose]();
  root.close();
  folder[Symbol.dispose]();
});

function piece(index: number): Buffer {
  return contents.subarray(index * 10, index * 10 + 10);
}

const digests: PieceDigests = {
  xxh3: (index) => Bun.hash.xxHash3(piece(index)),
  matches: (index, bytes) => Bun.hash.xxHash3(piece(index)) === Bun.hash.xxHash3(bytes),
};

function fileOver(part: PartFile, known: PieceDigests = digests, seed?: SeedFile): ReplicatedFile {
  return new ReplicatedFile(part, layout, known, undefined, counters, seed);
}

function presentOf(file: ReplicatedFile): number[] {
  return [0, 1, 2, 3].filter((index) => file.isPresent(index));
}

test("takes pieces in any order, and none that is not what it must be", async () => {
  const part = PartFile.salvage(directory, names, version);
  const file = fileOver(part);
  expect(file.take(3, piece(3), undefined)).toBe(true);
  expect(file.take(1, piece(2), undefined)).toBe(false);
  expect(file.take(1, piece(1), Bun.hash.xxHash3(piece(1)))).toBe(true);
  expect([...file.present()]).toEqual([
    { first: 1, count: 1 },
    { first: 3, count: 1 },
  ]);
  for (const index of [0, 2]) file.take(index, piece(index), undefined);
  expect(file.isWhole).toBe(true);
  expect(counters.doneBytes).toBe(32);
  await part.publish({ name: NAME, mtimeUs: 1, executable: false, overwrite: true });
  expect(fs.readFileSync(folder.join(NAME))).toEqual(contents);
});

test("believes of an earlier attempt what matches the digests, of whatever version that was", async () => {
  const other = await PartFile.open(directory, names, {
    ...version,
    origin: "h:1",
    mtimeUs: 99,
    sizeBytes: 40,
  });
  other.write(0, piece(0), Bun.hash.xxHash3(piece(0)));
  const wrong = Buffer.from("__________");
  other.write(10, wrong, Bun.hash.xxHash3(wrong));
  other.write(20, piece(2), Bun.hash.xxHash3(piece(2)));
  await other.park();
  const part = PartFile.salvage(directory, names, version);
  const file = fileOver(part);
  file.recover({ first: 0, count: 4 });
  expect(presentOf(file)).toEqual([0, 2]);
  expect(counters).toMatchObject({ resumedBytes: 20, doneBytes: 20, seededBytes: 0 });
  await part.park();
  // They are in the new journal as well.
  const again = await PartFile.open(directory, names, version);
  expect(again.coveredBytes).toBe(20);
  await again.park();
});

test("takes from an older file what is the same at the same place, and nothing beyond its end", () => {
  fs.writeFileSync(
    folder.join(NAME),
    Buffer.concat([piece(0), Buffer.from("__________"), contents.subarray(20, 31)]),
  );
  using seed = SeedFile.open(directory, NAME);
  const file = fileOver(PartFile.salvage(directory, names, version), digests, seed);
  file.recover({ first: 0, count: 4 });
  expect(presentOf(file)).toEqual([0, 2]);
  expect(counters).toMatchObject({ seededBytes: 20, resumedBytes: 0 });
});

test("believes nothing whose digest nobody knows", () => {
  fs.writeFileSync(folder.join(NAME), contents);
  using seed = SeedFile.open(directory, NAME);
  const unknown: PieceDigests = { xxh3: () => undefined, matches: () => false };
  const file = fileOver(PartFile.salvage(directory, names, version), unknown, seed);
  file.recover({ first: 0, count: 4 });
  expect(file.take(0, piece(0), undefined)).toBe(false);
  expect(presentOf(file)).toEqual([]);
});

test("gives up a piece that has rotted on the disk, and takes it again", () => {
  const file = fileOver(PartFile.salvage(directory, names, version));
  file.take(0, piece(0), undefined);
  file.lose(0);
  file.lose(0);
  expect(presentOf(file)).toEqual([]);
  expect(counters.doneBytes).toBe(0);
  expect(file.take(0, piece(0), undefined)).toBe(true);
});

test("a part without a journal is not ours, and is left alone", () => {
  fs.writeFileSync(folder.join(names.part), "somebody's");
  expect(codeOf(() => PartFile.salvage(directory, names, version))).toBe("refused");
  expect(fs.readFileSync(folder.join(names.part), "utf8")).toBe("somebody's");
});

test("a link in the place of an older file is not followed", () => {
  fs.writeFileSync(folder.join("elsewhere"), contents);
  fs.symlinkSync("elsewhere", folder.join(NAME));
  expect(SeedFile.open(directory, NAME)).toBeUndefined();
});
