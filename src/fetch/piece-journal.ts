import { DrayError } from "../errors/dray-error.ts";
import { type Extent, Extents } from "./extents.ts";

/**
 * The journal of an unfinished file: which bytes of which version came and were verified. Pure: bytes in,
 * bytes out.
 *
 * A head, then records of one length, each only ever appended:
 *
 *    head      "DRAYPART", u16 LE format, u16 LE length of the JSON, u64 LE nonce, JSON of the version,
 *              u64 LE XXH3-64 over all before it
 *    record    u64 LE check, i64 LE offset, u32 LE length, u32 LE kind, u64 LE digest (XXH3-64)
 *
 * A record's check is XXH3-64 over the check before it and the rest of the record: records of another
 * journal, in another order or behind a damaged one are never taken. What is cut off at the end is only
 * fetched again.
 */
export interface PartVersion {
  /** Who sends it, or SEVERAL_SERVERS: two files of one size and time need not be the same one. */
  origin: string;
  /** Its path there. */
  path: string;
  sizeBytes: number;
  mtimeUs: number;
}

/** In place of a server: pieces that were compared with what several of them agreed on. */
export const SEVERAL_SERVERS = "several servers";

/** A run of bytes that was verified, and what it was verified with. */
export interface Piece extends Extent {
  /** XXH3-64. */
  digest: bigint;
}

export interface JournaledPiece extends Piece {
  /** Whether its bytes were synced to disk before the journal said so. */
  isSynced: boolean;
}

export interface JournalContents {
  version: PartVersion;
  /** In the order of the journal; they never overlap. */
  pieces: JournaledPiece[];
  /** Up to where the journal can be read: what follows is to be cut off. */
  validBytes: number;
  /** For records that are to be appended at `validBytes`. */
  records: RecordWriter;
}

const MAGIC = Buffer.from("DRAYPART");
const FORMAT = 1;
const FIXED_HEAD_BYTES = 20;
const CHECK_BYTES = 8;
const RECORD_BYTES = 32;
const MAX_JSON_BYTES = 0xffff;

const KIND = { piece: 1, synced: 2, lost: 3 } as const;

/** @param nonce any random number: tells this journal's records from those of all others */
export function encodeHead(
  version: PartVersion,
  nonce: bigint,
): { bytes: Uint8Array; records: RecordWriter } {
  const { origin, path, sizeBytes, mtimeUs } = version;
  const json = Buffer.from(JSON.stringify({ origin, path, sizeBytes, mtimeUs }));
  if (json.length > MAX_JSON_BYTES) throw new RangeError(`a version of ${json.length} bytes`);
  const bytes = Buffer.alloc(FIXED_HEAD_BYTES + json.length + CHECK_BYTES);
  bytes.set(MAGIC, 0);
  bytes.writeUInt16LE(FORMAT, 8);
  bytes.writeUInt16LE(json.length, 10);
  bytes.writeBigUInt64LE(nonce, 12);
  bytes.set(json, FIXED_HEAD_BYTES);
  const check = Bun.hash.xxHash3(bytes.subarray(0, FIXED_HEAD_BYTES + json.length));
  bytes.writeBigUInt64LE(check, FIXED_HEAD_BYTES + json.length);
  return { bytes, records: new RecordWriter(check, 0) };
}

/** Makes records, each bound to the one before it. */
export class RecordWriter {
  readonly #bytes = new Uint8Array(RECORD_BYTES);
  readonly #record = Buffer.from(this.#bytes.buffer);
  #check: bigint;
  #count: number;

  /**
   * @param check the check before the next record
   * @param count how many records there are already
   */
  constructor(check: bigint, count: number) {
    this.#check = check;
    this.#count = count;
  }

  /** @returns bytes that are valid until the next call, as are those of the others */
  piece(piece: Piece): Uint8Array {
    return this.#seal(KIND.piece, piece.offset, piece.lengthBytes, piece.digest);
  }

  /** How many records were made, those of the journal so far included. */
  get count(): number {
    return this.#count;
  }

  /** All bytes of the pieces among the first `count` records are on disk. */
  synced(count: number): Uint8Array {
    return this.#seal(KIND.synced, count, 0, 0n);
  }

  /** The bytes of a piece before turned out not to be there any more. */
  lost({ offset, lengthBytes }: Extent): Uint8Array {
    return this.#seal(KIND.lost, offset, lengthBytes, 0n);
  }

  #seal(kind: number, offset: number, lengthBytes: number, digest: bigint): Uint8Array {
    const record = this.#record;
    record.writeBigUInt64LE(this.#check, 0);
    record.writeUInt32LE(offset % 2 ** 32, 8);
    record.writeUInt32LE(Math.floor(offset / 2 ** 32), 12);
    record.writeUInt32LE(lengthBytes, 16);
    record.writeUInt32LE(kind, 20);
    record.writeBigUInt64LE(digest, 24);
    this.#check = Bun.hash.xxHash3(record);
    this.#count++;
    record.writeBigUInt64LE(this.#check, 0);
    return this.#bytes;
  }
}

/** @throws DrayError "integrity" when it is no journal, or its head is damaged: nothing of it can be trusted then */
export function readJournal(bytes: Uint8Array): JournalContents {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const { version, headBytes, check } = readHead(source);
  const scratch = Buffer.alloc(RECORD_BYTES);
  const live = new Map<number, JournaledPiece>();
  const covered = new Extents();
  let lastCheck = check;
  let position = headBytes;
  let count = 0;
  let unsynced: { index: number; piece: JournaledPiece }[] = [];
  for (; position + RECORD_BYTES <= source.length; position += RECORD_BYTES) {
    source.copy(scratch, 0, position, position + RECORD_BYTES);
    const written = scratch.readBigUInt64LE(0);
    scratch.writeBigUInt64LE(lastCheck, 0);
    if (Bun.hash.xxHash3(scratch) !== written) break;
    const offset = scratch.readUInt32LE(12) * 2 ** 32 + scratch.readUInt32LE(8);
    const lengthBytes = scratch.readUInt32LE(16);
    const kind = scratch.readUInt32LE(20);
    const digest = scratch.readBigUInt64LE(24);
    if (kind === KIND.piece) {
      const piece: JournaledPiece = { offset, lengthBytes, digest, isSynced: false };
      if (lengthBytes === 0 || offset + lengthBytes > version.sizeBytes || !covered.add(piece)) break;
      live.set(offset, piece);
      unsynced.push({ index: count, piece });
    } else if (kind === KIND.synced && offset <= count) {
      for (const { index, piece } of unsynced) piece.isSynced = index < offset;
      unsynced = unsynced.filter(({ index }) => index >= offset);
    } else if (kind === KIND.lost && live.get(offset)?.lengthBytes === lengthBytes) {
      live.delete(offset);
      covered.remove({ offset, lengthBytes });
    } else {
      break;
    }
    lastCheck = written;
    count++;
  }
  return {
    version,
    pieces: [...live.values()],
    validBytes: position,
    records: new RecordWriter(lastCheck, count),
  };
}

function readHead(source: Buffer): { version: PartVersion; headBytes: number; check: bigint } {
  if (source.length < FIXED_HEAD_BYTES + CHECK_BYTES || source.compare(MAGIC, 0, 8, 0, 8) !== 0)
    throw new DrayError("integrity", "it is no journal of dray's");
  const jsonEnd = FIXED_HEAD_BYTES + source.readUInt16LE(10);
  if (source.readUInt16LE(8) !== FORMAT || jsonEnd + CHECK_BYTES > source.length)
    throw new DrayError("integrity", "it is cut off, or of another version of dray");
  const check = source.readBigUInt64LE(jsonEnd);
  if (Bun.hash.xxHash3(source.subarray(0, jsonEnd)) !== check)
    throw new DrayError("integrity", "its head is damaged");
  return {
    // Written by us, since the check is right.
    version: JSON.parse(source.toString("utf8", FIXED_HEAD_BYTES, jsonEnd)) as PartVersion,
    headBytes: jsonEnd + CHECK_BYTES,
    check,
  };
}
