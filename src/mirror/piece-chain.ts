import { type DigestKind, DigestChain, digestBytes, writeDigest } from "../wire/digest.ts";

const PIECE_BYTES = 64 * 1024;

/**
 * The digest chain of bytes that come in portions of any length, over pieces of one length: what came
 * with several requests can be compared with the disk as what came with one.
 */
export class PieceChain {
  readonly pieceBytes = PIECE_BYTES;
  readonly #kind: DigestKind;
  readonly #chain: DigestChain;
  readonly #digest: Uint8Array;
  readonly #piece = new Uint8Array(PIECE_BYTES);
  #filledBytes = 0;

  constructor(kind: DigestKind) {
    this.#kind = kind;
    this.#chain = new DigestChain(kind);
    this.#digest = new Uint8Array(digestBytes(kind));
  }

  add(bytes: Uint8Array): void {
    for (let taken = 0; taken < bytes.length;) {
      const portion = bytes.subarray(taken, taken + PIECE_BYTES - this.#filledBytes);
      this.#piece.set(portion, this.#filledBytes);
      this.#filledBytes += portion.length;
      taken += portion.length;
      if (this.#filledBytes === PIECE_BYTES) this.#end();
    }
  }

  /** The chain over all that was added. Nothing may be added after it. */
  get value(): Uint8Array {
    if (this.#filledBytes > 0) this.#end();
    return this.#chain.value;
  }

  #end(): void {
    writeDigest(this.#kind, this.#piece.subarray(0, this.#filledBytes), this.#digest, 0);
    this.#chain.add(this.#digest);
    this.#filledBytes = 0;
  }
}
