import { type DialTarget, showTarget } from "../net/dial.ts";
import type { Client } from "../transfer/client.ts";
import type { ReplicaId } from "./planner-events.ts";

/**
 * - `pending`: named, and not needed or reached so far
 * - `used`: it is there, or was as long as it was needed
 * - `lost`: it was there, and is not any more
 * - `unreachable`, `refused`: no connection could be made, or it does not want us
 * - `absent`, `other-version`: it has no such file, or another version of it
 * - `quarantined`: what it sent was wrong
 */
export type ReplicaStatus =
  "pending" | "used" | "lost" | "unreachable" | "refused" | "absent" | "other-version" | "quarantined";

/** The same file on another server may have been replaced since it was asked about. */
export interface WholeFile {
  sizeBytes: number;
  /** Undefined: any, since a manifest says what is in it. */
  mtimeUs: number | undefined;
}

/** One server of a fetch from several: what it has, the connection for its data, and what became of it. */
export class Replica {
  readonly id: ReplicaId;
  readonly target: DialTarget;
  /** The parts of a split file that it holds. */
  parts: ReadonlySet<number> = new Set();
  /** It has all of the file under its own name. */
  whole: WholeFile | undefined;
  client: Client | undefined;
  status: ReplicaStatus = "pending";
  /** Bytes of pieces that were verified and needed. */
  verifiedBytes = 0;
  /** Bytes that came and were not needed, or wrong. */
  wastedBytes = 0;
  /** Why it is not used, or not any more. */
  error: string | undefined;
  /** What it did wrong, and where. */
  culprit: string | undefined;
  /** How long it had been silent when others had done its work, in milliseconds; undefined once it has sent something good since. */
  overtakenAfterMs: number | undefined;
  wasConnected = false;

  constructor(id: ReplicaId, target: DialTarget) {
    this.id = id;
    this.target = target;
  }

  /** "10.0.0.5:9098". */
  get shown(): string {
    return showTarget(this.target);
  }

  /** Whether it is out of this fetch for good. */
  get isOut(): boolean {
    return OUT.has(this.status);
  }
}

const OUT: ReadonlySet<ReplicaStatus> = new Set(["refused", "absent", "other-version", "quarantined"]);
