import * as fs from "node:fs";
import * as path from "node:path";
import { currentBootId } from "../disk/boot-id.ts";
import { isNotFound } from "../errors/dray-error.ts";
import type { FileVersion } from "./owner-journal.ts";
import { PartFile } from "./part-file.ts";

/** How long an interrupted upload is kept that nobody goes on with. */
const PART_KEPT_MS = 7 * 86_400_000;
/** Interrupted uploads of one owner that are kept at most, the newest ones. */
const MAX_PARTS_OF_OWNER = 64;
/** Smaller ones are sent again as quickly as they are looked for. */
const MIN_PARKED_BYTES = 64 * 1024;

const PART = /^([0-9a-f]{16})-[0-9a-f]{32}\.part$/;
const BOOT = "boot";

interface ParkedPart {
  ownerHash: string;
  sizeBytes: number;
  parkedMs: number;
}

/**
 * The files of uploads under way, and what interrupted ones have left. A part belongs to one version of
 * one file and to one owner: nobody completes, and so gets to own, what somebody else has begun.
 */
export class PartStore {
  readonly #path: string;
  readonly #parked = new Map<string, ParkedPart>();
  #counter = 0;

  /**
   * @param directory is made if it is missing; everything in it belongs to the store
   * @throws a system error
   */
  constructor(directory: string, nowMs: number) {
    this.#path = directory;
    fs.mkdirSync(directory, { recursive: true });
    const bootId = currentBootId();
    const isTrusted = bootId !== "unknown" && this.#lastBootId() === bootId;
    for (const name of fs.readdirSync(directory)) {
      if (name === BOOT) continue;
      const stats = fs.statSync(this.#at(name));
      const ownerHash = PART.exec(name)?.[1];
      if (ownerHash === undefined || !isTrusted || nowMs - stats.mtimeMs > PART_KEPT_MS)
        fs.rmSync(this.#at(name));
      else this.#parked.set(name, { ownerHash, sizeBytes: stats.size, parkedMs: stats.mtimeMs });
    }
    // Last: whoever is killed before that has not removed all that is not to be trusted.
    if (!isTrusted) fs.writeFileSync(this.#at(BOOT), bootId);
  }

  /** Bytes of all parked parts. */
  get parkedBytes(): number {
    let total = 0;
    for (const { sizeBytes } of this.#parked.values()) total += sizeBytes;
    return total;
  }

  /** The device on which uploads lie: what is on another one cannot be renamed to. */
  get device(): number {
    return fs.statSync(this.#path).dev;
  }

  /** How much of a version is there from an interrupted upload, in bytes. */
  parkedBytesOf(owner: string, version: FileVersion): number {
    const parked = this.#parked.get(partName(owner, version));
    return parked === undefined || parked.sizeBytes > version.sizeBytes ? 0 : parked.sizeBytes;
  }

  /** A file that is not gone on with if it is interrupted. @throws a system error */
  begin(): PartFile {
    return new PartFile(this.#at(`${process.pid}-${this.#counter++}.tmp`));
  }

  /** The part of a version: what an interrupted upload left, or an empty one. @throws a system error */
  take(owner: string, version: FileVersion): PartFile {
    const name = partName(owner, version);
    if (this.parkedBytesOf(owner, version) === 0) fs.rmSync(this.#at(name), { force: true });
    this.#parked.delete(name);
    return new PartFile(this.#at(name));
  }

  /** Keeps what is there for a later attempt, if it is worth that; drops the owner's oldest part over the limit. */
  park(part: PartFile, owner: string, nowMs: number): void {
    const name = path.basename(part.path);
    if (part.writtenBytes < MIN_PARKED_BYTES || !PART.test(name)) return part.discard();
    part.close();
    const ownerHash = hashOf(owner).slice(0, 16);
    this.#parked.set(name, { ownerHash, sizeBytes: part.writtenBytes, parkedMs: nowMs });
    const own = [...this.#parked].filter(([, parked]) => parked.ownerHash === ownerHash);
    own.sort(([, a], [, b]) => a.parkedMs - b.parkedMs);
    for (const [oldest] of own.slice(0, Math.max(0, own.length - MAX_PARTS_OF_OWNER))) this.#drop(oldest);
  }

  /** Removes parts that nobody went on with. */
  sweep(nowMs: number): void {
    for (const [name, { parkedMs }] of this.#parked) {
      if (nowMs - parkedMs > PART_KEPT_MS) this.#drop(name);
    }
  }

  #drop(name: string): void {
    this.#parked.delete(name);
    try {
      fs.unlinkSync(this.#at(name));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** The boot in which the parts were written: they are not synced, and a crash of the machine may leave holes. */
  #lastBootId(): string | undefined {
    try {
      return fs.readFileSync(this.#at(BOOT), "utf8");
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return undefined;
    }
  }

  #at(name: string): string {
    return path.join(this.#path, name);
  }
}

function partName(owner: string, { path: file, sizeBytes, mtimeUs }: FileVersion): string {
  const identity = hashOf(JSON.stringify([owner, file, sizeBytes, mtimeUs]));
  return `${hashOf(owner).slice(0, 16)}-${identity.slice(0, 32)}.part`;
}

function hashOf(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
