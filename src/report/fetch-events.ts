/** What a fetch tells, one line each with `--json`. */
export type FetchEvent =
  /** The first bytes of a file are asked for; `bytesResumed` of it were there already. */
  | { type: "started"; file: string; sizeBytes: number; bytesResumed: number }
  /** What was there of a file cannot be gone on with. */
  | { type: "restarted"; file: string; reason: string }
  | FetchProgress
  /** `attempts` is missing where time is the limit. */
  | { type: "retry"; code: string; message: string; waitMs: number; attempt: number; attempts?: number }
  | {
      type: "file";
      file: string;
      path: string;
      outcome: "fetched" | "unchanged";
      sizeBytes: number;
      sha256?: string;
      backup?: string;
    }
  | FetchFailure
  | ReplicaEvent
  | { type: "skipped"; file: string; reason: string }
  | FileResult
  | TreeResult;

/** What became of one of several servers. */
export interface ReplicaEvent {
  type: "replica";
  host: string;
  port: number;
  /** `left`: it is not used, or not any more; `quarantined`: since what it sent was wrong. */
  status: "joined" | "unreachable" | "lost" | "back" | "left" | "quarantined";
  reason?: string;
}

/** One of several servers, in the end. */
export interface ReplicaResult {
  host: string;
  port: number;
  status:
    "pending" | "used" | "lost" | "unreachable" | "refused" | "absent" | "other-version" | "quarantined";
  /** Of pieces that came from it, were verified and needed. */
  bytes: number;
  /** What came from it and was not needed, or wrong. */
  bytesWasted: number;
  /** Why it is not used, or not any more. */
  error?: string;
  /** What it did wrong. */
  culprit?: string;
}

export interface FetchProgress {
  type: "progress";
  files: number;
  filesTotal: number;
  /** There and verified, whether it came just now or before. */
  bytes: number;
  /** 0 as long as it is not known. */
  bytesTotal: number;
  bytesTransferred: number;
  /** Those of several servers that were used so far. */
  replicas?: ReplicaProgress[];
}

export interface ReplicaProgress {
  host: string;
  port: number;
  status: ReplicaResult["status"];
  /** Of pieces that came from it, were verified and needed. */
  bytes: number;
}

export interface FetchFailure {
  type: "failure";
  file: string;
  code: string;
  message: string;
}

/** The end of a fetch of one file. */
export interface FileResult {
  type: "result";
  /** At the server. */
  file: string;
  /** Where it is now; `-` for standard output. */
  path: string;
  outcome: "fetched" | "unchanged";
  sizeBytes: number;
  bytesTransferred: number;
  bytesResumed: number;
  /** Copied from an older file of the same name. */
  bytesSeeded?: number;
  /** Of bytesTransferred: what came twice, or was wrong. */
  bytesWasted?: number;
  sha256?: string;
  /** The servers, where it was fetched from several. */
  replicas?: ReplicaResult[];
  /** Where the file is kept that stood in its place. */
  backup?: string;
  durationMs: number;
}

/** The end of a fetch of a directory. */
export interface TreeResult {
  type: "result";
  file: string;
  path: string;
  /** What is there, unchanged files included. */
  files: number;
  directories: number;
  bytes: number;
  bytesTransferred: number;
  bytesResumed: number;
  unchanged: number;
  skipped: number;
  failed: number;
  /** The first ones. */
  failures: { file: string; code: string; message: string }[];
  durationMs: number;
}
