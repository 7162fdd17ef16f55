import { type Backoff, delayAfterAttempt } from "../net/backoff.ts";
import type { PieceRun, ReplicaId, RequestId } from "./planner-events.ts";
import { ReplicaPace } from "./replica-pace.ts";

const BACKOFF: Backoff = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 250, maxDelayMs: 10_000 };

/** Silent for longer than this, and than so many times what is usual for it, others do its work as well. */
const QUIET_MS = 2_000;
const QUIET_GAPS = 8;
/** After so long, and so many times what is usual, it is out of step with the others, if they go on. */
const OVERDUE_MS = 200;
const OVERDUE_GAPS = 8;
/** The same as long as it has not sent anything. */
const FIRST_WORD_MS = 1_000;

/** A run of pieces that a replica was asked for. */
export interface PlannedRequest {
  readonly id: RequestId;
  readonly replica: PlannedReplica;
  readonly part: number;
  readonly pieces: PieceRun;
  readonly sizeBytes: number;
  receivedBytes: number;
  /** Up to here, its pieces are not under way by it any more. */
  released: number;
  isCancelled: boolean;
}

/**
 * - `waiting`: not connected, and not to be before it has rested
 * - `closing`: told to disconnect, and not yet gone
 * - `left`, `quarantined`: out of it
 */
type ReplicaState = "waiting" | "connecting" | "connected" | "closing" | "left" | "quarantined";

/** What the planner knows of one replica. */
export class PlannedReplica {
  readonly id: ReplicaId;
  readonly pace = new ReplicaPace();
  /** In the order in which they are answered. */
  readonly requests: PlannedRequest[] = [];
  state: ReplicaState = "waiting";
  /** It is neither connected nor asked for anything before this moment. */
  restsUntilMs = 0;
  /** It is silent for longer than usual. */
  isQuiet = false;
  /** Others had to do its work because it was silent, and it has not spoken since. */
  isDoubtful = false;
  strikes = 0;
  /** Wrong pieces since the last good one. */
  wrongInARow = 0;
  /** What it does not have; of `parts`, if that is a list. */
  readonly #absent = new Set<number>();
  readonly #parts: ReadonlySet<number> | "all";
  /** Pieces that it sent wrong. */
  readonly #caughtAt = new Set<number>();
  /** For these parts it is used all the same. */
  #recalledFor: ReadonlySet<number> | undefined;
  #attempts = 0;

  constructor(id: ReplicaId, parts: "all" | readonly number[]) {
    this.id = id;
    this.#parts = parts === "all" ? "all" : new Set(parts);
  }

  get isOut(): boolean {
    return this.state === "left" || this.state === "quarantined";
  }

  /** Whether it takes requests, or will in a moment. */
  isReady(nowMs: number): boolean {
    const isThere = this.state === "connected" || this.state === "connecting";
    return isThere && !this.isQuiet && this.restsUntilMs <= nowMs;
  }

  /** Bytes that it was asked for and that have not come. */
  get owedBytes(): number {
    return this.requests.reduce((sum, request) => sum + request.sizeBytes - request.receivedBytes, 0);
  }

  get holdsAll(): boolean {
    return this.#parts === "all" && this.#absent.size === 0 && !this.isRecalled;
  }

  /** It was quarantined, and is used as the last resort for some parts. */
  get isRecalled(): boolean {
    return this.#recalledFor !== undefined;
  }

  /** @param parts undefined when it is not used any more */
  recall(parts: ReadonlySet<number> | undefined): void {
    this.#recalledFor = parts;
  }

  caught(piece: number): void {
    this.#caughtAt.add(piece);
    this.wrongInARow++;
  }

  wasCaughtAt(piece: number): boolean {
    return this.#caughtAt.has(piece);
  }

  /** @param partCount of the file */
  *partsOf(partCount: number): Iterable<number> {
    const held = this.#recalledFor ?? this.#parts;
    const parts = held === "all" ? Array(partCount).keys() : held;
    for (const part of parts) if (!this.#absent.has(part)) yield part;
  }

  holds(part: number): boolean {
    return this.couldHold(part) && this.#recalledFor?.has(part) !== false;
  }

  /** Whether it may have it, trusted or not. */
  couldHold(part: number): boolean {
    return (this.#parts === "all" || this.#parts.has(part)) && !this.#absent.has(part);
  }

  lacks(part: number): void {
    this.#absent.add(part);
  }

  /** How long a silence makes it quiet. */
  get quietAfterMs(): number {
    return Math.max(QUIET_MS, QUIET_GAPS * this.pace.usualGapMs);
  }

  /** How long a silence makes it overdue, while others send. */
  get overdueAfterMs(): number {
    const { bytesPerMs, usualGapMs } = this.pace;
    if (this.isDoubtful) return OVERDUE_MS;
    return bytesPerMs === 0 ? FIRST_WORD_MS : Math.max(OVERDUE_MS, OVERDUE_GAPS * usualGapMs);
  }

  /** It failed: it rests, longer each time. @param random from 0 up to 1 */
  rest(nowMs: number, atLeastMs: number, random: number): void {
    const waitMs = delayAfterAttempt(BACKOFF, ++this.#attempts, random) ?? 0;
    this.restsUntilMs = nowMs + Math.max(waitMs, atLeastMs);
  }

  /** It sent a piece that was right, and needed. */
  verified(): void {
    this.#attempts = 0;
    this.strikes = this.wrongInARow = 0;
  }
}
