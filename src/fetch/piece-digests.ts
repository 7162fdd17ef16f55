import { BLOCK_BYTES, pieceMatches } from "../wire/piece-digest.ts";
import { type Manifest, pieceDigestAt } from "../wire/manifest.ts";
import type { Referees } from "./referees.ts";

/** What the pieces of a file must be. */
export interface PieceDigests {
  /** XXH3-64 of the piece, where that is what is known of it. */
  xxh3(piece: number): bigint | undefined;
  /** Whether these are the bytes of the piece; false as long as nobody knows. */
  matches(piece: number, bytes: Uint8Array): boolean;
}

export function digestsOfManifest(manifest: Manifest): PieceDigests {
  const hasPlainXxh3 = manifest.digest === "xxh3" && manifest.pieceBytes <= BLOCK_BYTES;
  const { pieces } = manifest;
  const view = new DataView(pieces.buffer, pieces.byteOffset, pieces.byteLength);
  return {
    xxh3: (piece) => (hasPlainXxh3 ? view.getBigUint64(piece * 8, true) : undefined),
    matches: (piece, bytes) => pieceMatches(manifest.digest, bytes, pieceDigestAt(manifest, piece)),
  };
}

export function digestsOfReferees(referees: Referees): PieceDigests {
  return {
    xxh3: (piece) => referees.digestOf(piece),
    matches: (piece, bytes) => referees.digestOf(piece) === Bun.hash.xxHash3(bytes),
  };
}
