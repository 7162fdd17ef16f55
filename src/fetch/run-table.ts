import type { ReplicaId, RequestId } from "./planner-events.ts";
import type { Replica } from "./replica.ts";
import type { RunReceiver, RunRequest } from "./run-receiver.ts";

/** A request that is under way. */
export interface Run {
  readonly request: RunRequest;
  readonly receiver: RunReceiver;
  readonly askedMs: number;
  receivedBytes: number;
  /** Of those, what was verified and needed. */
  takenBytes: number;
}

/** What replicas have been asked for and not answered yet, and what of it was of no use. */
export class RunTable {
  readonly #runs = new Map<RequestId, Run>();
  /** When each replica last brought something. */
  readonly #heardMs = new Map<ReplicaId, number>();
  readonly #wasted: (bytes: number) => void;

  /** @param wasted told of bytes that came and were not needed, or wrong */
  constructor(wasted: (bytes: number) => void) {
    this.#wasted = wasted;
  }

  get(request: RequestId): Run | undefined {
    return this.#runs.get(request);
  }

  add(request: RunRequest, receiver: RunReceiver, nowMs: number): Run {
    const run: Run = { request, receiver, askedMs: nowMs, receivedBytes: 0, takenBytes: 0 };
    this.#runs.set(request.request, run);
    return run;
  }

  /** @returns false for a request that is over */
  received(request: RequestId, bytes: number, nowMs: number): boolean {
    const run = this.#runs.get(request);
    if (run === undefined) return false;
    run.receivedBytes += bytes;
    this.#heardMs.set(run.request.replica.id, nowMs);
    return true;
  }

  /** A request is answered, or void. @returns false when that was known */
  over(request: RequestId): boolean {
    const run = this.#runs.get(request);
    if (run === undefined) return false;
    this.#runs.delete(request);
    const wastedBytes = run.receivedBytes - run.takenBytes;
    run.request.replica.wastedBytes += wastedBytes;
    this.#wasted(wastedBytes);
    return true;
  }

  /** All requests of a replica are void. */
  forget(replica: Replica): void {
    for (const [request, run] of this.#runs) if (run.request.replica === replica) this.over(request);
  }

  /** For how long one that was asked for something has brought nothing; 0 for one that was not. */
  silentMs(replica: Replica, nowMs: number): number {
    const oldest = this.#runs.values().find((run) => run.request.replica === replica);
    if (oldest === undefined) return 0;
    return nowMs - Math.max(oldest.askedMs, this.#heardMs.get(replica.id) ?? 0);
  }
}
