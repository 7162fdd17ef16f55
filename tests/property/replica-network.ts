import { expect } from "bun:test";
import { Planner } from "../../src/fetch/planner.ts";
import type {
  PieceLayout,
  PlannerAction,
  PlannerEvent,
  PlannerSettings,
  ReplicaId,
} from "../../src/fetch/planner-events.ts";
import { type Random, seededRandom } from "../support/random.ts";

const CHUNK_BYTES = 64 * 1024;
/** What is left of a cancelled answer is drained up to this, else its connection is ended. */
const DRAIN_BYTES = 256 * 1024;

/** What a replica of the simulated network does. Times are of the simulated clock, from 0 on. */
export interface Behaviour {
  parts: "all" | readonly number[];
  joinsAtMs: number;
  isConnected: boolean;
  latencyMs: number;
  bytesPerMs: number;
  /** It sends nothing from the first moment up to the second. */
  stalls: readonly (readonly [number, number])[];
  /** It is not there from the first moment up to the second. */
  deaths: readonly (readonly [number, number])[];
  /** How likely a piece is wrong, and an answer broken (its connection ends with it, or not). */
  lies: number;
  damage: number;
  /** Pieces that it always sends wrong. */
  rotten: readonly number[];
  /** How likely a request is answered by "busy". */
  faults: number;
  /** Parts that it is said to have, and has not. */
  absent: readonly number[];
  leavesAtMs: number;
}

export const HONEST: Behaviour = {
  parts: "all",
  joinsAtMs: 0,
  isConnected: true,
  latencyMs: 1,
  bytesPerMs: 10_000,
  stalls: [],
  deaths: [],
  lies: 0,
  damage: 0,
  rotten: [],
  faults: 0,
  absent: [],
  leavesAtMs: Number.POSITIVE_INFINITY,
};

export interface Scenario {
  layout: PieceLayout;
  settings: PlannerSettings;
  replicas: readonly Behaviour[];
  /** Pieces that are there from the start. */
  present: readonly number[];
  /** How many pieces are agreed at once, and how often; all of them at the start if 0. */
  agreedEveryMs: number;
  /** A piece that turns out to be rotten when so many are verified. */
  spoilt: { piece: number; afterVerified: number } | undefined;
  seed: number;
}

export interface Outcome {
  last: Extract<PlannerAction, { type: "finished" | "given-up" }>;
  endedAtMs: number;
  receivedBytes: number;
  /** What came and was of no use: hedges that came second, wrong pieces, drained answers. */
  wastedBytes: number;
  /** The most that was verified behind a gap, at any moment: whoever reads the file in order has to wait for that. */
  heldBackBytes: number;
  quarantined: ReplicaId[];
  /** Of each replica. */
  verifiedPieces: number[];
  /** Every action with its time, for comparing runs. */
  log: string[];
}

interface SimulatedRequest {
  id: number;
  part: number;
  first: number;
  count: number;
  sizeBytes: number;
  sentBytes: number;
  /** A round trip after it was asked for. */
  startsAtMs: number;
  fault: "fault" | "damaged" | "absent" | undefined;
}

interface SimulatedReplica {
  behaviour: Behaviour;
  state: "away" | "connecting" | "connected" | "gone";
  /** Events of an earlier connection mean nothing. */
  connection: number;
  queue: SimulatedRequest[];
  isSending: boolean;
  /** It was told to end its connection. */
  isClosing: boolean;
  mayConnectAtMs: number;
  joined: boolean;
  wasQuarantined: boolean;
  /** What the planner was told that it does not have. */
  lacks: Set<number>;
}

/** Runs a planner against a network that is all in here, and checks what the planner promises at each action. */
export class ReplicaNetwork {
  readonly #scenario: Scenario;
  readonly #random: Random;
  readonly #planner: Planner;
  readonly #replicas: SimulatedReplica[];
  #events: { atMs: number; order: number; run: () => void }[] = [];
  #order = 0;
  #nowMs = 0;
  readonly #pieces: number;
  readonly #verified = new Set<number>();
  readonly #agreed = new Set<number>();
  /** By how many requests each piece is under way, as the network sees it. */
  readonly #underWay: number[];
  readonly #requests = new Map<number, { replica: ReplicaId; request: SimulatedRequest }>();
  readonly #outcome: Omit<Outcome, "last" | "endedAtMs">;
  #last: Outcome["last"] | undefined;
  #spoiltYet = false;
  /** All pieces before this one are verified. */
  #front = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#random = seededRandom(scenario.seed);
    const plannersRandom = seededRandom(scenario.seed + 1);
    const { layout, settings, replicas } = scenario;
    this.#planner = new Planner(layout, settings, () => plannersRandom.next(), 0);
    this.#pieces = Math.ceil(layout.sizeBytes / layout.pieceBytes);
    this.#underWay = Array.from({ length: this.#pieces }, () => 0);
    this.#replicas = replicas.map((behaviour) => ({
      behaviour,
      state: "away",
      connection: 0,
      queue: [],
      isSending: false,
      isClosing: false,
      mayConnectAtMs: 0,
      joined: false,
      wasQuarantined: false,
      lacks: new Set(),
    }));
    this.#outcome = {
      receivedBytes: 0,
      wastedBytes: 0,
      heldBackBytes: 0,
      quarantined: [],
      verifiedPieces: replicas.map(() => 0),
      log: [],
    };
  }

  /** @param limitMs by when it has to be over */
  run(limitMs: number): Outcome {
    this.#begin();
    while (this.#last === undefined) {
      const wakeAtMs = this.#planner.wakeAtMs;
      const [event] = this.#events;
      if (wakeAtMs !== undefined && (event === undefined || wakeAtMs <= event.atMs)) {
        expect(wakeAtMs).toBeGreaterThan(this.#nowMs - 1);
        this.#nowMs = Math.max(this.#nowMs, wakeAtMs);
        this.#tell({ type: "tick" });
      } else {
        expect(event).toBeDefined();
        this.#events.shift();
        this.#nowMs = event!.atMs;
        event!.run();
      }
      expect(this.#nowMs).toBeLessThan(limitMs);
    }
    expect(this.#planner.take({ type: "tick" }, this.#nowMs + 1e9)).toEqual([]);
    return { ...this.#outcome, last: this.#last, endedAtMs: this.#nowMs };
  }

  #begin(): void {
    const { present, agreedEveryMs, replicas } = this.#scenario;
    for (const piece of present) {
      this.#verified.add(piece);
      this.#tell({ type: "present", pieces: { first: piece, count: 1 } });
    }
    if (agreedEveryMs === 0) this.#agree(0, this.#pieces);
    else
      for (let piece = 0; piece < this.#pieces; piece++)
        this.#at(piece * agreedEveryMs, () => this.#agree(piece, 1));
    for (const [id, { behaviour }] of this.#replicas.entries()) this.#plot(id, behaviour);
    this.#at(Math.max(0, ...replicas.map(({ joinsAtMs }) => joinsAtMs)), () =>
      this.#tell({ type: "joining-closed" }),
    );
  }

  #agree(first: number, count: number): void {
    for (let piece = first; piece < first + count; piece++) this.#agreed.add(piece);
    this.#tell({ type: "agreed", pieces: { first, count } });
  }

  #plot(id: ReplicaId, behaviour: Behaviour): void {
    const replica = this.#replicas[id]!;
    this.#at(behaviour.joinsAtMs, () => {
      const isConnected = behaviour.isConnected && this.#isAlive(replica);
      if (isConnected) replica.state = "connected";
      replica.joined = true;
      this.#tell({ type: "joined", replica: id, parts: behaviour.parts, isConnected });
    });
    for (const [fromMs] of behaviour.deaths) this.#at(fromMs, () => this.#drop(id, 0, false));
    if (Number.isFinite(behaviour.leavesAtMs))
      this.#at(behaviour.leavesAtMs, () => {
        if (this.#nowMs < behaviour.joinsAtMs) return;
        this.#cut(replica);
        replica.state = "gone";
        this.#tell({ type: "left", replica: id });
      });
  }

  #isAlive({ behaviour }: SimulatedReplica): boolean {
    return !behaviour.deaths.some(([from, to]) => this.#nowMs >= from && this.#nowMs < to);
  }

  /** Its connection ends, if it has one or is about to. */
  #drop(id: ReplicaId, retryAfterMs: number, isDamage: boolean): void {
    const replica = this.#replicas[id]!;
    if (replica.state === "gone" || replica.state === "away") return;
    this.#cut(replica);
    replica.state = "away";
    replica.mayConnectAtMs = this.#nowMs + retryAfterMs;
    this.#tell({ type: "lost", replica: id, retryAfterMs, isDamage });
  }

  #cut(replica: SimulatedReplica): void {
    replica.connection++;
    replica.isSending = replica.isClosing = false;
    for (const request of replica.queue.splice(0)) this.#forget(request);
  }

  /** What came of a piece that is not whole was in vain. */
  #forget(request: SimulatedRequest): void {
    const { first, count } = request;
    for (let piece = first + this.#piecesSent(request); piece < first + count; piece++)
      this.#underWay[piece]!--;
    this.#requests.delete(request.id);
    if (request.sentBytes < request.sizeBytes)
      this.#outcome.wastedBytes += request.sentBytes % this.#scenario.layout.pieceBytes;
  }

  #piecesSent({ count, sizeBytes, sentBytes }: SimulatedRequest): number {
    return sentBytes === sizeBytes ? count : Math.floor(sentBytes / this.#scenario.layout.pieceBytes);
  }

  #at(atMs: number, run: () => void): void {
    const event = { atMs: Math.max(atMs, this.#nowMs), order: this.#order++, run };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#events[middle]!.atMs <= event.atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  #tell(event: PlannerEvent): void {
    const before = this.#outcome.log.length;
    for (const action of this.#planner.take(event, this.#nowMs)) {
      expect(this.#last).toBeUndefined();
      this.#outcome.log.push(`${this.#nowMs} ${JSON.stringify(action)}`);
      this.#perform(action);
    }
    if (before < this.#outcome.log.length) this.#checkConnections();
  }

  #checkConnections(): void {
    const open = this.#replicas.filter(
      ({ state, isClosing }) => !isClosing && (state === "connected" || state === "connecting"),
    );
    expect(open.length).toBeLessThanOrEqual(this.#scenario.settings.maxConnections);
  }

  #perform(action: PlannerAction): void {
    switch (action.type) {
      case "connect":
        return this.#connect(action.replica);
      case "request":
        return this.#request(action);
      case "disconnect":
        this.#tellLate(this.#replicas[action.replica]!);
        this.#cut(this.#replicas[action.replica]!);
        this.#replicas[action.replica]!.isClosing = true;
        this.#at(this.#nowMs + this.#random.integer(0, 3), () => this.#drop(action.replica, 0, false));
        return;
      case "cancel":
        return this.#cancel(action.request);
      case "quarantine": {
        const replica = this.#replicas[action.replica]!;
        const { lies, damage, rotten } = replica.behaviour;
        expect(lies + damage + rotten.length).toBeGreaterThan(0);
        this.#outcome.quarantined.push(action.replica);
        this.#tellLate(replica);
        this.#cut(replica);
        replica.state = "away";
        replica.wasQuarantined = true;
        return;
      }
      case "finished":
        expect(this.#verified.size).toBe(this.#pieces);
        this.#last = action;
        return;
      case "given-up":
        this.#checkFailure(action.failure.parts, action.failure.missingBytes);
        this.#last = action;
    }
  }

  #checkFailure(parts: readonly number[], missingBytes: number): void {
    const { layout } = this.#scenario;
    const missing = [...layout.parts.entries()].filter(([, { first, count }]) =>
      Array.from({ length: count }, (_, index) => first + index).some((piece) => !this.#verified.has(piece)),
    );
    expect(parts).toEqual(missing.map(([part]) => part));
    let expectedBytes = 0;
    for (let piece = 0; piece < this.#pieces; piece++)
      if (!this.#verified.has(piece)) expectedBytes += this.#sizeOf(piece, 1);
    expect(missingBytes).toBe(expectedBytes);
    expect(missingBytes).toBeGreaterThan(0);
  }

  /** What was on its way when the planner ended a connection means nothing any more. */
  #tellLate({ queue }: SimulatedReplica): void {
    for (const { id, first } of queue) {
      this.#at(this.#nowMs, () => {
        expect(this.#planner.wants(id, first)).toBe(false);
        this.#tell({ type: "received", request: id, bytes: CHUNK_BYTES });
        this.#tell({ type: "verified", request: id, piece: first });
        this.#tell({ type: "wrong", request: id, piece: first });
        this.#tell({ type: "ended", request: id });
      });
    }
  }

  #connect(id: ReplicaId): void {
    const replica = this.#replicas[id]!;
    expect(replica.state).toBe("away");
    if (replica.wasQuarantined) this.#expectLastResort(replica);
    expect(this.#nowMs).toBeGreaterThanOrEqual(replica.mayConnectAtMs);
    replica.state = "connecting";
    const connection = replica.connection;
    this.#at(this.#nowMs + replica.behaviour.latencyMs, () => {
      if (replica.connection !== connection || replica.state !== "connecting") return;
      if (!this.#isAlive(replica)) return this.#drop(id, this.#random.integer(0, 1) * 700, false);
      replica.state = "connected";
      this.#tell({ type: "connected", replica: id });
    });
  }

  /** Somebody who was caught is only used for what nobody else has. */
  #expectLastResort({ behaviour }: SimulatedReplica): void {
    const isTrusted = ({ wasQuarantined, state, joined }: SimulatedReplica): boolean =>
      joined && !wasQuarantined && state !== "gone";
    const orphans = [...this.#scenario.layout.parts.keys()].filter(
      (part) =>
        !this.#replicas.some(
          (one) =>
            isTrusted(one) &&
            (one.behaviour.parts === "all" || one.behaviour.parts.includes(part)) &&
            !one.lacks.has(part),
        ),
    );
    expect(orphans.some((part) => behaviour.parts === "all" || behaviour.parts.includes(part))).toBe(true);
  }

  #request(action: Extract<PlannerAction, { type: "request" }>): void {
    const { replica: id, pieces, isHedge } = action;
    const replica = this.#replicas[id]!;
    const { behaviour } = replica;
    expect(replica.state).toBe("connected");
    expect(replica.queue.length).toBeLessThan(2);
    expect(pieces.count).toBeGreaterThan(0);
    const part = this.#scenario.layout.parts.findIndex(
      ({ first, count }) => pieces.first >= first && pieces.first < first + count,
    );
    const { first, count } = this.#scenario.layout.parts[part]!;
    expect(pieces.first + pieces.count).toBeLessThanOrEqual(first + count);
    if (behaviour.parts !== "all") expect(behaviour.parts).toContain(part);
    expect(replica.lacks.has(part)).toBe(false);
    for (let piece = pieces.first; piece < pieces.first + pieces.count; piece++) {
      expect(this.#agreed.has(piece)).toBe(true);
      expect(this.#verified.has(piece)).toBe(false);
      expect(this.#underWay[piece]).toBeLessThanOrEqual(isHedge ? 1 : 0);
      this.#underWay[piece]!++;
    }
    const request: SimulatedRequest = {
      id: action.request,
      part,
      ...pieces,
      sizeBytes: this.#sizeOf(pieces.first, pieces.count),
      sentBytes: 0,
      startsAtMs: this.#nowMs + behaviour.latencyMs,
      fault: this.#faultFor(behaviour, part),
    };
    this.#requests.set(request.id, { replica: id, request });
    replica.queue.push(request);
    this.#send(id);
  }

  #faultFor({ absent, faults, damage }: Behaviour, part: number): SimulatedRequest["fault"] {
    if (absent.includes(part)) return "absent";
    if (this.#random.next() < faults) return "fault";
    return this.#random.next() < damage ? "damaged" : undefined;
  }

  #sizeOf(first: number, count: number): number {
    const { sizeBytes, pieceBytes } = this.#scenario.layout;
    return Math.min((first + count) * pieceBytes, sizeBytes) - first * pieceBytes;
  }

  /** The next bytes that a replica sends. */
  #send(id: ReplicaId): void {
    const replica = this.#replicas[id]!;
    const [request] = replica.queue;
    if (replica.isSending || request === undefined || replica.state !== "connected") return;
    if (request.sentBytes === request.sizeBytes) return;
    const { behaviour, connection } = replica;
    const { pieceBytes } = this.#scenario.layout;
    const toPieceEnd = Math.min(
      pieceBytes - (request.sentBytes % pieceBytes),
      request.sizeBytes - request.sentBytes,
    );
    const bytes = Math.min(CHUNK_BYTES, toPieceEnd);
    let atMs = Math.max(this.#nowMs, request.startsAtMs) + bytes / behaviour.bytesPerMs;
    for (const [from, to] of behaviour.stalls) if (atMs >= from && atMs < to) atMs = to;
    if (!Number.isFinite(atMs)) return;
    replica.isSending = true;
    this.#at(atMs, () => {
      if (replica.connection !== connection) return;
      replica.isSending = false;
      this.#arrive(id, replica, request, bytes);
      if (replica.connection === connection) this.#send(id);
    });
  }

  #arrive(id: ReplicaId, replica: SimulatedReplica, request: SimulatedRequest, bytes: number): void {
    const { fault } = request;
    if (fault === "damaged" && this.#random.next() < 0.5) return this.#drop(id, 0, true);
    if (fault !== undefined) {
      // Some of it came before, and is of no use.
      this.#outcome.wastedBytes += bytes;
      this.#tell({ type: "received", request: request.id, bytes });
      this.#over(replica, request);
      const retryAfterMs = this.#random.integer(0, 1) * 300;
      if (fault === "absent") replica.lacks.add(request.part);
      const told = fault === "fault" ? { kind: fault, retryAfterMs } : { kind: fault };
      return this.#tell({ type: "failed", request: request.id, fault: told });
    }
    const { pieceBytes } = this.#scenario.layout;
    request.sentBytes += bytes;
    this.#outcome.receivedBytes += bytes;
    this.#tell({ type: "received", request: request.id, bytes });
    const isPieceWhole = request.sentBytes % pieceBytes === 0 || request.sentBytes === request.sizeBytes;
    if (isPieceWhole) this.#pieceCame(id, replica, request);
    if (replica.queue[0] !== request || request.sentBytes < request.sizeBytes) return;
    this.#over(replica, request);
    this.#tell({ type: "ended", request: request.id });
  }

  #pieceCame(id: ReplicaId, replica: SimulatedReplica, request: SimulatedRequest): void {
    const { behaviour } = replica;
    const { pieceBytes } = this.#scenario.layout;
    const piece = request.first + this.#piecesSent(request) - 1;
    this.#underWay[piece]!--;
    const isWanted = this.#planner.wants(request.id, piece);
    expect(isWanted).toBe(!this.#verified.has(piece));
    const isLie = isWanted && (this.#random.next() < behaviour.lies || behaviour.rotten.includes(piece));
    if (!isWanted || isLie) this.#outcome.wastedBytes += this.#sizeOf(piece, 1);
    if (isLie) return this.#tell({ type: "wrong", request: request.id, piece });
    if (!isWanted) return;
    this.#verified.add(piece);
    this.#outcome.verifiedPieces[id]!++;
    while (this.#verified.has(this.#front)) this.#front++;
    const heldBackBytes = (this.#verified.size - this.#front) * pieceBytes;
    this.#outcome.heldBackBytes = Math.max(this.#outcome.heldBackBytes, heldBackBytes);
    this.#tell({ type: "verified", request: request.id, piece });
    const { spoilt } = this.#scenario;
    if (spoilt === undefined || this.#spoiltYet || this.#verified.size < spoilt.afterVerified) return;
    if (!this.#verified.delete(spoilt.piece)) return;
    this.#spoiltYet = true;
    this.#front = Math.min(this.#front, spoilt.piece);
    this.#tell({ type: "spoilt", pieces: { first: spoilt.piece, count: 1 } });
  }

  #over(replica: SimulatedReplica, request: SimulatedRequest): void {
    replica.queue.splice(replica.queue.indexOf(request), 1);
    this.#forget(request);
  }

  #cancel(id: number): void {
    const known = this.#requests.get(id);
    expect(known).toBeDefined();
    const { replica, request } = known!;
    // What is cancelled is the answer that is coming just now, and all of it is there already.
    expect(this.#replicas[replica]!.queue[0]).toBe(request);
    for (let piece = request.first; piece < request.first + request.count; piece++)
      expect(this.#verified.has(piece)).toBe(true);
    if (request.sizeBytes - request.sentBytes <= DRAIN_BYTES) return;
    const { connection } = this.#replicas[replica]!;
    this.#at(this.#nowMs, () => {
      if (this.#replicas[replica]!.connection === connection && this.#requests.has(id))
        this.#drop(replica, 0, false);
    });
  }
}
