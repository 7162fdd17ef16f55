import * as fs from "node:fs";
import { dirname, join } from "node:path";
import type { DiskEntry } from "./crash-disk.ts";
import type { InodeNumber } from "./operations.ts";

/** What is on a disk before anything is recorded; all of it is durable. */
export interface StartEntry {
  inode: InodeNumber;
  kind: "file" | "directory" | "symlink";
  mode: number;
  target: string;
  mtimeNs: bigint;
  ctimeNs: bigint;
  bytes: Uint8Array;
  /** Of a directory. */
  names: ReadonlyMap<string, InodeNumber>;
}

const NOTHING = new Uint8Array(0);

/** All that is at and below a directory, which is inode 0. */
export function startEntries(root: string): StartEntry[] {
  const entries: StartEntry[] = [];
  const known = new Map<bigint, InodeNumber>();
  const visit = (path: string): InodeNumber => {
    const stats = fs.lstatSync(path, { bigint: true });
    const before = known.get(stats.ino);
    if (before !== undefined) return before;
    const inode = entries.length;
    known.set(stats.ino, inode);
    const kind = stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "file";
    const names = new Map<string, InodeNumber>();
    entries.push({
      inode,
      kind,
      mode: Number(stats.mode) & 0o7777,
      target: kind === "symlink" ? fs.readlinkSync(path) : "",
      mtimeNs: stats.mtimeNs,
      ctimeNs: stats.ctimeNs,
      bytes: kind === "file" ? fs.readFileSync(path) : NOTHING,
      names,
    });
    if (kind === "directory")
      for (const name of fs.readdirSync(path)) names.set(name, visit(join(path, name)));
    return inode;
  };
  visit(root);
  return entries;
}

/** Puts a disk's entries into an empty directory, with their times. */
export function materialise(entries: ReadonlyMap<string, DiskEntry>, directory: string): void {
  const made = new Map<bigint, string>();
  for (const [name, { kind, bytes, mode, target, mtimeNs, inode }] of entries) {
    const path = join(directory, name);
    const first = made.get(inode);
    made.set(inode, path);
    if (kind === "directory") {
      fs.mkdirSync(path, { recursive: true });
    } else if (kind === "symlink") {
      fs.symlinkSync(target, path);
    } else if (first !== undefined) {
      fs.linkSync(first, path);
    } else {
      fs.mkdirSync(dirname(path), { recursive: true });
      fs.writeFileSync(path, bytes, { mode });
      const seconds = `${mtimeNs / 1_000_000_000n}.${String(mtimeNs % 1_000_000_000n).padStart(9, "0")}`;
      fs.utimesSync(path, seconds, seconds);
    }
  }
}

/** What differs between a disk and a real directory: nothing, if all that was done there was recorded. */
export function differences(entries: ReadonlyMap<string, DiskEntry>, root: string): string[] {
  const found: string[] = [];
  const real = startEntries(root);
  const seen = new Set<string>();
  const visit = (entry: StartEntry, path: string): void => {
    for (const [name, number] of entry.names) {
      const below = real[number]!;
      const at = path + name;
      seen.add(at);
      const has = entries.get(at);
      if (has?.kind !== below.kind) found.push(`${at}: ${has?.kind} instead of ${below.kind}`);
      else if (has.kind === "symlink" && has.target !== below.target) found.push(`${at}: another target`);
      else if (has.kind === "file" && Buffer.compare(has.bytes, below.bytes) !== 0)
        found.push(`${at}: ${has.bytes.length} bytes are not the ${below.bytes.length} that are there`);
      else if (has.kind === "file" && (has.mode & 0o111) !== (below.mode & 0o111)) found.push(`${at}: mode`);
      if (below.kind === "directory") visit(below, `${at}/`);
    }
  };
  visit(real[0]!, "");
  for (const path of entries.keys()) if (!seen.has(path)) found.push(`${path}: is not there`);
  return found;
}
