import type { ErrorCode } from "../errors/codes.ts";
import type { DigestKind } from "../wire/digest.ts";
import type { QueuedItem } from "./work-queue.ts";

/** What crosses between the daemon and its pool threads. Plain data only: it is cloned. */

export type Durability = "strict" | "batch" | "none";

/** Files whose metadata changed in this span were written before a crash of the machine, and may not be whole. */
export interface DistrustedSpan {
  fromMs: number;
  untilMs: number;
}

/** The same for every job of a daemon. */
export interface LaneSettings {
  /** Absolute path of the mirror's directory. */
  mirrorDirectory: string;
  agent: string;
  digest: DigestKind;
  /** Sync each file before it becomes visible. */
  isStrict: boolean;
  verifyWritten: boolean;
  distrusted: DistrustedSpan | undefined;
}

export interface JobItem extends QueuedItem {
  kind: "file" | "directory";
  /** As the source lists it: checked, canonical, `/`-separated. */
  path: string;
  mtimeUs: number;
  mode: number;
}

/** A batch of one source's files for one lane. */
export interface Job {
  jobId: number;
  lane: number;
  host: string;
  port: number;
  delayMs: number;
  /** The directory below the mirror's that holds this source: "host_port". */
  sourceDirectory: string;
  items: JobItem[];
}

export type Outcome =
  | { kind: "fetched"; sizeBytes: number }
  | { kind: "unchanged"; sizeBytes: number }
  | { kind: "directory" }
  /** `mayPass`: trying again can help. */
  | { kind: "failed"; code: ErrorCode; message: string; mayPass: boolean }
  /** The system said that the disk is full. */
  | { kind: "full"; message: string }
  /** Not tried, or not to blame: as if it had not been in the job. */
  | { kind: "returned" };

export interface JobDone {
  type: "done";
  jobId: number;
  lane: number;
  /** One for each item, in order. */
  outcomes: Outcome[];
  /** File bytes that came since the last progress message. */
  receivedBytes: number;
  /** What became of the connection to the source. */
  connection: { state: "kept" } | { state: "lost" | "unreachable"; code: ErrorCode; message: string };
}

export interface JobProgress {
  type: "progress";
  jobId: number;
  receivedBytes: number;
}

export type ToThread =
  | { type: "start"; settings: LaneSettings }
  | { type: "job"; job: Job }
  /** Give up what is running and remove its temp files; answered with "stopped". */
  | { type: "stop" };
export type FromThread = { type: "ready" } | JobDone | JobProgress | { type: "stopped" };
