/**
 * Digests of pieces. XXH3-64 guards against accidental damage and costs nothing beside the copy
 * from the socket; SHA-256 also against a peer that lies.
 */
export type DigestKind = "xxh3" | "sha256";

const DIGEST_BYTES = { xxh3: 8, sha256: 32 } as const;

export function digestBytes(kind: DigestKind): number {
  return DIGEST_BYTES[kind];
}

const scratch = new Uint8Array(64);
const scratchView = new DataView(scratch.buffer);

/** Writes the digest of `data` into `target` at `offset`: XXH3-64 little-endian, SHA-256 as it is. */
export function writeDigest(kind: DigestKind, data: Uint8Array, target: Uint8Array, offset: number): void {
  if (kind === "xxh3") {
    scratchView.setBigUint64(0, Bun.hash.xxHash3(data), true);
    target.set(scratch.subarray(0, 8), offset);
  } else {
    Bun.SHA256.hash(data, target.subarray(offset, offset + 32));
  }
}

/** Whether `digest` is the digest of `data`. Not for secrets: the time it takes depends on the bytes. */
export function digestMatches(kind: DigestKind, data: Uint8Array, digest: Uint8Array): boolean {
  if (kind === "xxh3") {
    const view = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
    return digest.length === 8 && view.getBigUint64(0, true) === Bun.hash.xxHash3(data);
  }
  return digest.length === 32 && Buffer.compare(Bun.SHA256.hash(data) as Uint8Array, digest) === 0;
}

/**
 * The digest of a run of pieces, in constant memory: chain(0) is zero bytes, chain(n) is the digest
 * of chain(n-1) followed by the digest of piece n. It fixes the pieces' contents, order and number.
 */
export class DigestChain {
  readonly #kind: DigestKind;
  readonly #value: Uint8Array;

  constructor(kind: DigestKind) {
    this.#kind = kind;
    this.#value = new Uint8Array(digestBytes(kind));
  }

  add(pieceDigest: Uint8Array): void {
    const width = this.#value.length;
    scratch.set(pieceDigest, width);
    scratch.set(this.#value, 0);
    writeDigest(this.#kind, scratch.slice(0, width * 2), this.#value, 0);
  }

  /** A view of the current value: copy it to keep it. */
  get value(): Uint8Array {
    return this.#value;
  }
}
