import type { ErrorCode } from "../errors/codes.ts";

/** What crosses between a fetch and its pool thread. Plain data only: it is cloned. */

export type ToSumThread =
  /** Reads a file that is being filled: its SHA-256, and whether each piece holds what its digest says. */
  | { type: "sum-open"; job: number; path: string; sizeBytes: number }
  /** Pieces of it that were written, in any order: offset, length and XXH3-64 of each. */
  | { type: "sum-pieces"; job: number; offsets: Float64Array; lengths: Float64Array; digests: BigUint64Array }
  /** The SHA-256 of a file as it is. */
  | { type: "sum-whole"; job: number; path: string }
  | { type: "sum-close"; job: number };

export type FromSumThread =
  /** A piece reads back otherwise than it was written; another one is awaited in its place. */
  | { type: "sum-damaged"; job: number; offset: number; lengthBytes: number }
  | { type: "sum-done"; job: number; sha256: string }
  | { type: "sum-failed"; job: number; code: ErrorCode; message: string };

export function isForSumThread(message: { type: string }): message is ToSumThread {
  return message.type.startsWith("sum-");
}
