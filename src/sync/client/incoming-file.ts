import type { Hasher, RunningDigest } from "../ports.ts";
import type { StagedFile } from "../staging.ts";
import { md5Text } from "./md5-text.ts";
import { ReceivedFile, type ChunkPlace } from "./received-file.ts";

/** Chunks up to this are hashed at once, on this thread; larger ones are read back by another, a portion at a time. */
const INLINE_BYTES = 64 * 1024;
const PORTION_BYTES = 1024 * 1024;

/** One file on its way in: its bytes in a staged file, its digests behind them. */
export class IncomingFile {
  readonly name: string;
  readonly staged: StagedFile;
  readonly #hasher: Hasher;
  readonly #progress = new ReceivedFile();
  #digest: RunningDigest | undefined;
  #isInline = true;
  #isBare = false;
  #hashedToBytes = 0;
  #checks: Promise<unknown> = Promise.resolve();
  /** Of the first chunk: the whole file's, if no other comes. */
  #first: { md5: string; sizeBytes: number } | undefined;
  #whole: RunningDigest | undefined;
  #wholeBytes = 0;
  #isDropped = false;
  #isReleased = false;

  constructor(name: string, staged: StagedFile, hasher: Hasher) {
    this.name = name;
    this.staged = staged;
    this.#hasher = hasher;
  }

  get isDropped(): boolean {
    return this.#isDropped;
  }

  get unhashedBytes(): number {
    return (this.#digest?.pendingBytes ?? 0) + (this.#whole?.pendingBytes ?? 0);
  }

  /** Resolves when what came so far is hashed. */
  async hashed(): Promise<void> {
    await Promise.all([this.#digest?.digest(), this.#whole?.digest()]);
  }

  /**
   * A chunk begins.
   * @param isBare it has no digest: that of the whole file is all there is to compare
   */
  begin(sizeBytes: number, isBare: boolean): ChunkPlace {
    this.#isBare = isBare;
    this.#isInline = !isBare && sizeBytes <= INLINE_BYTES;
    this.#digest = this.#isInline || isBare ? undefined : this.#hasher.begin();
    this.#hashedToBytes = this.#progress.sizeBytes;
    return this.#progress.begin();
  }

  /** @throws a system error, ENOSPC among them */
  append(place: ChunkPlace, bytes: Uint8Array): void {
    if (this.#isDropped || !this.#progress.isWanted(place)) return;
    this.staged.append(bytes);
    this.#progress.appended(bytes.length);
    if (this.#digest !== undefined && this.staged.sizeBytes - this.#hashedToBytes >= PORTION_BYTES)
      this.#hashPortion(this.#digest);
  }

  /**
   * The chunk has ended: compares it.
   * @returns the answer
   * @throws (the promise) what the disk says
   */
  checkChunk(place: ChunkPlace, md5: Uint8Array): Promise<number> {
    const endBytes = this.#progress.sizeBytes;
    const isBare = this.#isBare;
    const found = this.#found(place, endBytes);
    found.catch(() => undefined); // told where it is waited for, which may be later
    const checked = this.#checks.then(async () => {
      const text = await found;
      const isGood = isBare || text === md5Text(md5);
      const verdict = this.#progress.checked(place, endBytes - place.offsetBytes, isGood);
      if (verdict.keep) this.#keep(text, place.offsetBytes, endBytes);
      else if (verdict.cutToBytes === undefined) this.drop();
      else if (!this.#isDropped) this.staged.cutBack(verdict.cutToBytes);
      return verdict.reply;
    });
    this.#checks = checked.catch(() => undefined);
    return checked;
  }

  /** The digest of all of it, once every chunk is checked; undefined if it was dropped. */
  async whole(): Promise<string | undefined> {
    await this.#checks;
    if (this.#isDropped) return undefined;
    if (this.#whole !== undefined) return md5Text(await this.#whole.digest());
    return this.#first?.md5 ?? md5Text(this.#hasher.md5(new Uint8Array(0)));
  }

  /** Hands over the staged file. */
  release(): StagedFile {
    this.#isReleased = true;
    this.#whole?.close();
    return this.staged;
  }

  /** Removes what came. Harmless when called again. */
  drop(): void {
    if (this.#isDropped || this.#isReleased) return;
    this.#isDropped = true;
    this.#digest?.close();
    this.#whole?.close();
    this.staged.discard();
  }

  /** The digest of a chunk; undefined for one that has none to be compared with. */
  async #found(place: ChunkPlace, endBytes: number): Promise<string | undefined> {
    const digest = this.#digest;
    this.#digest = undefined;
    if (digest !== undefined) return await this.#md5Behind(digest, this.#progress.isWanted(place));
    return this.#isBare ? undefined : await this.#md5Of(place, endBytes);
  }

  /** Of what is in the cache of the system anyway. */
  async #md5Of(place: ChunkPlace, endBytes: number): Promise<string> {
    if (!this.#progress.isWanted(place)) return "";
    const bytes = new Uint8Array(endBytes - place.offsetBytes);
    this.staged.file.read(bytes, place.offsetBytes);
    return md5Text(this.#hasher.md5(bytes));
  }

  async #md5Behind(digest: RunningDigest, isWanted: boolean): Promise<string> {
    try {
      if (isWanted) this.#hashPortion(digest);
      return md5Text(await digest.digest());
    } finally {
      digest.close();
    }
  }

  #hashPortion(digest: RunningDigest): void {
    const toBytes = this.staged.sizeBytes;
    if (toBytes === this.#hashedToBytes) return;
    digest.addRange(this.staged.file, this.#hashedToBytes, toBytes - this.#hashedToBytes);
    this.#hashedToBytes = toBytes;
  }

  /** A chunk is good: what it adds to the digest of all. */
  #keep(md5: string | undefined, fromBytes: number, toBytes: number): void {
    if (fromBytes === 0 && this.#whole === undefined && md5 !== undefined) {
      this.#first = { md5, sizeBytes: toBytes };
      return;
    }
    this.#whole ??= this.#hasher.begin();
    this.#whole.addRange(this.staged.file, this.#wholeBytes, toBytes - this.#wholeBytes);
    this.#wholeBytes = toBytes;
  }
}
