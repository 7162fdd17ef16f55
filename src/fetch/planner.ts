import { PieceBoard } from "./piece-board.ts";
import type { PlannedReplica } from "./planned-replica.ts";
import {
  type PieceLayout,
  type PieceRun,
  type PlannerAction,
  type PlannerEvent,
  type PlannerSettings,
  type QuarantineReason,
  type RequestId,
  MAX_STRIKES,
} from "./planner-events.ts";
import { failureOf } from "./planner-failure.ts";
import { ReplicaRoster } from "./replica-roster.ts";
import { RequestBook } from "./request-book.ts";
import { freeRun, hedgeRun, overdue, rescueRun, wantsMore } from "./run-choice.ts";

/** Requests that a connection may have: the second one hides the round trip of the first. */
const MAX_REQUESTS = 2;
/**
 * Bytes that come count as progress, if more than this come in the time of the patience: a piece may take its time.
 * But not more of them than so many pieces a connection: then one has to be right.
 */
const PROGRESS_BYTES = 64 * 1024;
const UNPROVEN_PIECES = 2;
/** How often it is looked whether an idle replica can help another one out. */
const HEDGE_INTERVAL_MS = 50;

const NOTHING: readonly PlannerAction[] = [];

/**
 * Decides who is asked for what in a fetch from many replicas. Pure: it is told events and the time, and says
 * what to do. The same events, times and random numbers give the same actions.
 *
 * What it promises, whatever the replicas do: it ends. A piece that is verified is not asked for again, one that
 * is under way at most once more. Nobody is asked for what it does not hold, or for more than
 * MAX_REQUESTS runs at once. With one replica of each piece that stays, sends and does not lie, all pieces come.
 */
export class Planner {
  readonly #settings: PlannerSettings;
  readonly #random: () => number;
  readonly #board: PieceBoard;
  readonly #roster: ReplicaRoster;
  readonly #requests: RequestBook;
  #actions: PlannerAction[] = [];
  #isJoiningClosed = false;
  #isOver = false;
  #progressMs: number;
  /** Bytes that came since something was verified. */
  #unprovenBytes = 0;
  #wakeAtMs: number | undefined;

  /**
   * @param random from 0 up to 1, spreads the waits between attempts
   * @throws RangeError when the layout's parts are not the file's pieces, in order
   */
  constructor(layout: PieceLayout, settings: PlannerSettings, random: () => number, nowMs: number) {
    this.#settings = settings;
    this.#random = random;
    this.#board = new PieceBoard(layout);
    this.#roster = new ReplicaRoster(this.#board, settings.maxConnections);
    this.#requests = new RequestBook(this.#board);
    this.#progressMs = nowMs;
  }

  /** When it wants to be told a `tick` at the latest; undefined when it is over. */
  get wakeAtMs(): number | undefined {
    return this.#wakeAtMs;
  }

  /** Whether replicas have nothing to do because the digests of what is missing are not agreed yet. */
  get isStarving(): boolean {
    if (this.#isOver || this.#board.free > 0 || !this.#board.hasUnknown) return false;
    return this.#roster.idle().length > 0;
  }

  /**
   * Takes an event. Events of requests and replicas that are over are ignored.
   * @returns what is to be done now, in this order
   */
  take(event: PlannerEvent, nowMs: number): readonly PlannerAction[] {
    if (this.#isOver) return NOTHING;
    if (event.type === "received") {
      this.#received(event.request, event.bytes, nowMs);
      return NOTHING;
    }
    if (this.#apply(event, nowMs)) this.#plan(nowMs);
    if (this.#actions.length === 0) return NOTHING;
    return this.#actions.splice(0);
  }

  /** Whether a piece of a request's answer is of use still; to be asked when the whole piece is there. */
  wants(request: RequestId, piece: number): boolean {
    const pieces = this.#requests.get(request)?.pieces;
    if (this.#isOver || pieces === undefined) return false;
    return piece >= pieces.first && piece < pieces.first + pieces.count && !this.#board.isVerified(piece);
  }

  /** @returns whether anything can follow from it */
  #apply(event: Exclude<PlannerEvent, { type: "received" }>, nowMs: number): boolean {
    switch (event.type) {
      case "tick":
        return true;
      case "joining-closed":
        return (this.#isJoiningClosed = true);
      case "joined":
        this.#actions.push(...this.#roster.join(event.replica, event.parts, event.isConnected));
        return true;
      case "agreed":
        return this.#progressIf(this.#board.agree(event.pieces), nowMs);
      case "present":
        return this.#progressIf(this.#board.verify(event.pieces), nowMs);
      case "spoilt":
        return this.#board.spoil(event.pieces);
      case "connected":
      case "lost":
      case "left":
      case "caught":
        return this.#replicaChanged(event, nowMs);
      default:
        return this.#requestChanged(event, nowMs);
    }
  }

  #replicaChanged(
    event: Extract<PlannerEvent, { type: "connected" | "lost" | "left" | "caught" }>,
    nowMs: number,
  ): boolean {
    const replica = this.#roster.get(event.replica);
    if (replica === undefined || replica.state === "left") return false;
    if (replica.isOut && (event.type === "connected" || event.type === "lost")) return false;
    if (event.type === "connected") {
      if (replica.state !== "connecting") return false;
      replica.state = "connected";
      return true;
    }
    // Ended by us, or drained by ending it: nobody's failure.
    const isOurDoing = replica.state === "closing" || replica.requests.some((request) => request.isCancelled);
    this.#requests.void(replica, nowMs);
    if (event.type === "left" || event.type === "caught") {
      if (event.type === "caught") replica.caught(event.piece);
      this.#roster.out(replica, event.type === "left" ? "left" : "quarantined");
      return true;
    }
    replica.state = "waiting";
    if (!isOurDoing) replica.rest(nowMs, event.retryAfterMs, this.#random());
    else replica.restsUntilMs = Math.max(replica.restsUntilMs, nowMs + event.retryAfterMs);
    if (event.isDamage) this.#strike(replica, nowMs);
    return true;
  }

  #requestChanged(
    event: Extract<PlannerEvent, { type: "verified" | "wrong" | "ended" | "failed" }>,
    nowMs: number,
  ): boolean {
    const request = this.#requests.get(event.request);
    if (request === undefined) return false;
    const { replica, pieces } = request;
    if (event.type === "verified") {
      this.#requests.release(request, event.piece + 1);
      this.#progressIf(true, nowMs);
      const run = { first: event.piece, count: 1 };
      if (this.#board.verify(run)) replica.verified();
      if (this.#board.missing === 0) return true;
      if (this.#board.underWay(event.piece) > 0) this.#cancelNeedless(nowMs);
      return false;
    }
    if (event.type === "wrong") {
      replica.caught(event.piece);
      this.#quarantine(replica, { kind: "wrong-piece", piece: event.piece }, nowMs);
      return true;
    }
    const isShort = this.#requests.isShort(request);
    this.#requests.end(request, nowMs);
    if (event.type === "ended") {
      // All of it came, and something is missing all the same: it is as good as broken.
      if (isShort && !request.isCancelled) this.#damaged(replica, nowMs);
    } else if (event.fault.kind === "absent") {
      replica.lacks(this.#board.partOf(pieces.first));
      this.#roster.holders.changed();
    } else if (event.fault.kind === "fault") {
      replica.rest(nowMs, event.fault.retryAfterMs, this.#random());
    } else this.#damaged(replica, nowMs);
    this.#cancelNeedless(nowMs);
    return true;
  }

  #received(id: RequestId, bytes: number, nowMs: number): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    this.#requests.received(request, bytes, nowMs);
    const before = this.#unprovenBytes;
    this.#unprovenBytes += bytes;
    const steps = Math.floor(this.#unprovenBytes / PROGRESS_BYTES) - Math.floor(before / PROGRESS_BYTES);
    const { maxConnections } = this.#settings;
    const mostBytes = maxConnections * UNPROVEN_PIECES * this.#board.layout.pieceBytes;
    if (steps > 0 && this.#unprovenBytes <= mostBytes) this.#progressMs = nowMs;
  }

  #progressIf(isProgress: boolean, nowMs: number): boolean {
    if (!isProgress) return false;
    this.#progressMs = nowMs;
    this.#unprovenBytes = 0;
    return true;
  }

  #damaged(replica: PlannedReplica, nowMs: number): void {
    replica.rest(nowMs, 0, this.#random());
    this.#strike(replica, nowMs);
  }

  #strike(replica: PlannedReplica, nowMs: number): void {
    replica.strikes++;
    if (replica.strikes >= MAX_STRIKES)
      this.#quarantine(replica, { kind: "strikes", strikes: replica.strikes }, nowMs);
  }

  #quarantine(replica: PlannedReplica, reason: QuarantineReason, nowMs: number): void {
    this.#requests.void(replica, nowMs);
    this.#roster.out(replica, "quarantined");
    this.#actions.push({ type: "quarantine", replica: replica.id, reason });
  }

  #cancelNeedless(nowMs: number): void {
    for (const replica of this.#roster.connected()) {
      const request = this.#requests.cancelNeedless(replica);
      if (request === undefined) continue;
      // Overtaken in silence: it is not asked again at once.
      if (replica.pace.silentMs(nowMs) >= replica.overdueAfterMs) {
        replica.isDoubtful = true;
        replica.rest(nowMs, 0, this.#random());
      }
      this.#actions.push({ type: "cancel", request: request.id });
    }
  }

  #plan(nowMs: number): void {
    this.#watchSilence(nowMs);
    if (this.#board.missing === 0) return this.#finish({ type: "finished" });
    this.#actions.push(...this.#roster.recall(), ...this.#roster.connect(nowMs));
    this.#assign(nowMs);
    this.#hedge(nowMs);
    this.#actions.push(...this.#roster.closeIdle(nowMs));
    const failure = failureOf(this.#board, this.#roster.all(), {
      isOutOfPatience: nowMs - this.#progressMs >= this.#settings.patienceMs,
      isJoiningClosed: this.#isJoiningClosed,
    });
    if (failure !== undefined) this.#finish({ type: "given-up", failure });
    else this.#wakeAtMs = this.#nextWake(nowMs);
  }

  #finish(action: PlannerAction): void {
    this.#isOver = true;
    this.#wakeAtMs = undefined;
    this.#actions.push(action);
  }

  #watchSilence(nowMs: number): void {
    for (const replica of this.#roster.connected()) {
      if (replica.requests.length === 0) continue;
      const silentMs = replica.pace.silentMs(nowMs);
      if (silentMs >= replica.quietAfterMs) replica.isQuiet = true;
      if (silentMs < this.#settings.stallMs) continue;
      this.#requests.void(replica, nowMs);
      replica.rest(nowMs, 0, this.#random());
      this.#actions.push(this.#roster.close(replica, "stalled"));
    }
  }

  /** Those with the fewest requests first, so that everybody has one before somebody has two. */
  #assign(nowMs: number): void {
    const connected = this.#roster.connected();
    const silent = overdue(connected, nowMs);
    for (let depth = 0; depth < MAX_REQUESTS; depth++) {
      for (const replica of connected) {
        if (replica.requests.length !== depth || !replica.isReady(nowMs) || !wantsMore(replica)) continue;
        if (silent.includes(replica)) continue;
        const rescued = replica.isRecalled ? undefined : rescueRun(replica, silent, this.#board);
        if (rescued !== undefined) {
          this.#board.add(rescued);
          this.#request(replica, rescued, true, nowMs);
          continue;
        }
        const pieces = freeRun(replica, this.#board, this.#roster.holders, nowMs);
        if (pieces !== undefined) this.#request(replica, pieces, false, nowMs);
      }
    }
  }

  #hedge(nowMs: number): void {
    for (const replica of this.#roster.idle()) {
      if (replica.isRecalled || !replica.isReady(nowMs)) continue;
      const pieces = hedgeRun(replica, this.#requests.all(), this.#board, nowMs);
      if (pieces === undefined) continue;
      this.#board.add(pieces);
      this.#request(replica, pieces, true, nowMs);
    }
  }

  /** @param pieces counted as under way already */
  #request(replica: PlannedReplica, pieces: PieceRun, isHedge: boolean, nowMs: number): void {
    const { id } = this.#requests.begin(replica, pieces, nowMs);
    this.#actions.push({ type: "request", request: id, replica: replica.id, pieces, isHedge });
  }

  #nextWake(nowMs: number): number {
    let wakeAtMs = this.#progressMs + this.#settings.patienceMs;
    let isAnyIdle = false;
    const hasOthers = this.#roster.connected().length > 1;
    for (const replica of this.#roster.all()) {
      const { state, requests, restsUntilMs, pace } = replica;
      if (restsUntilMs > nowMs && !replica.isOut) wakeAtMs = Math.min(wakeAtMs, restsUntilMs);
      if (state !== "connected") continue;
      if (requests.length === 0) isAnyIdle ||= restsUntilMs <= nowMs;
      else {
        const spokeMs = nowMs - pace.silentMs(nowMs);
        const silenceMs = replica.isQuiet ? this.#settings.stallMs : replica.quietAfterMs;
        wakeAtMs = Math.min(wakeAtMs, spokeMs + Math.min(silenceMs, this.#settings.stallMs));
        const overdueMs = spokeMs + replica.overdueAfterMs;
        if (hasOthers && overdueMs > nowMs) wakeAtMs = Math.min(wakeAtMs, overdueMs);
      }
    }
    if (isAnyIdle && this.#requests.size > 0) wakeAtMs = Math.min(wakeAtMs, nowMs + HEDGE_INTERVAL_MS);
    return Math.max(wakeAtMs, nowMs + 1);
  }
}
