/**
 * What crosses between the planner of a fetch from many replicas (planner.ts, pure) and the edge that has
 * the connections and the disk. Times are milliseconds of one monotonic clock, whatever its zero.
 */

/** A number that the edge gives to a replica when it joins, and never to another one. */
export type ReplicaId = number;

/** A number that the planner gives to a request, and never to another one. */
export type RequestId = number;

/** Pieces `first` to `first + count - 1`. */
export interface PieceRun {
  first: number;
  count: number;
}

/** How the file is cut. */
export interface PieceLayout {
  sizeBytes: number;
  /** Length of every piece but the last one. */
  pieceBytes: number;
  /**
   * The parts of the file, in order, without gaps, together all of its pieces: what replicas hold or do not
   * hold, each as one. A request never crosses from one into the next. A file without parts is one part.
   */
  parts: readonly PieceRun[];
}

export interface PlannerSettings {
  /** After so long without a byte a replica's connection is dropped. */
  stallMs: number;
  /** The fetch fails when nothing was verified for so long, and something is missing still. */
  patienceMs: number;
  /** Replicas that are connected at once, at most. */
  maxConnections: number;
}

export type PlannerEvent =
  /** A replica may be used. `parts` are indexes into the layout's; a replica joins once. */
  | { type: "joined"; replica: ReplicaId; parts: "all" | readonly number[]; isConnected: boolean }
  /** No other replica will join. As long as this is not said, what nobody has is waited for. */
  | { type: "joining-closed" }
  /** The answer to a `connect`: there is a connection… */
  | { type: "connected"; replica: ReplicaId }
  /**
   * …or there is none; or the one that was there has gone (also after `disconnect`). All requests of this
   * replica are void. It is connected again later, not before `retryAfterMs` from now have passed.
   * `isDamage`: it ended because what came was broken (a frame's check, the protocol), which is a strike.
   */
  | { type: "lost"; replica: ReplicaId; retryAfterMs: number; isDamage: boolean }
  /** Never again in this run: refused, unauthorized, another version. Its requests are void. */
  | { type: "left"; replica: ReplicaId }
  /**
   * The referees have blamed it for a piece: as after `wrong`, but nothing was asked, and no `quarantine` follows.
   * Its requests are void.
   */
  | { type: "caught"; replica: ReplicaId; piece: number }
  /** These pieces are on our disk and verified (resumed, seeded). */
  | { type: "present"; pieces: PieceRun }
  /** These pieces, believed to be on our disk, turned out to be rotten: to be fetched again. */
  | { type: "spoilt"; pieces: PieceRun }
  /** The digests of these pieces are agreed: what is not agreed is not requested. */
  | { type: "agreed"; pieces: PieceRun }
  /** Bytes of a request's answer arrived; whether they are any good is not known yet. */
  | { type: "received"; request: RequestId; bytes: number }
  /** A piece of a request's answer matched its agreed digest, and is written. */
  | { type: "verified"; request: RequestId; piece: number }
  /** A piece of a request's answer is not what its agreed digest says: its replica lies. */
  | { type: "wrong"; request: RequestId; piece: number }
  /** A request's answer is complete, or was drained after `cancel`; its connection takes more. */
  | { type: "ended"; request: RequestId }
  /** A request was answered by an error; its connection takes more. */
  | { type: "failed"; request: RequestId; fault: RequestFault }
  /** Nothing but time has passed: at the latest when the planner wanted to be told (`wakeAtMs`). */
  | { type: "tick" };

/**
 * - `absent`: the replica does not have the part (not-found, another length): it is not asked for it again.
 * - `fault`: it could not (busy, its disk): it rests for a while, not less than `retryAfterMs`.
 * - `damaged`: what came does not add up (a piece's own digest, the chain). It rests as well, and that is a strike:
 *   after MAX_STRIKES of them without a verified piece in between it is quarantined.
 */
export type RequestFault = { kind: "absent" } | { kind: "fault"; retryAfterMs: number } | { kind: "damaged" };

/** How often in a row an answer may be broken. */
export const MAX_STRIKES = 3;

export type PlannerAction =
  /** Make a connection; answered by `connected`, `lost` or `left`. */
  | { type: "connect"; replica: ReplicaId }
  /** End the connection; answered by `lost`. `idle`: there is nothing (more) for it to do. */
  | { type: "disconnect"; replica: ReplicaId; why: "stalled" | "idle" }
  /**
   * Ask for a run of pieces, all of one part. Answered by any number of `received`, one `verified` or `wrong`
   * for each piece that came and is still wanted (`Planner.wants`), then one of `ended`, `failed`, `lost`, `left`, `caught`.
   */
  | { type: "request"; request: RequestId; replica: ReplicaId; pieces: PieceRun; isHedge: boolean }
  /**
   * What is still to come of this answer is not needed: drain it or end the connection, as is cheaper. It
   * is answered all the same, by one of `ended`, `failed`, `lost`, `left`, `caught`.
   */
  | { type: "cancel"; request: RequestId }
  /**
   * The replica is blamed; end its connection. Nothing is awaited. One with a `wrong-piece` (or `caught`) may be told to
   * `connect` once more all the same, when nobody else has what is missing: one rotten piece does not make the others bad.
   */
  | { type: "quarantine"; replica: ReplicaId; reason: QuarantineReason }
  /** All pieces are verified. The last action. */
  | { type: "finished" }
  /** The last action: give up, keep what is there. */
  | { type: "given-up"; failure: PlannerFailure };

export type QuarantineReason =
  /** It sent a piece that is not what its digest says. */
  | { kind: "wrong-piece"; piece: number }
  /** So many broken answers in a row without a verified piece between them. */
  | { kind: "strikes"; strikes: number };

export interface PlannerFailure {
  /** The parts of which something is missing, in order, and how much it is. */
  parts: readonly number[];
  missingBytes: number;
  /**
   * - `unreachable`: some replica that has what is missing may be there another time (exit code 7)
   * - `disputed`: they are there, and its digests were not agreed (exit code 5)
   * - `wrong`: one of those that had it was quarantined, and there is nobody else (exit code 5)
   * - `absent`: nobody that is there has it (exit code 3)
   */
  why: "unreachable" | "disputed" | "wrong" | "absent";
  /** For `unreachable`: those that could have it, and are not there or send nothing. */
  awaited: readonly ReplicaId[];
}
