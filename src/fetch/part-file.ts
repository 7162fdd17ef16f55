import * as fs from "node:fs";
import { promisify } from "node:util";
import type { ContainedDirectory } from "../disk/contained-root.ts";
import { executableMode } from "../disk/publication.ts";
import { syncDescriptor, syncDirectory } from "../disk/sync.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { quoteName } from "../wire/names.ts";
import { type Extent, Extents } from "./extents.ts";
import { keepStandingFile } from "./final-file.ts";
import { findJournal, refuseForeignPart, trustedPieces } from "./found-part.ts";
import type { PartNames } from "./part-names.ts";
import {
  type JournaledPiece,
  type PartVersion,
  type Piece,
  type RecordWriter,
  encodeHead,
} from "./piece-journal.ts";

const { O_RDWR, O_CREAT, O_NOFOLLOW } = fs.constants;
const OPEN_FLAGS = O_RDWR | O_CREAT | (O_NOFOLLOW ?? 0);

/** How much, and how long, may be in the journal without being synced: what a power loss costs at most. */
const MAX_UNSYNCED_BYTES = 64 * 1024 * 1024;
const MAX_UNSYNCED_MS = 5_000;

const fdatasync = promisify(fs.fdatasync);

export interface PublishAs {
  name: string;
  mtimeUs: number;
  /** Any execute bit gives the execute bits that our umask allows. */
  executable: boolean;
  /** Destroy what stands under the name instead of keeping it under another. */
  overwrite: boolean;
}

/**
 * A file that is not whole yet: bytes that were verified go into `NAME.part`, and a record of each piece
 * into the journal beside it, so that a later attempt, also of another process, only fetches the rest.
 *
 * A record is written when its bytes are; a mark behind it says later that they are on disk. After
 * a kill, pieces without a mark are compared with their digests before they are trusted: at most a batch.
 *
 * Whoever opens one holds its PartLock and the directory.
 */
export class PartFile {
  readonly version: PartVersion;
  /** The pieces that were there when it was opened. */
  readonly resumed: readonly Piece[];
  /** Why what was there could not be gone on with, if it could not. */
  readonly startedOver: string | undefined;
  readonly #directory: ContainedDirectory;
  readonly #names: PartNames;
  readonly #descriptor: number;
  readonly #journal: number;
  readonly #records: RecordWriter;
  readonly #extents = new Extents();
  #journalBytes: number;
  #unsyncedBytes = 0;
  #lastSyncMs = performance.now();
  #syncing: Promise<void> | undefined;
  #failure: DrayError | undefined;
  #isOpen = true;

  /**
   * Goes on with the part of this very version that is there, or starts a new one.
   * @throws DrayError "refused" when something else has the part's name; a system error
   */
  static async open(
    directory: ContainedDirectory,
    names: PartNames,
    version: PartVersion,
  ): Promise<PartFile> {
    const found = findJournal(directory, names, version);
    // The journal first: a part without one is none of ours.
    const journal = fs.openSync(directory.entry(names.journal), OPEN_FLAGS, 0o666);
    let descriptor: number | undefined;
    try {
      let { contents } = found;
      if (contents === undefined) {
        const head = encodeHead(version, crypto.getRandomValues(new BigUint64Array(1))[0]!);
        fs.ftruncateSync(journal, 0);
        writeFully(journal, head.bytes, 0);
        contents = { version, pieces: [], validBytes: head.bytes.length, records: head.records };
      } else {
        fs.ftruncateSync(journal, contents.validBytes);
      }
      descriptor = fs.openSync(directory.entry(names.part), OPEN_FLAGS, 0o666);
      if (contents.pieces.length === 0) fs.ftruncateSync(descriptor, 0);
      // A power loss must not take the journal's name and leave the part's.
      if (found.contents === undefined) syncDirectory(directory.path);
      const trusted = await trustedPieces(descriptor, contents.pieces);
      return new PartFile(directory, names, version, found.startedOver, {
        descriptor,
        journal,
        trusted,
        contents,
      });
    } catch (error) {
      fs.closeSync(journal);
      if (descriptor !== undefined) fs.closeSync(descriptor);
      throw error;
    }
  }

  /**
   * Takes what is there for a part of any version, by whoever knows the digests of this one: none of its bytes
   * count before they are added by `adopt`. The journal is begun anew.
   * @throws DrayError "refused" when something else has the part's name; a system error
   */
  static salvage(directory: ContainedDirectory, names: PartNames, version: PartVersion): PartFile {
    refuseForeignPart(directory, names);
    const journal = fs.openSync(directory.entry(names.journal), OPEN_FLAGS, 0o666);
    try {
      const { bytes, records } = encodeHead(version, crypto.getRandomValues(new BigUint64Array(1))[0]!);
      fs.ftruncateSync(journal, 0);
      writeFully(journal, bytes, 0);
      const descriptor = fs.openSync(directory.entry(names.part), OPEN_FLAGS, 0o666);
      syncDirectory(directory.path);
      const contents = { pieces: [], validBytes: bytes.length, records };
      return new PartFile(directory, names, version, undefined, {
        descriptor,
        journal,
        trusted: new Set(),
        contents,
      });
    } catch (error) {
      fs.closeSync(journal);
      throw error;
    }
  }

  private constructor(
    directory: ContainedDirectory,
    names: PartNames,
    version: PartVersion,
    startedOver: string | undefined,
    opened: {
      descriptor: number;
      journal: number;
      trusted: ReadonlySet<JournaledPiece>;
      contents: { pieces: readonly JournaledPiece[]; validBytes: number; records: RecordWriter };
    },
  ) {
    this.#directory = directory;
    this.#names = names;
    this.version = version;
    this.startedOver = startedOver;
    this.#descriptor = opened.descriptor;
    this.#journal = opened.journal;
    this.#records = opened.contents.records;
    this.#journalBytes = opened.contents.validBytes;
    this.resumed = opened.contents.pieces.filter((piece) => opened.trusted.has(piece));
    for (const piece of opened.contents.pieces) {
      if (!opened.trusted.has(piece)) this.#append(this.#records.lost(piece));
      else this.#extents.add(piece);
      if (opened.trusted.has(piece) && !piece.isSynced) this.#unsyncedBytes += piece.lengthBytes;
    }
  }

  /** For reading back what was written. */
  get path(): string {
    return this.#directory.entry(this.#names.part);
  }

  /** Bytes that are there and verified. */
  get coveredBytes(): number {
    return this.#extents.coveredBytes;
  }

  /** How long the file is, whatever is in it. */
  get lengthBytes(): number {
    return fs.fstatSync(this.#descriptor).size;
  }

  /** Fills `target` with what is there, verified or not. @returns false where the file ends before that */
  read(offset: number, target: Uint8Array): boolean {
    return readFully(this.#descriptor, target, offset);
  }

  /** What is missing, in order. */
  gaps(): Extent[] {
    return this.#extents.gaps(this.version.sizeBytes);
  }

  /**
   * Takes a piece that was verified against this digest.
   * @throws a system error, ENOSPC among them; also one of an earlier sync
   */
  write(offset: number, bytes: Uint8Array, digest: bigint): void {
    if (this.#failure !== undefined) throw this.#failure;
    writeFully(this.#descriptor, bytes, offset);
    this.adopt({ offset, lengthBytes: bytes.length, digest });
  }

  /** Takes a piece whose bytes are in the file already, and match this digest. @throws like `write` */
  adopt(piece: Piece): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#extents.add(piece);
    this.#append(this.#records.piece(piece));
    this.#unsyncedBytes += piece.lengthBytes;
    this.#syncIfDue();
  }

  /** Forgets a piece whose bytes turned out to be others than were written. */
  lose(extent: Extent): void {
    this.#extents.remove(extent);
    this.#append(this.#records.lost(extent));
  }

  /**
   * Makes the whole file visible under its final name and durable, and removes the journal.
   * @returns under which name the file is kept that stood there, if one did
   * @throws a system error; DrayError "storage". The part is kept then
   */
  async publish(as: PublishAs): Promise<string | undefined> {
    await this.#syncing;
    if (this.#failure !== undefined) throw this.#failure;
    fs.ftruncateSync(this.#descriptor, this.version.sizeBytes);
    const stats = fs.fstatSync(this.#descriptor);
    if (as.executable) fs.fchmodSync(this.#descriptor, executableMode(stats.mode));
    // As text: Node's tradition takes a negative number for "now".
    const seconds = String(as.mtimeUs / 1e6);
    fs.futimesSync(this.#descriptor, seconds, seconds);
    await syncDescriptor(this.#descriptor);
    const named = fs.lstatSync(this.path, { throwIfNoEntry: false });
    if (named?.ino !== stats.ino || named.dev !== stats.dev) {
      throw new DrayError("storage", `somebody replaced ${quoteName(this.#names.part)} while it was filled`);
    }
    const backup = as.overwrite ? undefined : keepStandingFile(this.#directory, as.name, true);
    fs.renameSync(this.path, this.#directory.entry(as.name));
    await syncDirectoryAside(this.#directory);
    this.#close();
    fs.unlinkSync(this.#directory.entry(this.#names.journal));
    return backup;
  }

  /** Leaves it for a later attempt. Does nothing after publish or discard. */
  async park(): Promise<void> {
    await this.#syncing;
    this.#close();
  }

  /** Removes it with its journal. */
  async discard(): Promise<void> {
    await this.park();
    for (const name of [this.#names.part, this.#names.journal]) {
      fs.rmSync(this.#directory.entry(name), { force: true });
    }
  }

  #append(record: Uint8Array): void {
    writeFully(this.#journal, record, this.#journalBytes);
    this.#journalBytes += record.length;
  }

  #syncIfDue(): void {
    if (this.#syncing !== undefined) return;
    const sinceMs = performance.now() - this.#lastSyncMs;
    if (this.#unsyncedBytes < MAX_UNSYNCED_BYTES && sinceMs < MAX_UNSYNCED_MS) return;
    this.#unsyncedBytes = 0;
    this.#syncing = this.#sync()
      .catch((error: unknown) => {
        this.#failure ??= asDrayError(error);
      })
      .finally(() => {
        this.#syncing = undefined;
        this.#lastSyncMs = performance.now();
      });
  }

  /** Data first, then the journal says so. */
  async #sync(): Promise<void> {
    const { count } = this.#records;
    await fdatasync(this.#descriptor);
    this.#append(this.#records.synced(count));
    await fdatasync(this.#journal);
  }

  #close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    fs.closeSync(this.#descriptor);
    fs.closeSync(this.#journal);
  }
}

function writeFully(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let taken = 0; taken < bytes.length;) {
    taken += fs.writeSync(descriptor, bytes, taken, bytes.length - taken, position + taken);
  }
}

/** @returns false where the file ends before `target` is full */
export function readFully(descriptor: number, target: Uint8Array, position: number): boolean {
  for (let filled = 0; filled < target.length;) {
    const count = fs.readSync(descriptor, target, filled, target.length - filled, position + filled);
    if (count === 0) return false;
    filled += count;
  }
  return true;
}

async function syncDirectoryAside(directory: ContainedDirectory): Promise<void> {
  const descriptor = fs.openSync(directory.path, "r");
  try {
    await syncDescriptor(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
