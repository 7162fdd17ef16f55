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
  }

  /** This content has reached the medium; later changes have not. */
  harden(content: Content): void {
    this.#durable = content;
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
    if (this.kind !== "file" || (!this.#isDirty && this.#durable?.mtimeNs === this.mtimeNs)) return;
    const now = this.content();
    const survivor = survivorOf(now, this.#durable, random);
    this.#buffer = survivor.bytes.slice();
    this.#sizeBytes = survivor.bytes.length;
    this.mtimeNs = survivor.mtimeNs;
    this.#durable = survivor;
    this.#isDirty = false;
  }
}

/** What file systems were seen to leave of a content that was not synced. */
function survivorOf(now: Content, durable: Content | undefined, random: Random): Content {
  const cut = random.integer(0, now.bytes.length);
  switch (random.integer(0, 4)) {
    case 0:
      return now;
    case 1: // Written blocks without their data.
      return { bytes: now.bytes.slice().fill(0, cut), mtimeNs: now.mtimeNs };
    case 2: // Some new blocks in front of old ones.
      return {
        bytes: Buffer.concat([now.bytes.subarray(0, cut), durable?.bytes.subarray(cut) ?? new Uint8Array(0)]),
        mtimeNs: now.mtimeNs,
      };
    case 3: // The length before the data.
      return durable ?? { bytes: new Uint8Array(0), mtimeNs: now.mtimeNs };
    default:
      return durable ?? { bytes: now.bytes.slice(0, cut), mtimeNs: now.mtimeNs };
  }
}
