import type { ContainedRoot } from "../disk/contained-root.ts";
import type { FileRead } from "../disk/file-read.ts";
import type { Hides } from "../disk/walk.ts";
import { DrayError } from "../errors/dray-error.ts";
import { DigestChain, digestBytes, writeDigest } from "../wire/digest.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import { MAX_PIECE_BYTES } from "../wire/messages.ts";
import { openForSending } from "./open-for-sending.ts";
import type { FillResult, OutBuffer, Responder } from "./responder.ts";
import type { SumsMemory, SumsOf } from "./sums-memory.ts";

export interface SumsOrder extends SumsOf {
  /** A power of two from MIN_SUMMED_BYTES to MAX_PIECE_BYTES. */
  pieceBytes: number;
  /** Whether what is known of this version of the file will do; if not, it is read in any case. */
  mayRecall: boolean;
}

/** Smaller pieces would make digests a burden of their own. */
const MIN_SUMMED_BYTES = 4096;
/** What is read and digested in one go: bounds how long the others wait. */
const READ_BYTES = 4 * 1024 * 1024;

/** One buffer for all of a thread: a piece is read and digested between two lines of one function. */
const piece = new Uint8Array(MAX_PIECE_BYTES);

/** Sends what a file's pieces digest to: FILE, DIGESTS…, END; an error once it changed on the way. */
export class SumsResponder implements Responder {
  readonly #root: ContainedRoot;
  readonly #hides: Hides;
  readonly #order: SumsOrder;
  readonly #requestId: number;
  readonly #memory: SumsMemory;
  readonly #chain: DigestChain;
  #file: FileRead | undefined;
  #startedMs = 0;
  #position = 0;
  /** What is known from an earlier time… */
  #known: Uint8Array | undefined;
  /** …or else what is to be known from now on, if there is room for it. */
  #computed: Uint8Array | undefined;

  /** @throws DrayError "usage" for pieces that are no power of two, or too small or large */
  constructor(root: ContainedRoot, hides: Hides, order: SumsOrder, requestId: number, memory: SumsMemory) {
    const { pieceBytes } = order;
    const isPowerOfTwo = (pieceBytes & (pieceBytes - 1)) === 0;
    if (!isPowerOfTwo || pieceBytes < MIN_SUMMED_BYTES || pieceBytes > MAX_PIECE_BYTES) {
      throw new DrayError(
        "usage",
        `pieces are powers of two from ${MIN_SUMMED_BYTES} to ${MAX_PIECE_BYTES} bytes`,
      );
    }
    this.#root = root;
    this.#hides = hides;
    this.#order = order;
    this.#requestId = requestId;
    this.#memory = memory;
    this.#chain = new DigestChain(order.digest);
  }

  release(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  fill(out: OutBuffer): FillResult {
    if (out.freeBytes < ROOM_BYTES) return "more";
    if (this.#file === undefined) this.#file = this.#open(out);
    const { sizeBytes } = this.#file.facts;
    if (this.#position < sizeBytes) {
      out.put({ type: "digests", payload: this.#nextDigests(this.#file) }, this.#requestId);
      return "more";
    }
    this.#file.assertUnchanged();
    if (this.#computed !== undefined)
      this.#memory.remember(this.#order, this.#file.facts, this.#computed, this.#startedMs);
    out.put({ type: "end", length: sizeBytes, chain: this.#chain.value }, this.#requestId);
    return "done";
  }

  #open(out: OutBuffer): FileRead {
    this.#startedMs = Date.now();
    const file = openForSending(this.#root, this.#hides, this.#order.path);
    const { sizeBytes: size, mtimeUs, mode } = file.facts;
    this.#file = file;
    this.#recall(file);
    out.put({ type: "file", size, mtimeUs, mode, offset: 0, length: size }, this.#requestId);
    return file;
  }

  #recall({ facts }: FileRead): void {
    const { pieceBytes, digest, mayRecall } = this.#order;
    if (mayRecall) this.#known = this.#memory.recall(this.#order, facts);
    const bytes = Math.ceil(facts.sizeBytes / pieceBytes) * digestBytes(digest);
    if (this.#known === undefined && this.#memory.hasRoomFor(bytes)) this.#computed = new Uint8Array(bytes);
  }

  #nextDigests(file: FileRead): Uint8Array {
    const { pieceBytes, digest } = this.#order;
    const width = digestBytes(digest);
    const done = Math.ceil(this.#position / pieceBytes) * width;
    if (this.#known !== undefined) {
      const digests = this.#known.subarray(done, done + MAX_DIGESTS * width);
      for (let at = 0; at < digests.length; at += width) this.#chain.add(digests.subarray(at, at + width));
      this.#position = Math.min(this.#position + MAX_DIGESTS * pieceBytes, file.facts.sizeBytes);
      return digests;
    }
    const count = Math.min(
      MAX_DIGESTS,
      READ_BYTES / pieceBytes,
      Math.ceil((file.facts.sizeBytes - this.#position) / pieceBytes),
    );
    const digests = new Uint8Array(count * width);
    for (let index = 0; index < count; index++) {
      const bytes = piece.subarray(0, Math.min(pieceBytes, file.facts.sizeBytes - this.#position));
      file.readFully(bytes, this.#position);
      writeDigest(digest, bytes, digests, index * width);
      this.#chain.add(digests.subarray(index * width, (index + 1) * width));
      this.#position += bytes.length;
    }
    this.#computed?.set(digests, done);
    return digests;
  }
}

/** In one message: a few hundred bytes are worth a frame, and more would make the client wait for all of them. */
const MAX_DIGESTS = 64;
/** For FILE, DIGESTS and END together. */
const ROOM_BYTES = 3 * FRAME_HEADER_BYTES + 34 + MAX_DIGESTS * 32 + 40;
