import { type DigestKind, digestBytes } from "./digest.ts";
import { BLOCK_BYTES } from "./piece-digest.ts";

/** Limits of a manifest, whoever has written it. */
export const MANIFEST_LIMITS = {
  manifestBytes: 8 * 1024 * 1024,
  parts: 4096,
  pieces: 65_536,
  servers: 1024,
  copies: 64,
  /** The last moment that a Date can be. */
  placedMs: 8_640_000_000_000_000,
} as const;

const DEFAULT_PART_BYTES = 64 * 1024 * 1024;

/** A server that a manifest names. */
export interface ManifestServer {
  readonly host: string;
  readonly port: number;
}

export interface ManifestPart {
  /** Where it begins in the file. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** Of the part, in hexadecimal. */
  readonly sha256: string;
  /** Who has a copy: indexes into the servers, in no order. May be none, or servers that are gone. */
  readonly holders: readonly number[];
}

/** How a file is cut: into parts, which servers hold, and those into pieces, which digests are for. */
export interface SplitSizes {
  /** Length of every piece but the last: 1 MiB times a power of two. */
  readonly pieceBytes: number;
  /** Length of every part but the last: a multiple of pieceBytes. */
  readonly partBytes: number;
}

/** What servers keep of a file that is split into parts: what it holds, and who has which part. */
export interface Manifest extends SplitSizes {
  readonly sizeBytes: number;
  readonly mtimeUs: number;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  /** SHA-256 of the whole file in hexadecimal: what `sha256sum` prints. */
  readonly root: string;
  /** Which digest `pieces` holds. */
  readonly digest: DigestKind;
  /** When it was put or repaired, in milliseconds since 1970. Of two manifests the later one counts. */
  readonly placedMs: number;
  /** How many copies of each part were asked for. */
  readonly copies: number;
  readonly servers: readonly ManifestServer[];
  readonly parts: readonly ManifestPart[];
  /** The digests of all pieces of the file, one behind the other, as writePieceDigest makes them. */
  readonly pieces: Uint8Array;
}

/**
 * How a file of this size is cut: pieces of 1 MiB, doubled until they are 65,536 at most, and parts of the
 * wished length, rounded up to whole pieces and doubled until they are 4,096 at most.
 */
export function splitSizes(sizeBytes: number, wishedPartBytes: number = DEFAULT_PART_BYTES): SplitSizes {
  let pieceBytes = BLOCK_BYTES;
  while (sizeBytes > pieceBytes * MANIFEST_LIMITS.pieces) pieceBytes *= 2;
  let partBytes = Math.max(1, Math.ceil(wishedPartBytes / pieceBytes)) * pieceBytes;
  while (sizeBytes > partBytes * MANIFEST_LIMITS.parts) partBytes *= 2;
  return { pieceBytes, partBytes };
}

/** Of which length part `index` is. */
export function partSize(
  { sizeBytes, partBytes }: { sizeBytes: number; partBytes: number },
  index: number,
): number {
  return Math.min(partBytes, sizeBytes - index * partBytes);
}

export function partCount({ sizeBytes, partBytes }: { sizeBytes: number; partBytes: number }): number {
  return Math.ceil(sizeBytes / partBytes);
}

export function pieceCount({ sizeBytes, pieceBytes }: { sizeBytes: number; pieceBytes: number }): number {
  return Math.ceil(sizeBytes / pieceBytes);
}

/** A view of the digest of piece `index` of the file. */
export function pieceDigestAt({ digest, pieces }: Manifest, index: number): Uint8Array {
  const width = digestBytes(digest);
  return pieces.subarray(index * width, (index + 1) * width);
}

/** A view of the digests of the pieces of part `index`. */
export function pieceDigestsOfPart(
  manifest: Pick<Manifest, "digest" | "partBytes" | "pieceBytes" | "pieces">,
  index: number,
): Uint8Array {
  const width = digestBytes(manifest.digest);
  const perPart = (manifest.partBytes / manifest.pieceBytes) * width;
  return manifest.pieces.subarray(index * perPart, (index + 1) * perPart);
}

/** "example.org:9000", "[::1]:9000": how a manifest names a server. */
export function serverText({ host, port }: ManifestServer): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
