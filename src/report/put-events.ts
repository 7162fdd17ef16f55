/** What a `put` tells, one line each with `--json`. */
export type PutEvent =
  | PutProgress
  | { type: "file"; host: string; port: number; path: string; sizeBytes: number; bytesResumed: number }
  | ({ type: "failure" } & PutFailure)
  | { type: "skipped"; file: string; reason: string }
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
  | ({ type: "server" } & PutServerResult)
  | PutResult;

export interface PutProgress {
  type: "progress";
  durationMs: number;
  files: number;
  bytes: number;
  /** One for each server, in the order of --to. */
  servers: {
    host: string;
    port: number;
    state: "transferring" | "done";
    files: number;
    failed: number;
    bytesTransferred: number;
    bytesResumed: number;
  }[];
}

export interface PutFailure {
  /** The local file. */
  file: string;
  /** Missing where the trouble is on this machine. */
  host?: string;
  port?: number;
  code: string;
  message: string;
}

export interface PutServerResult {
  host: string;
  port: number;
  status: "complete" | "partial" | "unreachable" | "refused" | "failed";
  /** Files that are there, durable. */
  files: number;
  bytes: number;
  bytesTransferred: number;
  /** What the server had already, of interrupted uploads and of files that are there as they are. */
  bytesResumed: number;
  failed: number;
  error?: string;
}

export interface PutResult {
  type: "result";
  /** Local files that were to be put, on each server. */
  files: number;
  bytes: number;
  bytesTransferred: number;
  bytesResumed: number;
  skipped: number;
  failed: number;
  durationMs: number;
  servers: PutServerResult[];
  /** The first ones. */
  failures: PutFailure[];
}
