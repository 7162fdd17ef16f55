import { DigestChain, type DigestKind, digestBytes, writeDigest } from "./digest.ts";

/** What SUMS can tell the digest of at most, and so the smallest piece of a manifest. */
export const BLOCK_BYTES = 1024 * 1024;

/**
 * Writes the digest of one piece of a manifest into `target` at `offset`: of a piece of up to one block the
 * digest of its bytes, of a longer one the chain over the digests of its blocks. So the digests that SUMS
 * tells of blocks are enough to check pieces of any length.
 * @param bytes the piece, whole
 */
export function writePieceDigest(
  kind: DigestKind,
  bytes: Uint8Array,
  target: Uint8Array,
  offset: number,
): void {
  if (bytes.length <= BLOCK_BYTES) return writeDigest(kind, bytes, target, offset);
  const sums = new PieceSums(kind, Math.ceil(bytes.length / BLOCK_BYTES));
  const block = new Uint8Array(digestBytes(kind));
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    writeDigest(kind, bytes.subarray(at, at + BLOCK_BYTES), block, 0);
    sums.add(block);
  }
  sums.end();
  target.set(sums.takeDigest()!, offset);
}

/** Whether a piece of a manifest has this digest. */
export function pieceMatches(kind: DigestKind, bytes: Uint8Array, digest: Uint8Array): boolean {
  const own = new Uint8Array(digestBytes(kind));
  writePieceDigest(kind, bytes, own, 0);
  return Buffer.compare(own, digest) === 0;
}

/** Digests of pieces out of those of their blocks, which come one after the other. Pure. */
export class PieceSums {
  readonly #kind: DigestKind;
  readonly #blocksPerPiece: number;
  readonly #ready: Uint8Array[] = [];
  #chain: DigestChain;
  #blocks = 0;
  #first: Uint8Array | undefined;

  /** @param blocksPerPiece how many blocks a piece has; the last one may have fewer */
  constructor(kind: DigestKind, blocksPerPiece: number) {
    this.#kind = kind;
    this.#blocksPerPiece = blocksPerPiece;
    this.#chain = new DigestChain(kind);
  }

  /** @param digest of the next block; copied */
  add(digest: Uint8Array): void {
    if (this.#blocks === 0) this.#first = digest.slice();
    this.#chain.add(digest);
    if (++this.#blocks === this.#blocksPerPiece) this.#close();
  }

  /** No block follows. */
  end(): void {
    if (this.#blocks > 0) this.#close();
  }

  /** The digest of the next piece, if it is known. */
  takeDigest(): Uint8Array | undefined {
    return this.#ready.shift();
  }

  #close(): void {
    this.#ready.push(this.#blocks === 1 ? this.#first! : this.#chain.value.slice());
    this.#chain = new DigestChain(this.#kind);
    this.#blocks = 0;
  }
}
