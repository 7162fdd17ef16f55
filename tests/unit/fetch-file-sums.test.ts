import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { FileSums } from "../../src/fetch/file-sums.ts";
import type { Piece } from "../../src/fetch/piece-journal.ts";
import { THREAD_URL } from "../../src/thread-url.ts";
import { rejectionCodeOf } from "../property/error-code.ts";
import { fileSha256 } from "../support/file-sha256.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

const SIZE_BYTES = 40_000_000;
const PIECE_BYTES = 300_000;

let folder: TempFolder;
let sums: FileSums;
let path: string;

beforeEach(() => {
  folder = tempFolder();
  sums = new FileSums(THREAD_URL);
  path = folder.join("file");
  makeLargeFile(path, { seed: 1, sizeBytes: SIZE_BYTES });
});
afterEach(() => {
  sums.close();
  folder[Symbol.dispose]();
});

function pieces(): Piece[] {
  const bytes = fs.readFileSync(path);
  return Array.from({ length: Math.ceil(SIZE_BYTES / PIECE_BYTES) }, (_, index) => {
    const piece = bytes.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
    return { offset: index * PIECE_BYTES, lengthBytes: piece.length, digest: Bun.hash.xxHash3(piece) };
  });
}

test("the sum of a file as it is", async () => {
  expect(await sums.ofWhole(path)).toBe(await fileSha256(path));
  fs.writeFileSync(path, "");
  expect(await sums.ofWhole(path)).toBe(await fileSha256(path));
  expect(await rejectionCodeOf(sums.ofWhole(folder.join("nothing")))).toBe("not-found");
});

test("the sum of a file that is filled in any order", async () => {
  const sum = sums.ofGrowing(path, SIZE_BYTES);
  for (const piece of pieces().reverse()) sum.add(piece);
  expect(await sum.result()).toBe(await fileSha256(path));
  sum.close();
});

test("pieces that read back otherwise are told, and awaited anew", async () => {
  const expected = await fileSha256(path);
  const written = pieces();
  const whole = fs.readFileSync(path);
  const damaged = Buffer.from(whole);
  for (const index of [3, 100]) damaged[index * PIECE_BYTES + 17]! ^= 8;
  fs.writeFileSync(path, damaged);
  const sum = sums.ofGrowing(path, SIZE_BYTES);
  for (const piece of written) sum.add(piece);
  for (const index of [3, 100]) {
    const piece = written[index]!;
    expect(await sum.result()).toBeUndefined();
    expect(sum.takeDamaged()).toEqual([{ offset: piece.offset, lengthBytes: PIECE_BYTES }]);
    const descriptor = fs.openSync(path, "r+");
    fs.writeSync(descriptor, whole, piece.offset, PIECE_BYTES, piece.offset);
    fs.closeSync(descriptor);
    sum.add(piece);
  }
  expect(await sum.result()).toBe(expected);
  sum.close();
});

test("a file that is given up does not keep the others waiting", async () => {
  const given = sums.ofGrowing(path, SIZE_BYTES);
  given.add(pieces()[0]!);
  given.close();
  expect(await sums.ofWhole(path)).toBe(await fileSha256(path));
});
