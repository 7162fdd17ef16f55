import type { FileRead } from "../disk/file-read.ts";
import type { FileHead } from "../transfer/fetch-reply.ts";
import type { SumsReceiver } from "../transfer/sums-reply.ts";
import { DigestChain, type DigestKind, digestMatches } from "../wire/digest.ts";
import type { FetchedVersion } from "./job.ts";

/** Pieces that are compared with the source's: those that dray sends files in. */
export const COMPARED_BYTES = 256 * 1024;

/** Holds a mirrored file against what its source says of its pieces. */
export class LocalComparison implements SumsReceiver {
  readonly #file: FileRead;
  readonly #kind: DigestKind;
  readonly #chain: DigestChain;
  readonly #piece = new Uint8Array(COMPARED_BYTES);
  #head: FileHead | undefined;
  #positionBytes = 0;
  #isSame = true;

  /** @param file open until the comparison has ended */
  constructor(file: FileRead, kind: DigestKind) {
    this.#file = file;
    this.#kind = kind;
    this.#chain = new DigestChain(kind);
  }

  head(head: FileHead): void {
    this.#head = head;
    this.#isSame = head.sizeBytes === this.#file.facts.sizeBytes;
  }

  digest(pieceDigest: Uint8Array): void {
    if (!this.#isSame) return;
    const leftBytes = this.#file.facts.sizeBytes - this.#positionBytes;
    const bytes = this.#piece.subarray(0, Math.min(COMPARED_BYTES, leftBytes));
    this.#file.readFully(bytes, this.#positionBytes);
    this.#isSame = digestMatches(this.#kind, bytes, pieceDigest);
    this.#chain.add(pieceDigest);
    this.#positionBytes += bytes.length;
  }

  /** The version that source and mirror have in common; undefined if they differ. To be asked when all digests came. */
  get version(): FetchedVersion | undefined {
    if (this.#head === undefined || !this.#isSame) return undefined;
    const { sizeBytes, mtimeUs, mode } = this.#head;
    const chain = Buffer.from(this.#chain.value).toString("hex");
    return { sizeBytes, mtimeUs, mode, digest: this.#kind, pieceBytes: COMPARED_BYTES, chain };
  }
}
