import * as fs from "node:fs";
import type { ContainedDirectory } from "../disk/contained-root.ts";
import { factsAt } from "../disk/file-facts.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { quoteName } from "../wire/names.ts";
import type { Extent } from "./extents.ts";
import type { PartNames } from "./part-names.ts";
import {
  type JournalContents,
  type JournaledPiece,
  type PartVersion,
  SEVERAL_SERVERS,
  readJournal,
} from "./piece-journal.ts";

/** A journal is 32 bytes a piece: a larger file is none. */
const MAX_JOURNAL_BYTES = 1024 ** 3;
/** While pieces are checked, others get their turn after so many bytes. */
const CHECK_TURN_BYTES = 16 * 1024 * 1024;

/** What an earlier attempt left. */
export interface FoundJournal {
  /** Undefined when there is nothing to go on with. */
  contents: JournalContents | undefined;
  /** Why not, when there is something. */
  startedOver: string | undefined;
}

/** @throws DrayError "refused" for what is no part of ours; a system error */
export function findJournal(
  directory: ContainedDirectory,
  names: PartNames,
  version: PartVersion,
): FoundJournal {
  const { part, journal } = ownFiles(directory, names);
  if (journal === undefined || part === undefined) return { contents: undefined, startedOver: undefined };
  const partBytes = part.sizeBytes;
  try {
    if (journal.sizeBytes > MAX_JOURNAL_BYTES) throw new DrayError("integrity", "it is far too large");
    const contents = readJournal(fs.readFileSync(directory.entry(names.journal)));
    const why = difference(contents.version, version);
    return why === undefined
      ? { contents, startedOver: undefined }
      : { contents: undefined, startedOver: partBytes > 0 ? why : undefined };
  } catch (error) {
    const known = asDrayError(error);
    if (known.code !== "integrity") throw error;
    return {
      contents: undefined,
      startedOver: `the journal of what was there is damaged (${known.message})`,
    };
  }
}

interface PlainFile {
  sizeBytes: number;
}

/** The part and its journal, as far as they are there. */
function ownFiles(
  directory: ContainedDirectory,
  names: PartNames,
): { part: PlainFile | undefined; journal: PlainFile | undefined } {
  const part = plainFile(directory, names.part);
  const journal = plainFile(directory, names.journal);
  if (journal !== undefined || part === undefined || part.sizeBytes === 0) return { part, journal };
  throw new DrayError(
    "refused",
    `${quoteName(names.part)} is in the way: there is no journal beside it, so it is not an interrupted fetch of dray's; move it away`,
  );
}

/** @throws DrayError "refused" when something is in the way that is no part of ours; a system error */
export function refuseForeignPart(directory: ContainedDirectory, names: PartNames): void {
  ownFiles(directory, names);
}

function difference(had: PartVersion, has: PartVersion): string | undefined {
  if (had.origin === SEVERAL_SERVERS && has.origin !== had.origin)
    return "what was there came from several servers";
  if (had.origin !== has.origin || had.path !== has.path)
    return `what was there came from ${quoteName(had.path)} at ${had.origin}`;
  if (had.sizeBytes !== has.sizeBytes || had.mtimeUs !== has.mtimeUs)
    return "the file has changed at the server since";
  return undefined;
}

function plainFile(directory: ContainedDirectory, name: string): PlainFile | undefined {
  const facts = factsAt(directory.entry(name));
  if (facts === undefined || facts.kind === "file") return facts;
  throw new DrayError("refused", `${quoteName(name)} is in the way: it is a ${facts.kind}`);
}

/** The pieces that lie inside the file and were synced, or hold what their digest says. */
export async function trustedPieces(
  descriptor: number,
  pieces: readonly JournaledPiece[],
): Promise<Set<JournaledPiece>> {
  const trusted = new Set<JournaledPiece>();
  const { size } = fs.fstatSync(descriptor);
  let turnBytes = 0;
  for (const piece of pieces) {
    if (piece.offset + piece.lengthBytes > size) continue;
    if (piece.isSynced || Bun.hash.xxHash3(readPiece(descriptor, piece)) === piece.digest) trusted.add(piece);
    if (!piece.isSynced) turnBytes += piece.lengthBytes;
    if (turnBytes < CHECK_TURN_BYTES) continue;
    turnBytes = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return trusted;
}

/** Fewer bytes than wanted where the file ends: no digest matches those. */
function readPiece(descriptor: number, { offset, lengthBytes }: Extent): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const count = fs.readSync(descriptor, bytes, filled, lengthBytes - filled, offset + filled);
    if (count === 0) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

/** Removes what a fetch left that was killed after its file had become visible. */
export function removeJournalWithoutPart(directory: ContainedDirectory, names: PartNames): void {
  if (factsAt(directory.entry(names.part)) !== undefined) return;
  if (factsAt(directory.entry(names.journal))?.kind !== "file") return;
  fs.unlinkSync(directory.entry(names.journal));
}
