import * as fs from "node:fs";
import type { EntryKind } from "../wire/entries.ts";

/** What decides whether a file is still the same one, and what travels with it. */
export interface FileFacts {
  kind: EntryKind;
  sizeBytes: number;
  /** Modification time in whole microseconds: the finest unit that a double holds and utimes sets. */
  mtimeUs: number;
  /** Permission bits. */
  mode: number;
  /** Changes with every write and every change of metadata; no program can set it. */
  ctimeMs: number;
  inode: number;
  device: number;
}

export function factsOf(stats: fs.Stats): FileFacts {
  return {
    kind: stats.isFile()
      ? "file"
      : stats.isDirectory()
        ? "directory"
        : stats.isSymbolicLink()
          ? "symlink"
          : "special",
    sizeBytes: stats.isFile() ? stats.size : 0,
    mtimeUs: microseconds(stats.mtimeMs),
    mode: stats.mode & 0o7777,
    ctimeMs: stats.ctimeMs,
    inode: stats.ino,
    device: stats.dev,
  };
}

/** Times beyond the year 2255 are taken for that: a double holds no more whole microseconds. */
function microseconds(timeMs: number): number {
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Math.round(timeMs * 1000)));
}

/** Facts of one entry, links not followed; undefined if there is none. */
export function factsAt(entryPath: string): FileFacts | undefined {
  const stats = fs.lstatSync(entryPath, { throwIfNoEntry: false });
  return stats === undefined ? undefined : factsOf(stats);
}

/** Whether nobody wrote to the file between two looks. */
export function isSameVersion(before: FileFacts, after: FileFacts): boolean {
  return (
    before.inode === after.inode &&
    before.device === after.device &&
    before.sizeBytes === after.sizeBytes &&
    before.mtimeUs === after.mtimeUs &&
    before.ctimeMs === after.ctimeMs
  );
}

/** Whether these are the facts of the same version of a regular file, told without making facts of them. */
export function hasFacts(stats: fs.Stats, facts: FileFacts): boolean {
  return (
    stats.ino === facts.inode &&
    stats.dev === facts.device &&
    stats.size === facts.sizeBytes &&
    stats.ctimeMs === facts.ctimeMs &&
    microseconds(stats.mtimeMs) === facts.mtimeUs &&
    stats.isFile()
  );
}

/** Same modification time, but for the rounding of a double in seconds, which utimes takes. */
export function isSameMtime(aUs: number, bUs: number): boolean {
  return Math.abs(aUs - bUs) <= 1;
}
