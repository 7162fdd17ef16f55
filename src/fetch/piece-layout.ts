import type { Manifest } from "../wire/manifest.ts";
import { pieceCount } from "../wire/manifest.ts";
import type { Extent } from "./extents.ts";
import type { PieceLayout, PieceRun } from "./planner-events.ts";

/** What one DATA message carries: its own digest is then that of the whole piece. */
const WIRE_PIECE_BYTES = 256 * 1024;
/** What SUMS can tell the digest of at most. */
const MAX_SUMMED_BYTES = 1024 * 1024;
const FEW_PIECES = 65_536;

/** A split file is cut as its manifest says. */
export function layoutOfManifest(manifest: Manifest): PieceLayout {
  const { sizeBytes, pieceBytes, partBytes } = manifest;
  const perPart = partBytes / pieceBytes;
  const pieces = pieceCount(manifest);
  const parts = manifest.parts.map((_, index) => {
    const first = index * perPart;
    return { first, count: Math.min(perPart, pieces - first) };
  });
  return { sizeBytes, pieceBytes, parts };
}

/** A file that servers have as a whole: one part, and pieces of which SUMS can tell. */
export function layoutOfWhole(sizeBytes: number): PieceLayout {
  let pieceBytes = WIRE_PIECE_BYTES;
  while (sizeBytes > pieceBytes * FEW_PIECES && pieceBytes < MAX_SUMMED_BYTES) pieceBytes *= 2;
  return { sizeBytes, pieceBytes, parts: [{ first: 0, count: Math.ceil(sizeBytes / pieceBytes) }] };
}

/** How many pieces there are. */
export function piecesOf({ sizeBytes, pieceBytes }: PieceLayout): number {
  return Math.ceil(sizeBytes / pieceBytes);
}

/** The bytes of a run of pieces. */
export function extentOf({ sizeBytes, pieceBytes }: PieceLayout, { first, count }: PieceRun): Extent {
  const offset = first * pieceBytes;
  return { offset, lengthBytes: Math.min(count * pieceBytes, sizeBytes - offset) };
}

/** The part that a piece lies in. */
export function partOf({ parts }: PieceLayout, piece: number): number {
  let low = 0;
  let high = parts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (parts[middle]!.first <= piece) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Runs of the pieces that have a property, in order. */
export function* runsWhere(
  { first, count }: PieceRun,
  has: (piece: number) => boolean,
): Generator<PieceRun, void> {
  const end = first + count;
  for (let piece = first; piece < end;) {
    if (!has(piece)) {
      piece++;
      continue;
    }
    let next = piece + 1;
    while (next < end && has(next)) next++;
    yield { first: piece, count: next - piece };
    piece = next;
  }
}
