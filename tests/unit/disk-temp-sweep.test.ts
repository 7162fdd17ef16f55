import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { sweepTempFiles } from "../../src/disk/temp-sweep.ts";
import { makeNonUtf8File } from "../support/tree.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

let folder: TempFolder;
beforeEach(() => {
  folder = tempFolder();
  for (const directory of ["a/b/c", ".dray/deep", "with space/ü"]) {
    fs.mkdirSync(folder.join(directory), { recursive: true });
  }
});
afterEach(() => folder[Symbol.dispose]());

const TEMP = ".dray-abc-1.tmp";
const soonMs = (): number => Date.now() + 60_000;
const all = (): string[] => (fs.readdirSync(folder.path, { recursive: true }) as string[]).sort();

test("removes temp files everywhere, nothing else, and says how many", async () => {
  const temps = [TEMP, `a/${TEMP}`, `a/b/c/${TEMP}`, `with space/ü/${TEMP}`, `a/.dray/${TEMP}`];
  const kept = [".dray-abc-1.tmpx", "a/file.tmp", "a/b/c/.hidden", `.dray/${TEMP}`, `.dray/deep/${TEMP}`];
  fs.mkdirSync(folder.join("a/.dray"));
  const before = all();
  for (const path of [...temps, ...kept]) fs.writeFileSync(folder.join(path), "");
  expect(await sweepTempFiles(folder.path, [".dray"], soonMs())).toBe(temps.length);
  expect(all()).toEqual([...before, ...kept].sort());
});

test("leaves files that changed later: they belong to somebody who is at work", async () => {
  fs.writeFileSync(folder.join(TEMP), "");
  expect(await sweepTempFiles(folder.path, [], Date.now() - 60_000)).toBe(0);
  expect(fs.existsSync(folder.join(TEMP))).toBe(true);
});

test("follows no link, and takes neither a link nor a directory for a temp file's contents", async () => {
  using outside = tempFolder();
  fs.writeFileSync(outside.join(TEMP), "");
  fs.symlinkSync(outside.path, folder.join("link"));
  fs.mkdirSync(folder.join(`a/${TEMP}`));
  fs.writeFileSync(folder.join(`a/${TEMP}/precious`), "");
  await sweepTempFiles(folder.path, [], soonMs());
  expect(fs.readdirSync(outside.path)).toEqual([TEMP]);
  expect(fs.existsSync(folder.join(`a/${TEMP}/precious`))).toBe(true);
});

test("goes on beside names that are not UTF-8", async () => {
  makeNonUtf8File(folder.path);
  fs.mkdirSync(Buffer.concat([Buffer.from(`${folder.path}/`), Buffer.from([0xff])]));
  for (const path of [`a/${TEMP}`, TEMP, `with space/${TEMP}`]) fs.writeFileSync(folder.join(path), "");
  expect(await sweepTempFiles(folder.path, [], soonMs())).toBe(3);
});

test("lets other work run in between, and closes what it opened", async () => {
  for (let index = 0; index < 300; index++) fs.mkdirSync(folder.join(`many/${index}`), { recursive: true });
  const before = fs.readdirSync("/proc/self/fd").length;
  let turns = 0;
  const ticker = setInterval(() => turns++, 0);
  await sweepTempFiles(folder.path, [], soonMs());
  clearInterval(ticker);
  expect(turns).toBeGreaterThan(0);
  expect(fs.readdirSync("/proc/self/fd").length).toBe(before);
});
