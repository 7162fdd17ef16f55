import { DrayError } from "../../errors/dray-error.ts";
import { NO_MD5 } from "../../wire/sync-messages.ts";
import { type KnownMetadataEntry, metadataLines } from "../../wire/sync-metadata.ts";
import type { Hasher, Md5, OpenFile, RunningDigest } from "../ports.ts";
import { bytesOf } from "./changes.ts";
import type { Roster } from "./roster.ts";

/** Up to this much is read and hashed on the spot. */
const INLINE_BYTES = 64 * 1024;
/** Chunks that are being hashed while earlier ones are on their way. */
const AHEAD = 3;
/** Of the file META-DATA, what is written at once. */
const PORTION_LENGTH = 64 * 1024;

/** A part of what is delivered, hashed and ready to go. */
export interface OutgoingChunk {
  readonly sizeBytes: number;
  readonly md5: Md5;
  /** May be called again, to send it again. @throws DrayError "changed", a system error */
  read(into: Uint8Array): void;
}

/** How a file is cut. */
export interface DeliveryForm {
  readonly chunkBytes: number;
  /** Of a file of several chunks they go without digests: who gets it compares the whole. */
  readonly isBare: boolean;
}

/** What is delivered, in chunks. */
export interface DeliverySource {
  /** @returns undefined behind the last one. @throws DrayError, a system error */
  next(): Promise<OutgoingChunk | undefined>;
  /** Of the whole, once all chunks are out. */
  whole(): Promise<Md5>;
  close(): void;
}

/** A committed file, read through a descriptor that stays on this version whatever happens to its name. */
export class FileSource implements DeliverySource {
  readonly #hasher: Hasher;
  readonly #file: OpenFile;
  readonly #sizeBytes: number;
  readonly #md5: Md5;
  readonly #chunkBytes: number;
  readonly #isBare: boolean;
  #position = 0;
  #isBegun = false;
  #ahead: Promise<OutgoingChunk>[] = [];

  /** @param md5 of the whole file, 32 hexadecimal digits */
  constructor(
    hasher: Hasher,
    file: OpenFile,
    { sizeBytes, md5 }: { readonly sizeBytes: number; readonly md5: string },
    form: DeliveryForm,
  ) {
    this.#hasher = hasher;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
    this.#md5 = bytesOf(md5);
    this.#chunkBytes = form.chunkBytes;
    this.#isBare = form.isBare && sizeBytes > form.chunkBytes;
  }

  async next(): Promise<OutgoingChunk | undefined> {
    while (this.#ahead.length < AHEAD && (this.#position < this.#sizeBytes || !this.#isBegun)) {
      this.#isBegun = true;
      const sizeBytes = Math.min(this.#chunkBytes, this.#sizeBytes - this.#position);
      const chunk = this.#prepare(this.#position, sizeBytes);
      chunk.catch(() => {}); // whoever takes it hears of it
      this.#ahead.push(chunk);
      this.#position += sizeBytes;
      if (sizeBytes <= INLINE_BYTES) break;
    }
    return await this.#ahead.shift();
  }

  whole(): Promise<Md5> {
    return Promise.resolve(this.#md5);
  }

  close(): void {
    this.#file.close();
  }

  async #prepare(fromBytes: number, sizeBytes: number): Promise<OutgoingChunk> {
    if (this.#isBare) return { sizeBytes, md5: NO_MD5, read: (into) => this.#read(into, fromBytes) };
    if (sizeBytes <= INLINE_BYTES) {
      const bytes = new Uint8Array(sizeBytes);
      this.#read(bytes, fromBytes);
      return { sizeBytes, md5: this.#hasher.md5(bytes), read: (into) => into.set(bytes) };
    }
    const running = this.#hasher.begin();
    try {
      running.addRange(this.#file, fromBytes, sizeBytes);
      const md5 = await running.digest();
      return { sizeBytes, md5, read: (into) => this.#read(into, fromBytes) };
    } finally {
      running.close();
    }
  }

  #read(into: Uint8Array, fromBytes: number): void {
    if (into.length > 0 && this.#file.read(into, fromBytes) < into.length)
      throw new DrayError("changed", "the file was cut while it was being sent");
  }
}

/** The list of all files. Lines are made when their turn comes: however long it is, one chunk of it is in memory. */
export class MetaDataSource implements DeliverySource {
  readonly #hasher: Hasher;
  readonly #lines: Generator<string, void>;
  readonly #chunkBytes: number;
  readonly #whole: RunningDigest;
  #isBegun = false;

  constructor(hasher: Hasher, serverId: string, roster: Roster, chunkBytes: number) {
    this.#hasher = hasher;
    this.#lines = metadataLines({ id: serverId }, liveEntries(roster));
    this.#chunkBytes = chunkBytes;
    this.#whole = hasher.begin();
  }

  next(): Promise<OutgoingChunk | undefined> {
    const lines: string[] = [];
    let length = 0;
    while (length < this.#chunkBytes) {
      const { value, done } = this.#lines.next();
      if (done === true) break;
      lines.push(value);
      length += value.length;
    }
    if (lines.length === 0 && this.#isBegun) return Promise.resolve(undefined);
    this.#isBegun = true;
    const bytes = new Uint8Array(Buffer.from(lines.join("")));
    this.#whole.add(bytes);
    return Promise.resolve({
      sizeBytes: bytes.length,
      md5: this.#hasher.md5(bytes),
      read: (into) => into.set(bytes),
    });
  }

  whole(): Promise<Md5> {
    return this.#whole.digest();
  }

  close(): void {
    this.#whole.close();
  }
}

/** What `.dray/META-DATA` holds, in portions. */
export function* metaDataPortions(serverId: string, roster: Roster): Generator<Uint8Array, void> {
  let lines = "";
  for (const line of metadataLines({ id: serverId }, liveEntries(roster))) {
    lines += line;
    if (lines.length < PORTION_LENGTH) continue;
    yield new Uint8Array(Buffer.from(lines));
    lines = "";
  }
  if (lines !== "") yield new Uint8Array(Buffer.from(lines));
}

/** Files only: who reads this from the seed's text alone would ask for each deleted one. */
function* liveEntries(roster: Roster): Generator<KnownMetadataEntry, void> {
  for (const [name, entry] of roster.entries()) {
    if (entry.kind !== "file") continue;
    const { sequence, sizeBytes } = entry;
    const mtimeUs = Number(entry.mtimeNs / 1000n);
    yield { name, mtimeUs, sizeBytes, md5: bytesOf(entry.md5), sequence, isDeleted: false };
  }
}
