import { DrayError } from "../errors/dray-error.ts";
import { Breaker } from "./breaker.ts";
import type { Feed } from "./feed.ts";
import type { JobDone } from "./job.ts";
import type { Restriction } from "./work-queue.ts";

export interface EndpointEvents {
  /** Its feeds are restricted in another way from here on. */
  restricted(endpoint: Endpoint): void;
  /** It is not left alone any more: lanes may have work again. */
  awake(): void;
  /** It stayed away for longer than this feed's order waits. */
  giveUp(feed: Feed, error: DrayError): void;
}

/** After a server said that it has no room, unless it asked for more time. */
const FULL_RETRY_MS = 1_000;

/** What is known of a server, for all feeds that use it. */
export class Endpoint {
  readonly key: string;
  readonly feeds = new Set<Feed>();
  readonly #events: EndpointEvents;
  readonly #breaker = new Breaker();
  #probeTimer: Timer | undefined;
  /** While it runs, the server has no room for more connections than the lanes have. */
  #fullTimer: Timer | undefined;

  constructor(key: string, events: EndpointEvents) {
    this.key = key;
    this.#events = events;
  }

  /** Which lanes may work for its feeds. */
  get restriction(): Restriction {
    if (this.#breaker.state === "open") return "pause";
    if (this.#breaker.state === "probing") return "probe";
    return this.#fullTimer === undefined ? "none" : "connected";
  }

  /** It does what it is asked for. */
  succeeded(): void {
    clearTimeout(this.#probeTimer);
    this.#breaker.succeeded();
    this.#events.restricted(this);
  }

  /**
   * What a job says about its health.
   * @param connectedLanes how many lanes are connected to it
   */
  judge({ connection, outcomes }: JobDone, connectedLanes: number): void {
    if (connection.state === "unused") return;
    const hasFetched = outcomes.some((outcome) => outcome.kind === "fetched");
    if (connection.state === "kept" || hasFetched) return this.succeeded();
    if (connection.code === "busy" && connectedLanes > 0) return this.#full(connection.retryAfterMs);
    const nowMs = performance.now();
    const delayMs =
      connection.state === "lost"
        ? this.#breaker.lostConnection(nowMs, Math.random())
        : this.#breaker.failed(nowMs, Math.random());
    if (delayMs === undefined) return;
    this.#events.restricted(this);
    const error = new DrayError(connection.code, connection.message);
    const badForMs = this.#breaker.badForMs(nowMs);
    for (const feed of [...this.feeds]) {
      if (badForMs >= feed.request.patienceMs || !error.retryable) this.#events.giveUp(feed, error);
    }
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(
      () => {
        this.#breaker.probe();
        this.#events.restricted(this);
        this.#events.awake();
      },
      Math.max(delayMs, connection.retryAfterMs),
    );
  }

  /** Nothing of it is wanted any more. */
  stop(): void {
    clearTimeout(this.#probeTimer);
    clearTimeout(this.#fullTimer);
  }

  /** It serves us, but not over more connections than we have: for a while, no other lane tries. */
  #full(retryAfterMs: number): void {
    if (this.#fullTimer !== undefined) return;
    this.#fullTimer = setTimeout(
      () => {
        this.#fullTimer = undefined;
        this.#events.restricted(this);
        this.#events.awake();
      },
      Math.max(FULL_RETRY_MS, retryAfterMs),
    );
    this.#events.restricted(this);
  }
}
