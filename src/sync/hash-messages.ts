import type { ErrorCode } from "../errors/codes.ts";

/** What a thread that hashes is told. The order within a job counts. */
export type ToHashThread =
  | { type: "md5-bytes"; job: number; bytes: Uint8Array }
  /** A range of a file that this process has open, and keeps open until it is done. */
  | { type: "md5-range"; job: number; descriptor: number; fromBytes: number; lengthBytes: number }
  /** The digest of what was told so far is wanted. */
  | { type: "md5-digest"; job: number }
  | { type: "md5-close"; job: number };

export type FromHashThread =
  /** So many bytes were hashed; `ranges`: how many ranges are done, in their order. */
  | { type: "md5-progress"; job: number; bytes: number; ranges: number }
  | { type: "md5-done"; job: number; md5: Uint8Array }
  /** Nothing more comes of this job but md5-closed. */
  | { type: "md5-failed"; job: number; code: ErrorCode; message: string }
  /** The thread will not touch the files of this job any more. */
  | { type: "md5-closed"; job: number };

export function isForHashThread(message: { type: string }): message is ToHashThread {
  return message.type.startsWith("md5-");
}
