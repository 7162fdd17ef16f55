import type { ErrorCode } from "../errors/codes.ts";
import type { DigestKind } from "../wire/digest.ts";

/** What crosses between a put of split files and its pool threads. Plain data only: it is cloned. */

/** A range of an open file that a thread reads. */
export interface SplitRange {
  job: number;
  /** Of this process; open until the job has ended. */
  descriptor: number;
  offset: number;
  lengthBytes: number;
  /** Which digests of its pieces to make; undefined: none, only the SHA-256 of the range. */
  pieces: { digest: DigestKind; pieceBytes: number } | undefined;
}

export type ToSplitThread = { type: "split-range" } & SplitRange;

export type FromSplitThread =
  | { type: "split-progress"; job: number; bytes: number }
  | { type: "split-done"; job: number; sha256: string; pieces: Uint8Array }
  | { type: "split-failed"; job: number; code: ErrorCode; message: string };

export function isForSplitThread(message: { type: string }): message is ToSplitThread {
  return message.type.startsWith("split-");
}
