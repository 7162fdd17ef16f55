import { type ByteReader, type ByteWriter, textFieldBytes } from "./cursor.ts";

/** One file in a server's memory. */
export interface CachedEntry {
  /** From the server's root, `/`-separated, canonical. */
  path: string;
  /** In bytes. */
  size: number;
  /** How often it was asked for and found there. */
  hits: number;
  /** How many answers are being sent from it right now; such an entry is not evicted. */
  pins: number;
}

const FIXED_BYTES = 8 + 8 + 4;

export function cachedEntryBytes(entry: CachedEntry): number {
  return FIXED_BYTES + textFieldBytes(entry.path);
}

export function cachedEntriesBytes(entries: readonly CachedEntry[]): number {
  let total = 0;
  for (const entry of entries) total += cachedEntryBytes(entry);
  return total;
}

export function writeCachedEntries(entries: readonly CachedEntry[], to: ByteWriter): void {
  for (const entry of entries) {
    to.text(entry.path);
    to.i64(entry.size);
    to.i64(entry.hits);
    to.u32(entry.pins);
  }
}

/** @throws DrayError "protocol" for a cut entry. */
export function readCachedEntries(from: ByteReader): CachedEntry[] {
  const entries: CachedEntry[] = [];
  while (from.remainingBytes > 0) {
    entries.push({ path: from.text(), size: from.size(), hits: from.size(), pins: from.u32() });
  }
  return entries;
}
