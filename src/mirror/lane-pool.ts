import { DrayError } from "../errors/dray-error.ts";
import type { ClientSecurity } from "../transfer/security.ts";
import type { FromThread, Job, JobAsk, JobDone, JobProgress, LaneSettings, ToThread } from "./job.ts";
import type { Listed } from "./standing.ts";

export interface LanePoolEvents {
  done(done: JobDone): void;
  progress(progress: JobProgress): void;
  /** A job wants bandwidth. */
  ask(ask: JobAsk): void;
  /** A thread ended by a fault of ours: nothing that it had can be finished. */
  broken(error: DrayError): void;
}

const STOP_LIMIT_MS = 5_000;

/** The threads that run the lanes. One fixed set for the daemon's life: recycled workers leak. */
export class LanePool {
  readonly #threads: Worker[] = [];
  readonly #events: LanePoolEvents;
  /** Who waits for the answer to a look. */
  readonly #looks = new Map<number, (stands: Uint8Array | undefined) => void>();
  #nextLookId = 1;

  private constructor(events: LanePoolEvents) {
    this.#events = events;
  }

  /** @throws DrayError "internal" when a thread does not come up */
  static async start(
    threadCount: number,
    threadUrl: string,
    settings: LaneSettings,
    events: LanePoolEvents,
  ): Promise<LanePool> {
    const pool = new LanePool(events);
    await Promise.all(Array.from({ length: threadCount }, () => pool.#startThread(threadUrl, settings)));
    return pool;
  }

  run(job: Job): void {
    this.tell(job.lane, { type: "job", job });
  }

  /** Posts to the thread that a lane belongs to. */
  tell(lane: number, message: ToThread): void {
    post(this.#threads[lane % this.#threads.length]!, message);
  }

  /**
   * Asks a thread which of the listed files and directories stand as they are listed: see `standing`. It is one
   * thread for each source: a list comes no faster than one can look, and the others are for other work.
   */
  look(listed: Listed): Promise<Uint8Array | undefined> {
    const lookId = this.#nextLookId++;
    const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
    this.#looks.set(lookId, resolve);
    const thread = Bun.hash.crc32(listed.sourceDirectory) % this.#threads.length;
    post(this.#threads[thread]!, { type: "look", lookId, listed });
    return promise;
  }

  renewSourceSecurity(security: ClientSecurity): void {
    for (const thread of this.#threads) post(thread, { type: "security", security });
  }

  /**
   * Gives up what is running, waits a while until its temp files are gone, and ends the threads.
   * @returns whether all threads were done in time
   */
  async stop(): Promise<boolean> {
    const allStopped = Promise.all(this.#threads.map((thread) => stopped(thread))).then(() => true);
    const isTidy = await Promise.race([allStopped, Bun.sleep(STOP_LIMIT_MS).then(() => false)]);
    for (const thread of this.#threads) thread.terminate();
    return isTidy;
  }

  #looked({ lookId, stands }: Extract<FromThread, { type: "looked" }>): void {
    this.#looks.get(lookId)?.(stands);
    this.#looks.delete(lookId);
  }

  #startThread(threadUrl: string, settings: LaneSettings): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const thread = new Worker(threadUrl);
    this.#threads.push(thread);
    thread.onerror = (event) => {
      const error = new DrayError("internal", `a worker thread failed: ${event.message}`);
      reject(error);
      this.#events.broken(error);
    };
    thread.onmessage = (event: MessageEvent<FromThread>) => {
      if (event.data.type === "ready") resolve();
      else if (event.data.type === "done") this.#events.done(event.data);
      else if (event.data.type === "progress") this.#events.progress(event.data);
      else if (event.data.type === "ask") this.#events.ask(event.data);
      else if (event.data.type === "looked") this.#looked(event.data);
    };
    post(thread, { type: "start", settings });
    return promise;
  }
}

function stopped(thread: Worker): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  thread.addEventListener("message", (event: MessageEvent<FromThread>) => {
    if (event.data.type === "stopped") resolve();
  });
  post(thread, { type: "stop" });
  return promise;
}

function post(thread: Worker, message: ToThread): void {
  thread.postMessage(message);
}
