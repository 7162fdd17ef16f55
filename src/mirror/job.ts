import type { ErrorCode } from "../errors/codes.ts";
import type { ClientSecurity } from "../transfer/security.ts";
import type { DigestKind } from "../wire/digest.ts";
import type { Listed } from "./standing.ts";
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
  /** How we prove to sources who we are; if not given, no token and plain TCP. */
  sourceSecurity?: ClientSecurity | undefined;
}

export interface JobItem extends QueuedItem {
  kind: "file" | "directory" | "symlink";
  /** As the source lists it: checked, canonical, `/`-separated. */
  path: string;
  mtimeUs: number;
  mode: number;
  /** Where a symbolic link leads; empty for all else. */
  target: string;
}

/** A file as it came: enough to find out later whether it still is that. */
export interface FetchedVersion {
  sizeBytes: number;
  mtimeUs: number;
  mode: number;
  digest: DigestKind;
  /** The length of the pieces that the chain was made of, but for the last one. */
  pieceBytes: number;
  /** The digest chain (docs/PROTOCOL.md, "FETCH"), in hexadecimal. */
  chain: string;
}

/** What an order wants of a file that is there already. */
export interface JobMode {
  /** Compare contents with the source's, where size and time say nothing. */
  checksum: boolean;
  /** Read what is there and compare it with how it came. */
  verify: boolean;
  /** What is in the way of an item goes, when all that the source has is known. */
  prunes: boolean;
  /** Change nothing. */
  dryRun: boolean;
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
  /** None of them was in the mirror before this order: what is there is not looked at. */
  isNew: boolean;
  mode: JobMode;
  /** For a verification: how each item came, if that is known. */
  records?: (FetchedVersion | undefined)[];
  /** A bandwidth limit concerns it: it asks before it requests anything from the source. */
  isMetered: boolean;
}

/**
 * Why a file is fetched: it is not there; another version is; it is not what was fetched
 * ("rotten": without having been changed by anybody's doing), or has gone.
 */
export type FetchReason = "new" | "changed" | "rotten" | "missing";

export type Outcome =
  /** `version` is absent where its digests are not known. */
  | { kind: "fetched"; sizeBytes: number; reason: FetchReason; version?: FetchedVersion }
  | { kind: "unchanged"; sizeBytes: number; version?: FetchedVersion }
  /** A symbolic link is there as it should be. */
  | { kind: "linked"; reason: FetchReason | undefined }
  /** It would have been fetched or linked. */
  | { kind: "planned"; reason: FetchReason }
  | { kind: "directory" }
  /** `mayPass`: trying again can help; `isObstructed`: when what is in the way is gone. */
  | { kind: "failed"; code: ErrorCode; message: string; mayPass: boolean; isObstructed?: true }
  /** The system said that the disk is full, when so much of the item was written. */
  | { kind: "full"; message: string; writtenBytes: number }
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
  connection:
    | { state: "kept" }
    | { state: "unused" }
    | { state: "lost" | "unreachable"; code: ErrorCode; message: string; retryAfterMs: number };
}

export interface JobProgress {
  type: "progress";
  jobId: number;
  receivedBytes: number;
}

/** A metered job wants to request so many bytes from its source; answered by "grant" or "refuse". */
export interface JobAsk {
  type: "ask";
  jobId: number;
  bytes: number;
}

export type ToThread =
  | { type: "start"; settings: LaneSettings }
  | { type: "job"; job: Job }
  /** `bytes` may be requested now, at least one; undefined: no limit concerns the job any more. */
  | { type: "grant"; jobId: number; bytes: number | undefined }
  /** The job's order is over: it gets nothing more. */
  | { type: "refuse"; jobId: number }
  /** A limit has come that concerns these jobs of a lane. */
  | { type: "meter"; lane: number; jobIds: number[] }
  /** No order needs the lane's connection any more. */
  | { type: "hang-up"; lane: number }
  /** Which of these stand in the mirror as they are listed? Answered by "looked". */
  | { type: "look"; lookId: number; listed: Listed }
  /** For connections from here on. */
  | { type: "security"; security: ClientSecurity }
  /** Give up what is running and remove its temp files; answered with "stopped". */
  | { type: "stop" };
export type FromThread =
  | { type: "ready" }
  | JobDone
  | JobProgress
  | JobAsk
  | { type: "looked"; lookId: number; stands: Uint8Array | undefined }
  | { type: "stopped" };
