import { DrayError } from "../errors/dray-error.ts";
import { type ByteReader, type ByteWriter, textFieldBytes } from "./cursor.ts";

/**
 * - `symlink`, `special` (fifo, socket, device): there, but nothing that is transferred
 * - `unreadable`: the server may not look at it; a directory of this kind was not descended into
 * - `unfinished`: a file whose name is one of those that a running dray gives to files that are not whole yet
 * - `unnameable`: its name is not UTF-8; `path` shows it with the foreign bytes escaped
 */
export const ENTRY_KINDS = [
  "file",
  "directory",
  "symlink",
  "special",
  "unreadable",
  "unnameable",
  "unfinished",
] as const;
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** One thing in a listing. */
export interface ListEntry {
  kind: EntryKind;
  /** From the server's root, `/`-separated, canonical. */
  path: string;
  /** In bytes; zero for all but files. */
  size: number;
  /** Modification time in microseconds since 1970. */
  mtimeUs: number;
  /** Permission bits (0 to 0o7777). */
  mode: number;
  /** Where a symbolic link leads, as it is; empty for all else, and when it cannot be carried. */
  target: string;
}

const FIXED_BYTES = 1 + 2 + 8 + 8;

export function entryBytes(entry: ListEntry): number {
  return FIXED_BYTES + textFieldBytes(entry.path) + textFieldBytes(entry.target);
}

export function entriesBytes(entries: readonly ListEntry[]): number {
  let total = 0;
  for (const entry of entries) total += entryBytes(entry);
  return total;
}

export function writeEntries(entries: readonly ListEntry[], to: ByteWriter): void {
  for (const entry of entries) {
    to.u8(ENTRY_KINDS.indexOf(entry.kind));
    to.u16(entry.mode);
    to.i64(entry.size);
    to.i64(entry.mtimeUs);
    to.text(entry.path);
    to.text(entry.target);
  }
}

/** @throws DrayError "protocol" for an unknown kind or a cut entry. */
export function readEntries(from: ByteReader): ListEntry[] {
  const entries: ListEntry[] = [];
  while (from.remainingBytes > 0) {
    const kind = ENTRY_KINDS[from.u8()];
    if (kind === undefined) throw new DrayError("protocol", "the peer listed an entry of an unknown kind");
    const mode = from.u16();
    const size = from.size();
    const mtimeUs = from.i64();
    const path = from.text();
    entries.push({ kind, mode, size, mtimeUs, path, target: from.text() });
  }
  return entries;
}
