import * as fs from "node:fs";
import { DrayError, systemErrorCode } from "../errors/dray-error.ts";
import type { ContainedDirectory } from "./contained-root.ts";
import { type DigestKind, DigestChain, digestBytes, writeDigest } from "../wire/digest.ts";

const { O_WRONLY, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;

/** Names of files that are not published yet: never listed, never taken from a source. */
const TEMP_NAME = /^\.dray-[0-9a-z]+-[0-9a-z]+\.tmp$/;

/** Tells this thread's temp files from those of others, and of an earlier run. */
const runTag = Math.floor(Math.random() * 36 ** 8).toString(36);
let counter = 0;

export function isTempName(name: string): boolean {
  return TEMP_NAME.test(name);
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
 * The directory must stay held until commit or abandon.
 */
export class Publication {
  readonly #directory: ContainedDirectory;
  readonly #name: string;
  readonly #tempPath: string;
  #descriptor: number;
  #writtenBytes = 0;

  /** @throws a system error */
  constructor(directory: ContainedDirectory, name: string) {
    this.#directory = directory;
    this.#name = name;
    this.#tempPath = directory.entry(`.dray-${runTag}-${(counter++).toString(36)}.tmp`);
    this.#descriptor = fs.openSync(this.#tempPath, O_WRONLY | O_CREAT | O_EXCL | (O_NOFOLLOW ?? 0), 0o666);
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
    if (settings.sync) syncDirectory(this.#directory);
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
    const descriptor = fs.openSync(this.#tempPath, O_RDONLY | (O_NOFOLLOW ?? 0));
    try {
      const chain = new DigestChain(expected.kind);
      const digest = new Uint8Array(digestBytes(expected.kind));
      const piece = new Uint8Array(Math.min(expected.pieceBytes, Math.max(1, this.#writtenBytes)));
      for (let position = 0; position < this.#writtenBytes;) {
        const wantedBytes = Math.min(piece.length, this.#writtenBytes - position);
        let filled = 0;
        while (filled < wantedBytes) {
          const count = fs.readSync(descriptor, piece, filled, wantedBytes - filled, position + filled);
          if (count === 0)
            throw new DrayError("integrity", "the disk gives back fewer bytes than were written");
          filled += count;
        }
        writeDigest(expected.kind, piece.subarray(0, wantedBytes), digest, 0);
        chain.add(digest);
        position += wantedBytes;
      }
      if (Buffer.compare(chain.value, expected.chain) !== 0) {
        throw new DrayError("integrity", "the disk gives back other bytes than were written");
      }
    } finally {
      fs.closeSync(descriptor);
    }
  }

  #close(): void {
    if (this.#descriptor < 0) return;
    fs.closeSync(this.#descriptor);
    this.#descriptor = -1;
  }
}

/** Everybody who may read may execute: the source's bit, our umask. */
function executableMode(mode: number): number {
  return (mode & 0o7777) | ((mode & 0o444) >> 2);
}

function syncDirectory(directory: ContainedDirectory): void {
  const descriptor = fs.openSync(directory.path, O_RDONLY);
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
