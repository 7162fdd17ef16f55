import type { EntryKind } from "../../src/sync/ports.ts";
import type { Random } from "./random.ts";

/** A content with its time, as it lies on the medium. */
export interface Content {
  readonly bytes: Uint8Array;
  readonly mtimeNs: bigint;
}

/** One file, directory or link of a simulated disk: what the running system sees, and what would survive a power loss. */
export class Inode {
  readonly id: bigint;
  readonly kind: EntryKind;
  mode: number;
  mtimeNs: bigint;
  ctimeNs: bigint;
  /** Of a directory, as the running system sees it. */
  readonly entries = new Map<string, Inode>();
  /** Of a directory, as it is on the medium. */
  readonly durableEntries = new Map<string, Inode>();
  #buffer = new Uint8Array(0);
  #sizeBytes = 0;
  /** Of a file; undefined: it was never synced. */
  #durable: Content | undefined;
  /** How much of what is durable was never cut off since: there, a write goes over what was, and nothing becomes zeros. */
  #inPlaceBytes = 0;
  #isDirty = false;

  constructor(id: bigint, kind: EntryKind, nowNs: bigint) {
    this.id = id;
    this.kind = kind;
    this.mode = kind === "directory" ? 0o755 : 0o644;
    this.mtimeNs = nowNs;
    this.ctimeNs = nowNs;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Whether a power loss can leave something else of the content. */
  get isUnsynced(): boolean {
    return this.kind === "file" && (this.#isDirty || this.#durable?.mtimeNs !== this.mtimeNs);
  }

  /** The content as the running system sees it, copied. */
  content(): Content {
    return { bytes: this.#buffer.slice(0, this.#sizeBytes), mtimeNs: this.mtimeNs };
  }

  read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.#sizeBytes - position));
    into.set(this.#buffer.subarray(position, position + count));
    return count;
  }

  write(bytes: Uint8Array, position: number): void {
    this.#isDirty = true;
    const end = position + bytes.length;
    if (end > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(64, end, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#sizeBytes));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, position);
    this.#sizeBytes = Math.max(this.#sizeBytes, end);
  }

  truncate(sizeBytes: number): void {
    this.#isDirty = true;
    if (sizeBytes > this.#sizeBytes)
      return this.write(new Uint8Array(sizeBytes - this.#sizeBytes), this.#sizeBytes);
    this.#buffer.fill(0, sizeBytes, this.#sizeBytes);
    this.#sizeBytes = sizeBytes;
    this.#inPlaceBytes = Math.min(this.#inPlaceBytes, sizeBytes);
  }

  /** This content has reached the medium; later changes have not. */
  harden(content: Content): void {
    this.#durable = content;
    this.#inPlaceBytes = Math.min(content.bytes.length, this.#sizeBytes);
    this.#isDirty =
      this.#sizeBytes !== content.bytes.length ||
      this.mtimeNs !== content.mtimeNs ||
      Buffer.compare(this.#buffer.subarray(0, this.#sizeBytes), content.bytes) !== 0;
  }

  /** The power fails: what was not synced is there, or not, or in part. */
  loseUnsynced(random: Random): void {
    if (this.kind === "directory") {
      this.entries.clear();
      for (const [name, inode] of this.durableEntries) this.entries.set(name, inode);
      return;
    }
    if (!this.isUnsynced) return;
    const now = this.content();
    const survivor = survivorOf(now, this.#durable, this.#inPlaceBytes, random);
    this.#buffer = survivor.bytes.slice();
    this.#sizeBytes = survivor.bytes.length;
    this.mtimeNs = survivor.mtimeNs;
    this.#durable = survivor;
    this.#inPlaceBytes = survivor.bytes.length;
    this.#isDirty = false;
  }
}

/** What file systems were seen to leave of a content that was not synced. */
function survivorOf(
  now: Content,
  durable: Content | undefined,
  inPlaceBytes: number,
  random: Random,
): Content {
  const before = now.bytes.slice().fill(0);
  if (durable !== undefined) before.set(durable.bytes.subarray(0, Math.min(inPlaceBytes, before.length)));
  const cut = random.integer(0, now.bytes.length);
  switch (random.integer(0, 5)) {
    case 0:
      return now;
    case 1: // Written blocks without their data.
      return {
        bytes: Buffer.concat([now.bytes.subarray(0, cut), before.subarray(cut)]),
        mtimeNs: now.mtimeNs,
      };
    case 2: // Some new blocks in front of old ones.
      return {
        bytes: Buffer.concat([now.bytes.subarray(0, cut), durable?.bytes.subarray(cut) ?? new Uint8Array(0)]),
        mtimeNs: now.mtimeNs,
      };
    case 3: // Sectors in any order.
      return { bytes: mixtureOf(now.bytes, before, random), mtimeNs: now.mtimeNs };
    case 4:
      return durable ?? { bytes: new Uint8Array(0), mtimeNs: now.mtimeNs };
    default:
      return durable ?? { bytes: now.bytes.slice(0, cut), mtimeNs: now.mtimeNs };
  }
}

const SECTOR_BYTES = 512;

/** Each sector is as it is now, or as it was before. */
function mixtureOf(now: Uint8Array, before: Uint8Array, random: Random): Uint8Array {
  const bytes = now.slice();
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    if (random.next() < 0.5) bytes.set(before.subarray(at, at + SECTOR_BYTES), at);
  }
  return bytes;
}
