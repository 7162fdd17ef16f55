import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { delayAfterAttempt } from "../net/backoff.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import type { FileHead } from "../transfer/fetch-reply.ts";
import { CAPABILITY } from "../wire/messages.ts";
import type { PieceRun, ReplicaId } from "./planner-events.ts";
import type { RefereeAction, Referees } from "./referees.ts";
import type { Replica } from "./replica.ts";

const TICK_MS = 1_000;
/** Between two questions to one that does not answer. */
const BACKOFF = { attempts: 8, firstDelayMs: 500, maxDelayMs: 10_000 };

export interface RefereeEvents {
  agreed(pieces: PieceRun): void;
  blamed(replica: Replica, piece: number, by: readonly Replica[]): void;
  undecided(piece: number, voters: readonly Replica[]): void;
  isStarving(): boolean;
  failed(error: DrayError): void;
}

/** Asks replicas what is in the file, each over a connection of its own, and tells the referees. */
export class RefereeDesk {
  readonly #referees: Referees;
  readonly #file: { path: string; sizeBytes: number; pieceBytes: number };
  readonly #client: ClientSettings;
  readonly #events: RefereeEvents;
  readonly #replicas = new Map<ReplicaId, Replica>();
  readonly #asked = new Map<ReplicaId, { client: Client | undefined }>();
  readonly #failures = new Map<ReplicaId, number>();
  readonly #timers = new Set<Timer>();
  readonly #ticks: Timer;
  #isClosed = false;

  constructor(
    referees: Referees,
    file: { path: string; sizeBytes: number; pieceBytes: number },
    client: ClientSettings,
    events: RefereeEvents,
  ) {
    this.#referees = referees;
    this.#file = file;
    this.#client = client;
    this.#events = events;
    this.#ticks = setInterval(
      () => this.#take(this.#referees.tick(performance.now(), events.isStarving())),
      TICK_MS,
    );
  }

  available(replica: Replica): void {
    this.#replicas.set(replica.id, replica);
    this.#take(this.#referees.available(replica.id));
  }

  /** Nobody else will be available. */
  believeOnly(): void {
    this.#take(this.#referees.believeOnly());
  }

  left(replica: Replica): void {
    if (!this.#replicas.delete(replica.id)) return;
    this.#stop(replica.id);
    this.#take(this.#referees.left(replica.id));
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#ticks);
    for (const timer of this.#timers) clearTimeout(timer);
    for (const id of [...this.#asked.keys()]) this.#stop(id);
  }

  #take(actions: readonly RefereeAction[]): void {
    for (const action of actions) {
      if (this.#isClosed) return;
      if (action.type === "agreed") this.#events.agreed(action.pieces);
      else if (action.type === "ask-sums") void this.#ask(this.#replicas.get(action.replica)!);
      else if (action.type === "stop-sums") this.#stop(action.replica);
      else if (action.type === "blamed") {
        const replica = this.#replicas.get(action.replica);
        if (replica !== undefined) this.#events.blamed(replica, action.piece, this.#shown(action.by));
      } else this.#events.undecided(action.piece, this.#shown(action.voters));
    }
  }

  #shown(ids: readonly ReplicaId[]): Replica[] {
    return ids.map((id) => this.#replicas.get(id)).filter((replica) => replica !== undefined);
  }

  async #ask(replica: Replica): Promise<void> {
    const { path, sizeBytes, pieceBytes } = this.#file;
    const { id } = replica;
    const asked: { client: Client | undefined } = { client: undefined };
    this.#asked.set(id, asked);
    const isOver = (): boolean => this.#isClosed || this.#asked.get(id) !== asked;
    let batch: bigint[] = [];
    const flush = (): void => {
      if (batch.length === 0 || isOver()) return;
      const digests = batch;
      batch = [];
      try {
        this.#take(this.#referees.digests(id, digests));
      } catch (error) {
        this.#events.failed(asDrayError(error));
      }
    };
    try {
      const client = await Client.connect(replica.target, this.#client);
      if (isOver()) return client.close();
      asked.client = client;
      client.require(CAPABILITY.content, "files");
      await client.sums(
        { path, pieceBytes, digest: "xxh3", mayRecall: true },
        {
          head: (head: FileHead) => {
            const mtimeUs = replica.whole?.mtimeUs;
            if (head.sizeBytes !== sizeBytes || (mtimeUs !== undefined && head.mtimeUs !== mtimeUs))
              throw new DrayError("changed", "the file was changed there");
          },
          digest: (digest) => {
            if (batch.length === 0) queueMicrotask(flush);
            batch.push(new DataView(digest.buffer, digest.byteOffset, 8).getBigUint64(0, true));
          },
        },
      );
      flush();
      if (isOver()) return;
      this.#asked.delete(id);
      client.close();
      this.#take(this.#referees.sumsEnded(id));
    } catch (error) {
      if (isOver()) return;
      this.#stop(id);
      this.#take(this.#referees.sumsFailed(id));
      this.#askLater(replica, asDrayError(error));
    }
  }

  #askLater(replica: Replica, { retryable, retryAfterMs }: DrayError): void {
    const failures = (this.#failures.get(replica.id) ?? 0) + 1;
    this.#failures.set(replica.id, failures);
    const delayMs = retryable ? delayAfterAttempt(BACKOFF, failures, Math.random()) : undefined;
    if (delayMs === undefined) return;
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        if (!this.#isClosed && this.#replicas.has(replica.id)) this.available(replica);
      },
      Math.max(delayMs, retryAfterMs),
    );
    this.#timers.add(timer);
  }

  #stop(id: ReplicaId): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.client?.close();
  }
}
