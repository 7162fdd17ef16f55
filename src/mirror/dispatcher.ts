import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { type Backoff, delayAfterAttempt } from "../net/backoff.ts";
import type { OrderRequest } from "../wire/order.ts";
import { Breaker } from "./breaker.ts";
import type { Job, JobDone, JobProgress, Outcome } from "./job.ts";
import { ITEM_STATE } from "./journal-schema.ts";
import type { Journal, JournaledItem, ListedItem, Settlement } from "./journal.ts";
import { listSource } from "./list-source.ts";
import { NameFilter } from "./name-filter.ts";
import type { OrderRun } from "./order-run.ts";
import type { SourceRun } from "./source-run.ts";
import { type Restriction, WorkQueue } from "./work-queue.ts";

export interface DispatcherEvents {
  run(job: Job): void;
  /** All of a source's items are settled. */
  sourceEnded(orderId: string, run: SourceRun): void;
  /** Files of so many bytes became visible. */
  published(bytes: number): void;
  /** The disk is full; `undefined` when work goes on. */
  parked(reason: DrayError | undefined): void;
  warn(message: string): void;
}

/** One source of one order, from its list to its last file. */
interface Feed {
  id: string;
  orderId: string;
  position: number;
  request: OrderRequest;
  order: OrderRun;
  run: SourceRun;
  endpoint: Endpoint;
  sourceDirectory: string;
  abort: AbortController;
  isListing: boolean;
  /** A new list makes the outcomes of jobs from the old one void. */
  generation: number;
  /** The last item that went into the queue. */
  cursor: number;
  pass: number;
  passTimer: Timer | undefined;
  /** Its source stays away: all that is not settled counts as failed. */
  isGivenUp: boolean;
  isEnded: boolean;
}

/** What is known of a server, for all feeds that use it. */
interface Endpoint {
  key: string;
  breaker: Breaker;
  feeds: Set<Feed>;
  probeTimer: Timer | undefined;
}

interface RunningJob {
  feed: Feed;
  generation: number;
  items: JournaledItem[];
  receivedBytes: number;
  /** What of that is not in the journal. */
  unsavedBytes: number;
}

/** Between the passes over what failed. */
const PASS_BACKOFF: Backoff = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 200, maxDelayMs: 60_000 };
const LIST_BACKOFF: Backoff = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 500, maxDelayMs: 15_000 };
/** How many items are read from the journal at once. */
const REFILL_ITEMS = 512;
/** How much of a large file may have come without the journal knowing what it cost. */
const SAVE_BYTES = 16 * 1024 * 1024;
/** How often a full disk is tried again. */
const UNPARK_INTERVAL_MS = 5_000;
const DIAL_TIMEOUT_MS = 10_000;

/**
 * Keeps the lanes busy: lists sources into the journal, feeds the queue from it, gives batches to
 * lanes, and records what became of them.
 */
export class Dispatcher {
  readonly #journal: Journal;
  readonly #events: DispatcherEvents;
  readonly #agent: string;
  readonly #queue: WorkQueue<JournaledItem>;
  readonly #feeds = new Map<string, Feed>();
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #jobs = new Map<number, RunningJob>();
  /** What the journal could not take yet because the disk is full, in order. */
  readonly #writes: (() => void)[] = [];
  /** Lists that wait until the disk has room. */
  #roomWaiters: (() => void)[] = [];
  /** Whether the followers believe that work has stopped. */
  #isToldParked = false;
  #parkTimer: Timer | undefined;
  #nextJobId = 1;
  #isStopped = false;

  constructor(
    journal: Journal,
    settings: { workers: number; queueSize: number; agent: string },
    events: DispatcherEvents,
  ) {
    this.#journal = journal;
    this.#agent = settings.agent;
    this.#queue = new WorkQueue(settings.workers, settings.queueSize);
    this.#events = events;
  }

  /** Whether no source is being worked on. */
  get isIdle(): boolean {
    return this.#feeds.size === 0;
  }

  /** Starts every source of an order, or goes on where the journal says that it stopped. */
  start(order: OrderRun, request: OrderRequest): void {
    for (const [position, run] of order.sources.entries()) this.#startFeed(order, request, position, run);
  }

  /** Gives an order up: nothing more of it is begun; what lanes have under way ends by itself. */
  cancel(orderId: string, reason: DrayError): void {
    for (const feed of [...this.#feeds.values()]) {
      if (feed.orderId === orderId) this.#drop(feed, reason);
    }
    this.#advance();
  }

  /** Begins nothing more. */
  stop(reason: DrayError): void {
    this.#isStopped = true;
    clearInterval(this.#parkTimer);
    for (const endpoint of this.#endpoints.values()) clearTimeout(endpoint.probeTimer);
    for (const feed of this.#feeds.values()) {
      clearTimeout(feed.passTimer);
      feed.abort.abort(reason);
    }
  }

  progress({ jobId, receivedBytes }: JobProgress): void {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return;
    job.receivedBytes += receivedBytes;
    job.feed.run.bytesUnderWay += receivedBytes;
    job.feed.order.bytesTransferred += receivedBytes;
    job.unsavedBytes += receivedBytes;
    if (job.unsavedBytes < SAVE_BYTES) return;
    const { unsavedBytes } = job;
    job.unsavedBytes = 0;
    this.#write(() => this.#journal.settle(job.feed.orderId, [], unsavedBytes));
  }

  done(done: JobDone): void {
    const job = this.#jobs.get(done.jobId)!;
    const { feed } = job;
    this.#jobs.delete(done.jobId);
    this.#queue.done(done.lane);
    feed.order.bytesTransferred += done.receivedBytes;
    feed.run.bytesUnderWay -= job.receivedBytes;
    this.#settle(job, done);
    if (this.#isStopped) return;
    this.#judge(feed, done);
    this.#refill(feed);
    this.#advance();
    this.#endIfDone(feed);
  }

  #startFeed(order: OrderRun, request: OrderRequest, position: number, run: SourceRun): void {
    const { host, port, delayMs } = run.source;
    const { orderId } = order;
    const feed: Feed = {
      id: `${orderId}/${position}`,
      orderId,
      position,
      request,
      order,
      run,
      endpoint: this.#endpointOf(`${host} ${port}`),
      sourceDirectory: `${host}_${port}`,
      abort: new AbortController(),
      isListing: false,
      generation: 0,
      cursor: 0,
      pass: 0,
      passTimer: undefined,
      isGivenUp: false,
      isEnded: false,
    };
    feed.endpoint.feeds.add(feed);
    this.#feeds.set(feed.id, feed);
    this.#queue.open(feed.id, delayMs > 0);
    this.#queue.restrict(feed.id, this.#restrictionOf(feed));
    const listSize = this.#journal.listSize(orderId, position);
    if (listSize !== undefined && this.#restore(feed, listSize)) {
      run.isListComplete = true;
      run.state = "transferring";
      this.#refill(feed);
      this.#advance();
      queueMicrotask(() => this.#endIfDone(feed));
    } else {
      void this.#list(feed);
    }
  }

  /** Counts again what an earlier daemon did. @returns false when the journal's items are damaged or missing */
  #restore(feed: Feed, listSize: number): boolean {
    const { run } = feed;
    try {
      for (const item of this.#journal.items(feed.orderId, feed.position)) {
        const isDirectory = item.kind === "directory";
        if (item.state === ITEM_STATE.skipped) run.skipped++;
        else if (item.state === ITEM_STATE.refused) run.failed++;
        else run.listed(isDirectory, item.sizeBytes);
        run.listedItems++;
        if (item.state === ITEM_STATE.failed) run.failed++;
        if (item.state === ITEM_STATE.again) run.again++;
        if (item.state === ITEM_STATE.unchanged) run.unchanged++;
        if (item.state !== ITEM_STATE.done && item.state !== ITEM_STATE.unchanged) continue;
        if (isDirectory) run.directories++;
        else run.sizes.add(item.sizeBytes);
      }
      if (run.listedItems !== listSize) throw new DrayError("integrity", "the journal lacks items");
      return true;
    } catch (error) {
      this.#events.warn(`order ${feed.orderId}: ${asDrayError(error).message}; its source is listed anew`);
      return false;
    }
  }

  /** The source's manager: lists it, and lists it again when the connection is lost on the way. */
  async #list(feed: Feed): Promise<void> {
    const { run, orderId, position } = feed;
    const filter = new NameFilter(feed.request);
    feed.isListing = true;
    let wasConnected = false;
    let badSinceMs: number | undefined;
    for (let attempt = 1; !feed.isEnded; attempt++) {
      feed.generation++;
      feed.cursor = 0;
      this.#queue.withdraw(feed.id);
      this.#write(() => this.#journal.clearSource(orderId, position));
      run.reset();
      const sink = {
        connected: () => {
          wasConnected = true;
          run.state = "listing";
          feed.endpoint.breaker.succeeded();
        },
        items: async (items: ListedItem[]) => {
          this.#listed(feed, items);
          await this.#room();
        },
      };
      try {
        const settings = { agent: this.#agent, timeoutMs: DIAL_TIMEOUT_MS };
        await listSource(run.source, filter, settings, sink, feed.abort.signal);
        if (feed.isEnded) return;
        this.#write(() => this.#journal.markListComplete(orderId, position, run.listedItems));
        run.isListComplete = true;
        break;
      } catch (thrown) {
        const error = asDrayError(thrown);
        if (feed.isEnded || this.#isStopped) return;
        badSinceMs ??= performance.now();
        const leftMs = feed.request.patienceMs - (performance.now() - badSinceMs);
        const isWorthIt = wasConnected && error.retryable && leftMs > 0;
        if (!isWorthIt) {
          run.error = error;
          break;
        }
        await Bun.sleep(Math.min(leftMs, delayAfterAttempt(LIST_BACKOFF, attempt, Math.random())!));
      }
    }
    feed.isListing = false;
    run.state = "transferring";
    this.#refill(feed);
    this.#advance();
    this.#endIfDone(feed);
  }

  #listed(feed: Feed, items: readonly ListedItem[]): void {
    if (feed.isEnded) return;
    const { run, order } = feed;
    this.#write(() => {
      if (!feed.isEnded) this.#journal.addItems(feed.orderId, feed.position, items);
    });
    run.listedItems += items.length;
    for (const { state, kind, path, sizeBytes, failure } of items) {
      if (state === ITEM_STATE.skipped) {
        run.skipped++;
        order.tellSkipped(run, path, failure!.message);
      } else if (state === ITEM_STATE.refused) {
        run.failed++;
        order.tellFailure(run, path, failure!.code, failure!.message);
      } else {
        run.listed(kind === "directory", sizeBytes);
      }
    }
    this.#refill(feed);
    this.#advance();
  }

  /** Moves waiting items from the journal into the queue. */
  #refill(feed: Feed): void {
    while (!feed.isEnded && feed.passTimer === undefined && this.#queue.hasRoom(feed.id)) {
      const items = this.#journal.toDo(feed.orderId, feed.position, feed.cursor, REFILL_ITEMS);
      const last = items.at(-1);
      if (last === undefined) return;
      feed.cursor = last.id;
      this.#queue.offer(feed.id, items);
    }
  }

  #advance(): void {
    if (this.#isStopped || this.#parkTimer !== undefined) return;
    for (const { lane, feedId, items } of this.#queue.assign()) {
      const feed = this.#feeds.get(feedId)!;
      const { host, port, delayMs } = feed.run.source;
      const { sourceDirectory, generation } = feed;
      const jobId = this.#nextJobId++;
      this.#jobs.set(jobId, { feed, generation, items, receivedBytes: 0, unsavedBytes: 0 });
      this.#events.run({ jobId, lane, host, port, delayMs, sourceDirectory, items });
    }
  }

  #settle(job: RunningJob, done: JobDone): void {
    const { feed } = job;
    const settlements: Settlement[] = [];
    const returned: JournaledItem[] = [];
    let publishedFiles = 0;
    let publishedBytes = 0;
    let full: DrayError | undefined;
    for (const [index, item] of job.items.entries()) {
      const outcome = done.outcomes[index]!;
      if (outcome.kind === "fetched") {
        publishedFiles++;
        publishedBytes += outcome.sizeBytes;
      }
      if (job.generation !== feed.generation || feed.isEnded) continue;
      // What the shutdown broke off is still to be done.
      if (this.#isStopped && outcome.kind === "failed") continue;
      // Given up meanwhile, and failed in the journal, unless it arrived all the same.
      if (feed.isGivenUp && ["failed", "full", "returned"].includes(outcome.kind)) continue;
      if (feed.isGivenUp) feed.run.failed--;
      if (outcome.kind === "full") full = new DrayError("no-space", outcome.message);
      if (outcome.kind === "returned" || outcome.kind === "full") {
        returned.push(item);
      } else {
        settlements.push(this.#settlement(feed, item, outcome));
      }
    }
    if (!feed.isEnded) this.#queue.offer(feed.id, returned);
    const receivedBytes = job.unsavedBytes + done.receivedBytes;
    if (publishedFiles > 0) this.#events.published(publishedBytes);
    this.#write(() => this.#journal.settle(feed.orderId, settlements, receivedBytes));
    if (full !== undefined) this.#park(full);
    else if (publishedFiles > 0) this.#tellResumed();
  }

  /** What an outcome means for an item: counts it, tells it, and says what the journal is to keep. */
  #settlement(
    feed: Feed,
    item: JournaledItem,
    outcome: Exclude<Outcome, { kind: "returned" | "full" }>,
  ): Settlement {
    const { run, order } = feed;
    const { id } = item;
    const attempts = item.attempts + 1;
    switch (outcome.kind) {
      case "directory":
        run.directories++;
        return { id, state: ITEM_STATE.done, attempts, failure: undefined };
      case "unchanged":
        run.unchanged++;
        run.sizes.add(outcome.sizeBytes);
        return { id, state: ITEM_STATE.unchanged, attempts, failure: undefined };
      case "fetched":
        run.sizes.add(outcome.sizeBytes);
        return { id, state: ITEM_STATE.done, attempts, failure: undefined };
      case "failed": {
        const { code, message, mayPass } = outcome;
        if (mayPass && attempts < feed.request.attempts) {
          run.again++;
          return { id, state: ITEM_STATE.again, attempts, failure: { code, message } };
        }
        run.failed++;
        order.tellFailure(run, item.path, code, message);
        return { id, state: ITEM_STATE.failed, attempts, failure: { code, message } };
      }
    }
  }

  /** Writes into the journal, or as soon as there is room; always in the order of the calls. */
  #write(work: () => void): void {
    this.#writes.push(work);
    const full = this.#flush();
    if (full !== undefined) this.#park(full);
  }

  /** @returns the error when there is no room */
  #flush(): DrayError | undefined {
    for (let work = this.#writes[0]; work !== undefined; work = this.#writes[0]) {
      try {
        work();
      } catch (error) {
        const known = asDrayError(error);
        if (known.code === "no-space") return known;
        throw error;
      }
      this.#writes.shift();
    }
    return undefined;
  }

  /** Begins nothing until the disk has room again. */
  #park(reason: DrayError): void {
    if (this.#parkTimer !== undefined || this.#isStopped) return;
    this.#events.parked(reason);
    this.#isToldParked = true;
    this.#parkTimer = setInterval(() => this.#tryToUnpark(), UNPARK_INTERVAL_MS);
  }

  /** The lanes find out whether there is room for files as well as for the journal; if not, they park us again. */
  #tryToUnpark(): void {
    if (this.#flush() !== undefined) return;
    clearInterval(this.#parkTimer);
    this.#parkTimer = undefined;
    for (const resume of this.#roomWaiters.splice(0)) resume();
    for (const feed of this.#feeds.values()) this.#refill(feed);
    this.#advance();
    for (const feed of [...this.#feeds.values()]) this.#endIfDone(feed);
  }

  #tellResumed(): void {
    if (!this.#isToldParked) return;
    this.#isToldParked = false;
    this.#events.parked(undefined);
  }

  async #room(): Promise<void> {
    if (this.#parkTimer === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#roomWaiters.push(resolve);
    await promise;
  }

  /** What a job says about the health of its source. */
  #judge(feed: Feed, done: JobDone): void {
    const { breaker } = feed.endpoint;
    const { connection } = done;
    const hasFetched = done.outcomes.some((outcome) => outcome.kind === "fetched");
    if (connection.state === "kept" || hasFetched) {
      breaker.succeeded();
      this.#restrictAll(feed.endpoint);
      return;
    }
    const nowMs = performance.now();
    const delayMs =
      connection.state === "lost"
        ? breaker.lostConnection(nowMs, Math.random())
        : breaker.failed(nowMs, Math.random());
    if (delayMs === undefined) return;
    this.#restrictAll(feed.endpoint);
    const error = new DrayError(connection.code, connection.message);
    for (const other of [...feed.endpoint.feeds]) {
      if (this.#isBeyondPatience(other) || !error.retryable) this.#giveUp(other, error);
    }
    clearTimeout(feed.endpoint.probeTimer);
    feed.endpoint.probeTimer = setTimeout(() => {
      breaker.probe();
      this.#restrictAll(feed.endpoint);
      this.#advance();
    }, delayMs);
  }

  #isBeyondPatience(feed: Feed): boolean {
    return feed.endpoint.breaker.badForMs(performance.now()) >= feed.request.patienceMs;
  }

  #restrictAll(endpoint: Endpoint): void {
    for (const feed of endpoint.feeds) this.#queue.restrict(feed.id, this.#restrictionOf(feed));
  }

  #restrictionOf(feed: Feed): Restriction {
    const { state } = feed.endpoint.breaker;
    return state === "closed" ? "none" : state === "open" ? "pause" : "probe";
  }

  /** The source stays away: what it still owes has failed. */
  #giveUp(feed: Feed, error: DrayError): void {
    const { run } = feed;
    if (feed.isGivenUp) return;
    feed.isGivenUp = true;
    run.error ??= error;
    feed.abort.abort(error);
    this.#queue.withdraw(feed.id);
    this.#write(() => {
      run.failed += this.#journal.failRest(feed.orderId, feed.position, error.code, error.message);
    });
    run.again = 0;
    clearTimeout(feed.passTimer);
    feed.passTimer = undefined;
  }

  /** Starts the next pass over what failed, or ends the source when nothing is left. */
  #endIfDone(feed: Feed): void {
    if (feed.isEnded || feed.isListing || feed.passTimer !== undefined || !this.#queue.isIdle(feed.id))
      return;
    if (this.#parkTimer !== undefined || this.#isStopped) return;
    if (feed.run.again > 0) {
      const delayMs = delayAfterAttempt(PASS_BACKOFF, ++feed.pass, Math.random())!;
      feed.passTimer = setTimeout(() => {
        feed.passTimer = undefined;
        this.#write(() => this.#journal.startPass(feed.orderId, feed.position));
        feed.run.again = 0;
        feed.cursor = 0;
        this.#refill(feed);
        this.#advance();
        this.#endIfDone(feed);
      }, delayMs);
      return;
    }
    if (!this.#journal.isWhole(feed.orderId, feed.position, feed.run.listedItems)) {
      this.#events.warn(`order ${feed.orderId}: the journal lacks items of a source, which is listed anew`);
      return void this.#list(feed);
    }
    this.#forget(feed);
    this.#events.sourceEnded(feed.orderId, feed.run);
  }

  #drop(feed: Feed, reason: DrayError): void {
    feed.abort.abort(reason);
    this.#queue.withdraw(feed.id);
    this.#forget(feed);
  }

  #forget(feed: Feed): void {
    feed.isEnded = true;
    clearTimeout(feed.passTimer);
    this.#feeds.delete(feed.id);
    this.#queue.remove(feed.id);
    const { endpoint } = feed;
    endpoint.feeds.delete(feed);
    if (endpoint.feeds.size > 0) return;
    clearTimeout(endpoint.probeTimer);
    this.#endpoints.delete(endpoint.key);
  }

  #endpointOf(key: string): Endpoint {
    let endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) {
      endpoint = { key, breaker: new Breaker(), feeds: new Set(), probeTimer: undefined };
      this.#endpoints.set(key, endpoint);
    }
    return endpoint;
  }
}
