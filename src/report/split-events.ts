import type { PutFailure } from "./put-events.ts";

/** What a put of split files and a repair tell, one line each with `--json`. */
export type SplitEvent =
  | SplitProgress
  /** A copy of a part is there. */
  | { type: "copy"; host: string; port: number; path: string; sizeBytes: number; bytesResumed: number }
  /** A copy was not what it should be, and was removed. */
  | { type: "rotten"; host: string; port: number; path: string }
  | { type: "skipped"; file: string; reason: string }
  | ({ type: "failure" } & PutFailure)
  | {
      type: "retry";
      host: string;
      port: number;
      file: string;
      code: string;
      message: string;
      attempt: number;
      attempts: number;
    }
  | ({ type: "server" } & SplitServerResult)
  | PlacedFile
  | RepairedFile
  | SplitResult;

export interface SplitProgress {
  type: "progress";
  durationMs: number;
  /** Of local files, for their digests. */
  bytesRead: number;
  /** One for each server, in the order of --to. */
  servers: {
    host: string;
    port: number;
    state: "transferring" | "done";
    /** Copies that are there, and that it shall have as far as that is known. */
    copies: number;
    copiesWanted: number;
    bytesWanted: number;
    bytesTransferred: number;
    bytesResumed: number;
    failed: number;
  }[];
}

/** Parts with fewer copies than were asked for. */
export type ShortParts = { part: number; copies: number }[];

export interface PlacedFile {
  type: "placed";
  file: string;
  /** Its name on the servers. */
  path: string;
  sizeBytes: number;
  sha256: string;
  parts: number;
  copies: number;
  /** Servers that have the manifest. */
  manifests: number;
  short: ShortParts;
}

export interface RepairedFile {
  type: "repaired";
  path: string;
  sizeBytes: number;
  sha256: string;
  parts: number;
  copies: number;
  manifests: number;
  /** Copies as they were found. */
  good: number;
  rotten: number;
  /** Copies that were made. */
  restored: number;
  /** Copies and leftovers that nobody needs any more. */
  removed: number;
  short: ShortParts;
}

export interface SplitServerResult {
  host: string;
  port: number;
  status: "complete" | "partial" | "unreachable" | "refused" | "failed";
  /** Copies that are there, durable, and were put or found. */
  copies: number;
  bytes: number;
  bytesTransferred: number;
  bytesResumed: number;
  failed: number;
  error?: string;
}

export interface SplitResult {
  type: "result";
  /** Files of which each part has a copy at least. */
  files: number;
  bytes: number;
  bytesTransferred: number;
  bytesResumed: number;
  skipped: number;
  failed: number;
  durationMs: number;
  servers: SplitServerResult[];
  /** The first ones. */
  failures: PutFailure[];
}
