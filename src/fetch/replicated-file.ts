import type { FetchCounters } from "./fetch-setting.ts";
import type { GrowingSum } from "./file-sums.ts";
import type { PartFile } from "./part-file.ts";
import type { PieceDigests } from "./piece-digests.ts";
import { extentOf, piecesOf, runsWhere } from "./piece-layout.ts";
import type { PieceLayout, PieceRun } from "./planner-events.ts";
import type { SeedFile } from "./seed-file.ts";

/** While bytes that are there are compared, others get their turn after so many. */
const TURN_BYTES = 16 * 1024 * 1024;

/**
 * A file whose pieces' digests are known from elsewhere: takes pieces from whoever brings them, from an
 * earlier attempt's part, or from an older file of the same name, and none that does not match.
 */
export class ReplicatedFile {
  readonly layout: PieceLayout;
  readonly #part: PartFile;
  readonly #digests: PieceDigests;
  readonly #counters: FetchCounters;
  readonly #sum: GrowingSum | undefined;
  readonly #seed: SeedFile | undefined;
  /** Up to where an earlier attempt has left something. */
  readonly #foundBytes: number;
  readonly #isPresent: Uint8Array;
  #missing: number;
  #buffer = new Uint8Array(0);

  /** @param seed the file that stands under the final name, if there is one; it stays the caller's */
  constructor(
    part: PartFile,
    layout: PieceLayout,
    digests: PieceDigests,
    sum: GrowingSum | undefined,
    counters: FetchCounters,
    seed: SeedFile | undefined,
  ) {
    this.layout = layout;
    this.#part = part;
    this.#digests = digests;
    this.#sum = sum;
    this.#counters = counters;
    this.#foundBytes = part.lengthBytes;
    this.#missing = piecesOf(layout);
    this.#isPresent = new Uint8Array(this.#missing);
    this.#seed = seed;
  }

  get isWhole(): boolean {
    return this.#missing === 0;
  }

  isPresent(piece: number): boolean {
    return this.#isPresent[piece] === 1;
  }

  /** The pieces that are there, as runs. */
  present(): Generator<PieceRun, void> {
    const all = { first: 0, count: this.#isPresent.length };
    return runsWhere(all, (piece) => this.isPresent(piece));
  }

  /**
   * Takes a piece that came from a server, if it is what it must be.
   * @param wireDigest XXH3-64 of the bytes, where that has been computed and compared already
   * @throws what the disk says
   */
  take(piece: number, bytes: Uint8Array, wireDigest: bigint | undefined): boolean {
    const agreed = this.#digests.xxh3(piece);
    const digest = wireDigest ?? Bun.hash.xxHash3(bytes);
    if (agreed === undefined ? !this.#digests.matches(piece, bytes) : agreed !== digest) return false;
    const offset = piece * this.layout.pieceBytes;
    this.#part.write(offset, bytes, digest);
    this.#added(piece, offset, bytes.length, digest);
    return true;
  }

  /** Takes what is there of these pieces already, in the part or the older file. Quick for a few of them only. */
  recover(pieces: PieceRun): void {
    const end = pieces.first + pieces.count;
    for (let piece = pieces.first; piece < end; piece++) this.#recover(piece);
  }

  /** The same for all pieces, letting others have their turn. */
  async recoverAll(signal: AbortSignal): Promise<void> {
    const turn = Math.max(1, Math.floor(TURN_BYTES / this.layout.pieceBytes));
    const reach = Math.ceil(Math.max(this.#foundBytes, this.#seed?.sizeBytes ?? 0) / this.layout.pieceBytes);
    const count = Math.min(this.#isPresent.length, reach);
    for (let first = 0; first < count; first += turn) {
      this.recover({ first, count: Math.min(turn, count - first) });
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
  }

  /** Pieces that turned out to be other bytes than were written: to be fetched again. */
  lose(piece: number): void {
    if (!this.isPresent(piece)) return;
    const { offset, lengthBytes } = extentOf(this.layout, { first: piece, count: 1 });
    this.#part.lose({ offset, lengthBytes });
    this.#isPresent[piece] = 0;
    this.#missing++;
    this.#counters.doneBytes -= lengthBytes;
  }

  /** So many bytes of pieces crossed the network… */
  counted(bytes: number): void {
    this.#counters.transferredBytes += bytes;
  }

  /** …and so many of them were not needed, or wrong. */
  wasted(bytes: number): void {
    this.#counters.wastedBytes += bytes;
  }

  #recover(piece: number): void {
    if (this.isPresent(piece)) return;
    const { offset, lengthBytes } = extentOf(this.layout, { first: piece, count: 1 });
    const end = offset + lengthBytes;
    if (end > this.#foundBytes && end > (this.#seed?.sizeBytes ?? 0)) return;
    if (this.#buffer.length === 0) this.#buffer = new Uint8Array(this.layout.pieceBytes);
    const bytes = this.#buffer.subarray(0, lengthBytes);
    if (end <= this.#foundBytes && this.#part.read(offset, bytes)) {
      const digest = this.#digestIfRight(piece, bytes);
      if (digest !== undefined) {
        this.#part.adopt({ offset, lengthBytes, digest });
        this.#counters.resumedBytes += lengthBytes;
        return this.#added(piece, offset, lengthBytes, digest);
      }
    }
    if (this.#seed?.read(offset, bytes) !== true) return;
    const digest = this.#digestIfRight(piece, bytes);
    if (digest === undefined) return;
    this.#part.write(offset, bytes, digest);
    this.#counters.seededBytes += lengthBytes;
    this.#added(piece, offset, lengthBytes, digest);
  }

  /** @returns its XXH3-64 */
  #digestIfRight(piece: number, bytes: Uint8Array): bigint | undefined {
    const digest = Bun.hash.xxHash3(bytes);
    const agreed = this.#digests.xxh3(piece);
    const isRight = agreed === undefined ? this.#digests.matches(piece, bytes) : agreed === digest;
    return isRight ? digest : undefined;
  }

  #added(piece: number, offset: number, lengthBytes: number, digest: bigint): void {
    this.#isPresent[piece] = 1;
    this.#missing--;
    this.#counters.doneBytes += lengthBytes;
    this.#sum?.add({ offset, lengthBytes, digest });
  }
}
