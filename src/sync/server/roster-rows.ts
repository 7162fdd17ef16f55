import type { Ledger, LedgerChange } from "../ports.ts";
import type { Entry, Roster } from "./roster.ts";

const FILES = "files";
const HUB = "hub";
const SEQUENCE = "sequence";
const ID = "id";

/** One entry as a row. */
export function rowOf(name: string, entry: Entry): LedgerChange {
  const { sequence, md5 } = entry;
  const value =
    entry.kind === "file"
      ? [sequence, md5, entry.sizeBytes, String(entry.mtimeNs), String(entry.inode)]
      : [sequence, md5, entry.deletedMs];
  return { table: FILES, key: name, value: JSON.stringify(value) };
}

/** Takes an entry out. */
export function goneRow(name: string): LedgerChange {
  return { table: FILES, key: name, value: undefined };
}

/** So that no number is given out twice, not even after its entry is forgotten. */
export function sequenceRow(sequence: number): LedgerChange {
  return { table: HUB, key: SEQUENCE, value: String(sequence) };
}

/** The id of this hub and its folder, which clients keep their bases for. */
export function idRow(id: string): LedgerChange {
  return { table: HUB, key: ID, value: id };
}

export function knownId(ledger: Ledger): string | undefined {
  return ledger.get(HUB, ID);
}

/** Puts what was written down into an empty roster. @returns rows that make no sense, and were passed over */
export function restoreRoster(ledger: Ledger, roster: Roster): number {
  let senseless = 0;
  for (const [name, value] of ledger.rows(FILES)) {
    const entry = entryOf(value);
    if (entry === undefined) senseless++;
    else roster.restore(name, entry);
  }
  roster.raiseSequence(Number(ledger.get(HUB, SEQUENCE) ?? 0));
  return senseless;
}

function entryOf(value: string): Entry | undefined {
  const row: unknown = JSON.parse(value);
  if (!Array.isArray(row)) return undefined;
  const [sequence, md5, third, mtime, inode]: unknown[] = row;
  if (typeof sequence !== "number" || typeof md5 !== "string" || typeof third !== "number") return undefined;
  if (row.length === 3) return { kind: "deleted", sequence, md5, deletedMs: third };
  if (typeof mtime !== "string" || typeof inode !== "string") return undefined;
  return { kind: "file", sequence, md5, sizeBytes: third, mtimeNs: BigInt(mtime), inode: BigInt(inode) };
}
