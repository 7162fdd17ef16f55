import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import { CAPABILITY } from "../wire/messages.ts";
import { extentOf, partOf } from "./piece-layout.ts";
import { Planner } from "./planner.ts";
import type {
  PlannerAction,
  PlannerEvent,
  PlannerSettings,
  QuarantineReason,
  ReplicaId,
  RequestId,
} from "./planner-events.ts";
import type { Replica } from "./replica.ts";
import type { ReplicatedFile } from "./replicated-file.ts";
import { type Run, RunTable } from "./run-table.ts";
import { FOR_GOOD, GivenUp, faultOf, silenceText } from "./swarm-faults.ts";
import {
  AnotherFile,
  type PieceSource,
  RunReceiver,
  type RunRequest,
  type RunTaker,
} from "./run-receiver.ts";

/** Below this, what is not needed any more is cheaper to drain than a new connection. */
const DRAIN_LIMIT_BYTES = 1024 * 1024;
/** Longer silence of one that was asked for something is worth a word in the end… */
const NOTABLE_SILENCE_MS = 1_000;
/** …and also this one, if others have done its work meanwhile, and nothing good came from it after that. */
const OVERTAKEN_SILENCE_MS = 200;

export interface SwarmSettings {
  client: ClientSettings;
  planner: PlannerSettings;
  signal: AbortSignal;
}

export type ReplicaNews = "joined" | "unreachable" | "lost" | "back" | "left" | "quarantined";

export interface SwarmEvents {
  /** What became of a replica: its status has changed, or it is there again. */
  replica(replica: Replica, what: ReplicaNews, why?: string): void;
  /** Where a replica has the bytes of a part. */
  source(replica: Replica, part: number): PieceSource;
  /** It is not asked any more, for good. */
  gone(replica: Replica): void;
}

/** Does what the planner says, over one connection for each replica. */
export class Swarm implements RunTaker {
  readonly pieceBytes: number;
  readonly #file: ReplicatedFile;
  readonly #settings: SwarmSettings;
  readonly #events: SwarmEvents;
  readonly #planner: Planner;
  readonly #replicas = new Map<ReplicaId, Replica>();
  readonly #runs: RunTable;
  readonly #done = Promise.withResolvers<void>();
  readonly #inbox: PlannerEvent[] = [];
  readonly #stop = (): void => this.fail(new DrayError("interrupted", "stopped"));
  #isBusy = false;
  #isOver = false;
  #timer: Timer | undefined;
  #timerMs = 0;

  constructor(file: ReplicatedFile, settings: SwarmSettings, events: SwarmEvents) {
    this.pieceBytes = file.layout.pieceBytes;
    this.#file = file;
    this.#runs = new RunTable((bytes) => file.wasted(bytes));
    this.#settings = settings;
    this.#events = events;
    this.#planner = new Planner(file.layout, settings.planner, Math.random, performance.now());
    for (const pieces of file.present()) this.tell({ type: "present", pieces });
    settings.signal.addEventListener("abort", this.#stop);
    this.#done.promise.catch(() => {}); // told by `finished`
    if (settings.signal.aborted) this.#stop();
  }

  /** Takes one in, over the connection that it has, or one that is made when it is needed. */
  join(replica: Replica, parts: "all" | readonly number[]): void {
    this.#replicas.set(replica.id, replica);
    const { client } = replica;
    const isConnected = client?.isOpen === true;
    if (isConnected && !this.#isOver) this.#connected(replica, client);
    this.tell({ type: "joined", replica: replica.id, parts, isConnected });
  }

  /** Settles when all pieces are there; connections are closed then. @throws DrayError why they are not */
  finished(): Promise<void> {
    return this.#done.promise;
  }

  /** Whether somebody who is there has nothing to do as long as the digests are not agreed. */
  get isStarving(): boolean {
    return this.#planner.isStarving;
  }

  tell(event: PlannerEvent): void {
    if (this.#isOver) return;
    this.#inbox.push(event);
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
        for (const action of this.#planner.take(next, performance.now())) this.#do(action);
      }
    } catch (error) {
      this.fail(asDrayError(error));
    } finally {
      this.#isBusy = false;
    }
    this.#arm();
  }

  /** Ends it all. */
  fail(error: DrayError): void {
    if (this.#isOver) return;
    this.#end();
    this.#done.reject(error);
  }

  /** The referees have caught one: it is used again only for what nobody else has. */
  caught(replica: Replica, piece: number, why: string): void {
    const isNews = !replica.isOut;
    if (isNews) {
      replica.status = "quarantined";
      this.#drop(replica, new DrayError("closed", why));
    }
    replica.culprit ??= why;
    this.tell({ type: "caught", replica: replica.id, piece });
    if (isNews) this.#events.replica(replica, "quarantined", why);
  }

  /** One is to be used no more, for a reason that the planner cannot know. */
  expel(replica: Replica, status: "quarantined" | "refused" | "absent" | "other-version", why: string): void {
    if (replica.isOut) return;
    replica.status = status;
    if (status === "quarantined") replica.culprit = why;
    else replica.error = why;
    this.#drop(replica, new DrayError("closed", why));
    this.tell({ type: "left", replica: replica.id });
    this.#events.replica(replica, status === "quarantined" ? "quarantined" : "left", why);
    this.#events.gone(replica);
  }

  received({ request }: RunRequest, bytes: number): void {
    if (!this.#runs.received(request, bytes, performance.now())) return;
    this.#file.counted(bytes);
    this.tell({ type: "received", request, bytes });
  }

  piece(
    { request, replica }: RunRequest,
    piece: number,
    bytes: Uint8Array,
    wireDigest: bigint | undefined,
  ): void {
    const run = this.#runs.get(request);
    if (run === undefined || !this.#planner.wants(request, piece)) return;
    let isRight: boolean;
    try {
      isRight = this.#file.take(piece, bytes, wireDigest);
    } catch (error) {
      return this.fail(asDrayError(error));
    }
    if (!isRight) return this.tell({ type: "wrong", request, piece });
    run.takenBytes += bytes.length;
    replica.verifiedBytes += bytes.length;
    replica.overtakenAfterMs = undefined;
    this.tell({ type: "verified", request, piece });
  }

  #do(action: PlannerAction): void {
    if (this.#isOver) return;
    if (action.type === "finished") {
      this.#noteSilent();
      this.#end();
      return this.#done.resolve();
    }
    if (action.type === "given-up") {
      this.#noteSilent();
      return this.fail(new GivenUp(action.failure));
    }
    if (action.type === "cancel") return this.#cancel(action.request);
    const replica = this.#replicas.get(action.replica)!;
    if (action.type === "connect") {
      // Caught before, and the last one that has something: its blame stays, its word is checked as ever.
      if (replica.status === "quarantined") replica.status = "lost";
      void this.#connect(replica);
    } else if (action.type === "request") this.#ask(action, replica);
    else if (action.type === "disconnect") this.#disconnect(replica, action.why);
    else this.#quarantine(replica, action.reason);
  }

  async #connect(replica: Replica): Promise<void> {
    try {
      const client = await Client.connect(replica.target, this.#settings.client);
      if (this.#isOver || replica.isOut) return client.close();
      try {
        client.require(CAPABILITY.content, "files");
      } catch (error) {
        client.close();
        throw error;
      }
      this.#connected(replica, client);
      this.tell({ type: "connected", replica: replica.id });
    } catch (error) {
      if (this.#isOver || replica.isOut) return;
      const known = asDrayError(error);
      this.#lost(replica, known);
    }
  }

  #connected(replica: Replica, client: Client): void {
    replica.client = client;
    client.onClosed = (error) => {
      if (replica.client !== client) return;
      replica.client = undefined;
      this.#lost(replica, error);
    };
    const isBack = replica.wasConnected && replica.status === "lost";
    const isNew = replica.status !== "used" && !isBack;
    replica.wasConnected = true;
    replica.status = "used";
    replica.error = undefined;
    if (isNew || isBack) this.#events.replica(replica, isBack ? "back" : "joined");
  }

  /** There is no connection, or none any more. */
  #lost(replica: Replica, error: DrayError): void {
    const { code, message, retryAfterMs } = error;
    if (replica.isOut || this.#isOver) return;
    if (FOR_GOOD.has(code)) return this.expel(replica, "refused", message);
    const isDamage = code === "protocol" || code === "integrity";
    if (isDamage) replica.culprit = `what it sent was damaged: ${message}`;
    const isNews = replica.status !== "lost" && replica.status !== "unreachable";
    replica.status = replica.wasConnected ? "lost" : "unreachable";
    replica.error = message;
    this.#runs.forget(replica);
    this.tell({ type: "lost", replica: replica.id, retryAfterMs, isDamage });
    if (isNews && !replica.isOut)
      this.#events.replica(replica, replica.wasConnected ? "lost" : "unreachable", message);
  }

  #ask({ request, pieces }: Extract<PlannerAction, { type: "request" }>, replica: Replica): void {
    const { client } = replica;
    if (client === undefined || !client.isOpen) return; // it is lost, and that is on its way to the planner
    const source = this.#events.source(replica, partOf(this.#file.layout, pieces.first));
    const { offset, lengthBytes } = extentOf(this.#file.layout, pieces);
    const asked: RunRequest = { request, replica, pieces, source, offset, lengthBytes };
    const receiver = new RunReceiver(asked, this);
    const run = this.#runs.add(asked, receiver, performance.now());
    const range = { path: source.path, offset: offset - source.startsAt, length: lengthBytes };
    client.fetch({ ...range, delayMs: 0, digest: "xxh3" }, receiver).then(
      () => {
        if (this.#runs.over(request)) this.tell({ type: "ended", request });
      },
      (error: unknown) => this.#failed(run, client, asDrayError(error)),
    );
  }

  #failed({ request: asked, receiver }: Run, client: Client, error: DrayError): void {
    const { request, replica, source } = asked;
    // All requests of a connection that has gone are void.
    if (!client.isOpen || !this.#runs.over(request)) return;
    if (error instanceof AnotherFile && source.isWhole && replica.parts.size === 0) {
      return this.expel(replica, "other-version", `${source.path}: ${error.message}`);
    }
    if (error.code === "unauthorized") return this.expel(replica, "refused", error.message);
    if (error.code === "integrity") replica.culprit = `what it sent was damaged: ${error.message}`;
    replica.error = error.message;
    this.tell({ type: "failed", request, fault: faultOf(error) });
    // What we refuse ourselves still comes.
    const isOurs = error instanceof AnotherFile || error.code === "integrity";
    if (isOurs && receiver.outstandingBytes > DRAIN_LIMIT_BYTES) this.#disconnectQuietly(replica);
  }

  #cancel(request: RequestId): void {
    const run = this.#runs.get(request);
    if (run === undefined) return;
    const { receiver } = run;
    const { replica } = run.request;
    receiver.isCancelled = true;
    const silentMs = this.#runs.silentMs(replica, performance.now());
    if (silentMs >= OVERTAKEN_SILENCE_MS) replica.overtakenAfterMs = silentMs;
    if (receiver.outstandingBytes <= DRAIN_LIMIT_BYTES) return;
    this.#disconnectQuietly(replica);
  }

  #disconnect(replica: Replica, why: "stalled" | "idle"): void {
    if (why === "stalled") {
      const what = silenceText(this.#runs.silentMs(replica, performance.now()));
      replica.status = "lost";
      replica.error = what;
      replica.culprit = what;
      this.#events.replica(replica, "lost", what);
    }
    this.#disconnectQuietly(replica);
  }

  /** The connection is ended by us: that is no news. */
  #disconnectQuietly(replica: Replica): void {
    this.#drop(replica, new DrayError("closed", "the connection was given up"));
    this.tell({ type: "lost", replica: replica.id, retryAfterMs: 0, isDamage: false });
  }

  #drop(replica: Replica, reason: DrayError): void {
    const { client } = replica;
    replica.client = undefined;
    this.#runs.forget(replica);
    client?.close(reason);
  }

  #quarantine(replica: Replica, reason: QuarantineReason): void {
    const why =
      reason.kind === "wrong-piece"
        ? `its ${this.#shownBytes(reason.piece)} are not those of the file`
        : `${replica.culprit ?? "what it sent was damaged"} (${reason.strikes} times in a row)`;
    replica.status = "quarantined";
    replica.culprit = why;
    this.#drop(replica, new DrayError("closed", why));
    this.#events.replica(replica, "quarantined", why);
    this.#events.gone(replica);
  }

  #shownBytes(piece: number): string {
    const { offset, lengthBytes } = extentOf(this.#file.layout, { first: piece, count: 1 });
    return `bytes ${offset} to ${offset + lengthBytes - 1}`;
  }

  /** Whoever was asked and kept silent is told of in the end, also if others did its work in time. */
  #noteSilent(): void {
    const nowMs = performance.now();
    for (const replica of this.#replicas.values()) {
      const { overtakenAfterMs } = replica;
      const silentMs = overtakenAfterMs ?? this.#runs.silentMs(replica, nowMs);
      if (overtakenAfterMs !== undefined || silentMs >= NOTABLE_SILENCE_MS)
        replica.culprit ??= silenceText(silentMs);
    }
  }

  #end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#settings.signal.removeEventListener("abort", this.#stop);
    for (const replica of this.#replicas.values()) {
      this.#drop(replica, new DrayError("interrupted", "done"));
    }
  }

  #arm(): void {
    const atMs = this.#isOver ? undefined : this.#planner.wakeAtMs;
    if (atMs === undefined || (this.#timer !== undefined && this.#timerMs <= atMs)) return;
    clearTimeout(this.#timer);
    this.#timerMs = atMs;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.tell({ type: "tick" });
      },
      Math.max(0, atMs - performance.now()),
    );
  }
}
