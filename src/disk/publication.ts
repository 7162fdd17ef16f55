import * as fs from "node:fs";
import { DrayError, isNotFound, systemErrorCode } from "../errors/dray-error.ts";
import type { ContainedDirectory } from "./contained-root.ts";
import { syncDirectory } from "./sync.ts";
import { type DigestKind, DigestChain, digestBytes, writeDigest } from "../wire/digest.ts";

const { O_WRONLY, O_RDONLY, O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;

/** Names of files that are not published yet: never listed, never taken from a source. */
const TEMP_NAME = /^\.dray-[0-9a-z]+-[0-9a-z]+\.tmp$/;

/** A part of a large file that a later attempt can go on with: the version's key, and who is writing to it. */
const PART_NAME = /^\.dray-(part[0-9a-z]+)-([0-9a-z]+)\.tmp$/;
/** In place of a writer: nobody is. */
const PARKED = "0";

/** Tells this thread's temp files from those of others, and of an earlier run. */
const runTag = Math.floor(Math.random() * 36 ** 8).toString(36);
let counter = 0;

export function isTempName(name: string): boolean {
  return TEMP_NAME.test(name);
}

/** A name for a symbolic link that is renamed into its place. */
export function linkTempName(): string {
  return `.dray-link-${runTag}${(counter++).toString(36)}.tmp`;
}

/** Which version of which file a part belongs to. */
export interface PartIdentity {
  name: string;
  sizeBytes: number;
  mtimeUs: number;
}

function partKey({ name, sizeBytes, mtimeUs }: PartIdentity): string {
  return `part${Bun.hash.xxHash3(`${sizeBytes} ${mtimeUs} ${name}`).toString(36)}`;
}

/** The name under which a part that a killed process was writing can be found again; undefined for other names. */
export function parkedName(tempName: string): string | undefined {
  const key = PART_NAME.exec(tempName)?.[1];
  return key === undefined ? undefined : `.dray-${key}-${PARKED}.tmp`;
}

export interface PublishSettings {
  mtimeUs: number;
  /** Any execute bit of the source gives the execute bits that our umask allows. */
  executable: boolean;
  /** Sync data before and the directory after the rename, so that power loss never shows a partial file. */
  sync: boolean;
  /** Read the written bytes back and compare them before the rename. */
  readBack: { kind: DigestKind; chain: Uint8Array; pieceBytes: number } | undefined;
}

/**
 * A file that nobody can see under its name until it is whole: bytes go to a temp file in the same
 * directory, and one rename makes them visible (DESIGN section 3, "Publish").
 *
 * The directory must stay held until commit, park or abandon.
 */
export class Publication {
  readonly #directory: ContainedDirectory;
  readonly #name: string;
  readonly #tempPath: string;
  #descriptor: number;
  #writtenBytes: number;

  /**
   * Starts a file from its first byte.
   * @param part makes what is written a part that can be gone on with, even when this process is killed
   * @throws a system error
   */
  static begin(directory: ContainedDirectory, name: string, part?: PartIdentity): Publication {
    const tag = `${runTag}${(counter++).toString(36)}`;
    const tempPath = directory.entry(`.dray-${part === undefined ? "file" : partKey(part)}-${tag}.tmp`);
    const descriptor = fs.openSync(tempPath, O_WRONLY | O_CREAT | O_EXCL | (O_NOFOLLOW ?? 0), 0o666);
    return new Publication(directory, name, tempPath, descriptor, 0);
  }

  /**
   * Goes on with a part that was parked, if there is one of this very version. Taking it is one rename,
   * so two attempts never write to the same part.
   * @throws a system error other than "not there"
   */
  static resume(directory: ContainedDirectory, identity: PartIdentity): Publication | undefined {
    const key = partKey(identity);
    const tempPath = directory.entry(`.dray-${key}-${runTag}${(counter++).toString(36)}.tmp`);
    try {
      fs.renameSync(directory.entry(`.dray-${key}-${PARKED}.tmp`), tempPath);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
    const descriptor = fs.openSync(tempPath, O_WRONLY | O_APPEND | (O_NOFOLLOW ?? 0));
    return new Publication(directory, identity.name, tempPath, descriptor, fs.fstatSync(descriptor).size);
  }

  private constructor(
    directory: ContainedDirectory,
    name: string,
    tempPath: string,
    descriptor: number,
    writtenBytes: number,
  ) {
    this.#directory = directory;
    this.#name = name;
    this.#tempPath = tempPath;
    this.#descriptor = descriptor;
    this.#writtenBytes = writtenBytes;
  }

  /**
   * Closes the part and leaves it for a later attempt.
   * @param sync makes what was written durable, where nothing else will
   * @throws a system error
   */
  park(identity: PartIdentity, sync = false): void {
    if (sync) fs.fsyncSync(this.#descriptor);
    this.#close();
    fs.renameSync(this.#tempPath, this.#directory.entry(`.dray-${partKey(identity)}-${PARKED}.tmp`));
  }

  /** Whether the part was last written to in this span of time, in milliseconds since 1970. */
  wasWrittenIn(span: { fromMs: number; untilMs: number }): boolean {
    const { mtimeMs } = fs.fstatSync(this.#descriptor);
    return mtimeMs >= span.fromMs && mtimeMs <= span.untilMs;
  }

  /**
   * Reads what a resumed part holds, from its beginning on.
   * @param take told of one portion after the other; valid only during the call
   * @throws a system error
   */
  reread(take: (bytes: Uint8Array) => void): void {
    readPieces(this.#tempPath, this.#writtenBytes, REREAD_BYTES, take);
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Appends. @throws a system error, ENOSPC among them */
  write(bytes: Uint8Array): void {
    let taken = 0;
    while (taken < bytes.length) taken += fs.writeSync(this.#descriptor, bytes, taken, bytes.length - taken);
    this.#writtenBytes += bytes.length;
  }

  /**
   * Makes the file visible under its name, replacing an older one.
   * @throws DrayError "integrity" when the disk does not hold what was written; a system error.
   *   After a throw nothing is visible and the temp file is gone.
   */
  commit(settings: PublishSettings): void {
    try {
      this.#settle(settings);
      fs.renameSync(this.#tempPath, this.#directory.entry(this.#name));
    } catch (error) {
      this.abandon();
      throw error;
    }
    if (settings.sync) syncDirectory(this.#directory.path);
  }

  /** Removes what was written. Does nothing after commit. */
  abandon(): void {
    this.#close();
    try {
      fs.unlinkSync(this.#tempPath);
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
    }
  }

  #settle(settings: PublishSettings): void {
    const stats = fs.fstatSync(this.#descriptor);
    if (stats.size !== this.#writtenBytes) {
      throw new DrayError(
        "integrity",
        `the disk holds ${stats.size} bytes after ${this.#writtenBytes} were written`,
      );
    }
    if (settings.executable) fs.fchmodSync(this.#descriptor, executableMode(stats.mode));
    // As text: Node's tradition takes a negative number for "now".
    const seconds = String(settings.mtimeUs / 1e6);
    fs.futimesSync(this.#descriptor, seconds, seconds);
    if (settings.sync) fs.fsyncSync(this.#descriptor);
    this.#close();
    if (settings.readBack !== undefined) this.#compare(settings.readBack);
  }

  #compare(expected: { kind: DigestKind; chain: Uint8Array; pieceBytes: number }): void {
    const chain = new DigestChain(expected.kind);
    const digest = new Uint8Array(digestBytes(expected.kind));
    readPieces(this.#tempPath, this.#writtenBytes, expected.pieceBytes, (piece) => {
      writeDigest(expected.kind, piece, digest, 0);
      chain.add(digest);
    });
    if (Buffer.compare(chain.value, expected.chain) !== 0) {
      throw new DrayError("integrity", "the disk gives back other bytes than were written");
    }
  }

  #close(): void {
    if (this.#descriptor < 0) return;
    fs.closeSync(this.#descriptor);
    this.#descriptor = -1;
  }
}

const REREAD_BYTES = 256 * 1024;

function readPieces(
  path: string,
  sizeBytes: number,
  pieceBytes: number,
  take: (piece: Uint8Array) => void,
): void {
  const descriptor = fs.openSync(path, O_RDONLY | (O_NOFOLLOW ?? 0));
  try {
    const buffer = new Uint8Array(Math.min(Math.max(1, pieceBytes), Math.max(1, sizeBytes)));
    for (let position = 0; position < sizeBytes; position += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, sizeBytes - position));
      for (let filled = 0; filled < piece.length;) {
        const count = fs.readSync(descriptor, piece, filled, piece.length - filled, position + filled);
        if (count === 0)
          throw new DrayError("integrity", "the disk gives back fewer bytes than were written");
        filled += count;
      }
      take(piece);
    }
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Everybody who may read may execute: the source's bit, our umask. */
export function executableMode(mode: number): number {
  return (mode & 0o7777) | ((mode & 0o444) >> 2);
}
