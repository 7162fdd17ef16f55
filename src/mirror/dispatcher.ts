import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { type Backoff, delayAfterAttempt } from "../net/backoff.ts";
import type { ClientSecurity } from "../transfer/security.ts";
import { parsePath } from "../wire/names.ts";
import type { OrderRequest } from "../wire/order.ts";
import { Endpoint, type EndpointEvents } from "./endpoint.ts";
import { isHeldUp, mayPrune, pruneFeed } from "./feed-pruning.ts";
import { type Feed, newFeed } from "./feed.ts";
import type { FileRecord } from "./file-records.ts";
import { FullDisk } from "./full-disk.ts";
import type { Job, JobAsk, JobDone, JobProgress, ToThread } from "./job.ts";
import { ITEM_STATE } from "./journal-schema.ts";
import type { FileNews, Journal, JournaledItem, ListedItem, Settlement } from "./journal.ts";
import { type ListSink, listSource } from "./list-source.ts";
import { NameFilter } from "./name-filter.ts";
import type { OrderRun } from "./order-run.ts";
import { recount, settle } from "./settlement.ts";
import { type LookAtListed, Sift } from "./sift.ts";
import type { SourceRun } from "./source-run.ts";
import { Throttle } from "./throttle.ts";
import { WorkQueue } from "./work-queue.ts";

export interface DispatcherSettings {
  workers: number;
  queueSize: number;
  agent: string;
  mirrorDirectory: string;
  sourceSecurity?: ClientSecurity | undefined;
  /** Of all orders together; undefined for no limit. */
  bytesPerSecond?: number | undefined;
}

export interface DispatcherEvents {
  run(job: Job): void;
  /** Undefined when there is nothing of the source yet. */
  look: LookAtListed;
  /** Something about jobs of a lane, for its thread. */
  tell(lane: number, message: ToThread): void;
  /** All of a source's items are settled. */
  sourceEnded(orderId: string, run: SourceRun): void;
  /** Files of so many bytes became visible. */
  published(bytes: number): void;
  /** The disk is full; `undefined` when work goes on. */
  parked(reason: DrayError | undefined): void;
  warn(message: string): void;
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
const DIAL_TIMEOUT_MS = 10_000;

/**
 * Keeps the lanes busy: lists sources into the journal, feeds the queue from it, gives batches to
 * lanes, and records what became of them.
 */
export class Dispatcher {
  readonly #journal: Journal;
  readonly #events: DispatcherEvents;
  readonly #agent: string;
  readonly #mirrorDirectory: string;
  readonly #queue: WorkQueue<JournaledItem>;
  readonly #throttle: Throttle;
  readonly #feeds = new Map<string, Feed>();
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #jobs = new Map<number, RunningJob>();
  readonly #disk: FullDisk;
  readonly #endpointEvents: EndpointEvents = {
    restricted: ({ feeds, restriction }) => {
      for (const feed of feeds) this.#queue.restrict(feed.id, restriction);
    },
    awake: () => this.#advance(),
    giveUp: (feed, error) => this.#giveUp(feed, error),
  };
  #nextJobId = 1;
  #isStopped = false;
  /** For connections to sources from here on. */
  sourceSecurity: ClientSecurity | undefined;

  constructor(journal: Journal, settings: DispatcherSettings, events: DispatcherEvents) {
    this.#journal = journal;
    this.#mirrorDirectory = settings.mirrorDirectory;
    this.#agent = settings.agent;
    this.sourceSecurity = settings.sourceSecurity;
    this.#queue = new WorkQueue(settings.workers, settings.queueSize);
    this.#throttle = new Throttle(settings.bytesPerSecond, (lane, message) => events.tell(lane, message));
    this.#events = events;
    this.#disk = new FullDisk(settings.mirrorDirectory, {
      parked: (reason) => events.parked(reason),
      // The lanes find out whether there is room for files as well; if not, they park it again.
      unparked: () => {
        for (const feed of this.#feeds.values()) this.#refill(feed);
        this.#advance();
        for (const feed of [...this.#feeds.values()]) this.#endIfDone(feed);
      },
    });
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
    this.#disk.forgetNeed();
    this.#advance();
  }

  /** Begins nothing more. */
  stop(reason: DrayError): void {
    this.#isStopped = true;
    this.#throttle.stop();
    this.#disk.stop();
    for (const endpoint of this.#endpoints.values()) endpoint.stop();
    for (const feed of this.#feeds.values()) {
      clearTimeout(feed.passTimer);
      feed.abort.abort(reason);
    }
  }

  /** A job waits for its turn with a limited bandwidth. */
  ask(ask: JobAsk): void {
    if (!this.#isStopped) this.#throttle.ask(ask);
  }

  /** Changes the limit of all orders together, from now on; undefined lifts it. */
  limitAll(bytesPerSecond: number | undefined): void {
    this.#throttle.limitAll(bytesPerSecond);
  }

  /** Changes the limit of each source of a running order. */
  limitOrder(orderId: string, bytesPerSecond: number | undefined): void {
    for (const feed of this.#feeds.values()) {
      if (feed.orderId === orderId) this.#throttle.limit(feed.id, bytesPerSecond);
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
    this.#disk.write(() => this.#journal.settle(job.feed.orderId, [], unsavedBytes));
  }

  done(done: JobDone): void {
    const job = this.#jobs.get(done.jobId)!;
    const { feed } = job;
    this.#jobs.delete(done.jobId);
    this.#throttle.end(done.jobId);
    const { state } = done.connection;
    this.#queue.done(done.lane, state === "unused" ? undefined : state === "kept");
    feed.order.bytesTransferred += done.receivedBytes;
    feed.run.bytesUnderWay -= job.receivedBytes;
    this.#settle(job, done);
    if (this.#isStopped) return;
    this.#hangUpUnused(feed.endpoint);
    feed.endpoint.judge(done, this.#queue.connectedLanes(feed.endpoint.key));
    this.#refill(feed);
    this.#advance();
    this.#endIfDone(feed);
  }

  #startFeed(order: OrderRun, request: OrderRequest, position: number, run: SourceRun): void {
    const { host, port, delayMs } = run.source;
    const { orderId } = order;
    const feed = newFeed(order, request, position, this.#endpointOf(`${host} ${port}`));
    for (const other of this.#feeds.values()) {
      if (other.sourceDirectory === feed.sourceDirectory) other.hadCompany = feed.hadCompany = true;
    }
    feed.endpoint.feeds.add(feed);
    this.#feeds.set(feed.id, feed);
    this.#queue.open(feed.id, feed.endpoint.key, delayMs > 0);
    this.#throttle.open(feed.id, request.bytesPerSecond);
    this.#queue.restrict(feed.id, feed.endpoint.restriction);
    const listSize = this.#journal.listSize(orderId, position);
    if (listSize !== undefined && this.#restore(feed, listSize)) {
      // Who else has written here since then, an earlier daemon knew.
      feed.listedAtMs = order.startedMs;
      feed.hadCompany = true;
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
      for (const item of this.#journal.items(feed.orderId, feed.position)) recount(feed, item);
      run.restoreStanding(this.#journal.standing(feed.orderId, feed.position));
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
    const copiesLinks = feed.request.links === "copy";
    feed.isListing = true;
    let wasConnected = false;
    let badSinceMs: number | undefined;
    for (let attempt = 1; !feed.isEnded; attempt++) {
      feed.generation++;
      feed.isNew = false;
      feed.listedAtMs = Date.now();
      feed.cursor = 0;
      this.#queue.withdraw(feed.id);
      this.#disk.write(() => this.#journal.clearSource(orderId, position));
      run.reset();
      const sift = new Sift(feed, this.#events.look);
      const sink = {
        connected: () => {
          wasConnected = true;
          run.state = "listing";
          feed.endpoint.succeeded();
        },
        items: (items: ListedItem[]) =>
          sift.take(items, async (left) => {
            this.#listed(feed, left);
            await this.#disk.room();
          }),
      };
      try {
        const settings = {
          agent: this.#agent,
          timeoutMs: DIAL_TIMEOUT_MS,
          security: this.sourceSecurity,
        };
        try {
          if (feed.mode.verify) await this.#listRecords(feed, filter, sink);
          else await listSource(run.source, filter, copiesLinks, settings, sink, feed.abort.signal);
        } finally {
          await sift.end();
        }
        // What came since the stop may not be in the journal: the next daemon lists it anew.
        if (feed.isEnded || this.#isStopped) return;
        this.#disk.write(() =>
          this.#journal.markListComplete(orderId, position, run.listedItems, run.standing),
        );
        run.isListComplete = true;
        break;
      } catch (thrown) {
        const error = asDrayError(thrown);
        if (feed.isEnded) return;
        const isFirst = badSinceMs === undefined;
        badSinceMs ??= performance.now();
        const leftMs = feed.request.patienceMs - (performance.now() - badSinceMs);
        // A server that has no room is there.
        const isWorthIt = (wasConnected || error.code === "busy") && error.retryable && leftMs > 0;
        if (!isWorthIt) {
          run.error = error;
          break;
        }
        const { host, port } = run.source;
        if (isFirst)
          this.#events.warn(
            `order ${orderId}: ${host}:${port} is asked for its list again: ${error.message}`,
          );
        const delayMs = delayAfterAttempt(LIST_BACKOFF, attempt, Math.random())!;
        await Bun.sleep(Math.min(leftMs, Math.max(delayMs, error.retryAfterMs)));
      }
    }
    feed.isListing = false;
    run.state = "transferring";
    this.#refill(feed);
    this.#advance();
    this.#endIfDone(feed);
  }

  /** For a verification, the list is what the journal knows to have been fetched. */
  async #listRecords(feed: Feed, filter: NameFilter, sink: ListSink): Promise<void> {
    const within = parsePath(feed.run.source.path).join("/") || ".";
    feed.run.state = "listing";
    let after = "";
    for (;;) {
      const page = this.#journal.files.page(feed.sourceDirectory, within, after, REFILL_ITEMS);
      const last = page.at(-1);
      if (last === undefined) break;
      after = last.path;
      await sink.items(page.filter(({ path }) => filter.takes(path)).map(recordedItem));
      await new Promise((resolve) => setImmediate(resolve));
      if (feed.isEnded) return;
    }
    if (after === "") throw new DrayError("not-found", "nothing was mirrored from there");
  }

  #listed(feed: Feed, items: readonly ListedItem[]): void {
    if (feed.isEnded || items.length === 0) return;
    const { run, order } = feed;
    this.#disk.write(() => {
      if (feed.isEnded) return;
      this.#journal.addItems(feed.orderId, feed.position, items, feed.request.delete !== undefined);
    });
    run.listedItems += items.length;
    for (const { state, kind, path, sizeBytes, failure } of items) {
      if (state === ITEM_STATE.skipped) {
        run.skipped++;
        order.tellSkipped(run, path, failure!.message);
      } else if (state === ITEM_STATE.refused) {
        run.failed++;
        order.tellFailure(run, path, failure!.code, failure!.message);
      } else if (state !== ITEM_STATE.waiting && kind !== "symlink") {
        run.stands(kind, sizeBytes, true);
      } else {
        run.listed(kind, sizeBytes);
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
    if (this.#isStopped || this.#disk.isParked) return;
    for (const { lane, feedId, items } of this.#queue.assign()) {
      const feed = this.#feeds.get(feedId)!;
      const { host, port, delayMs } = feed.run.source;
      const { sourceDirectory, generation, mode } = feed;
      const isNew = feed.isNew && !feed.hadCompany && feed.pass === 0;
      const jobId = this.#nextJobId++;
      this.#jobs.set(jobId, { feed, generation, items, receivedBytes: 0, unsavedBytes: 0 });
      const isMetered = this.#throttle.begin(jobId, lane, feedId);
      const records = mode.verify
        ? { records: items.map(({ path }) => this.#journal.files.get(sourceDirectory, path)) }
        : {};
      this.#events.run({
        jobId,
        lane,
        host,
        port,
        delayMs,
        sourceDirectory,
        isNew,
        isMetered,
        items,
        mode,
        ...records,
      });
    }
  }

  #settle(job: RunningJob, done: JobDone): void {
    const { feed } = job;
    const settlements: Settlement[] = [];
    const news: FileNews[] = [];
    const returned: JournaledItem[] = [];
    let publishedFiles = 0;
    let publishedBytes = 0;
    let full: DrayError | undefined;
    let neededBytes = 0;
    for (const [index, item] of job.items.entries()) {
      const outcome = done.outcomes[index]!;
      if (outcome.kind === "fetched") {
        publishedFiles++;
        publishedBytes += outcome.sizeBytes;
      }
      if (outcome.kind === "fetched" || (outcome.kind === "unchanged" && outcome.version !== undefined))
        news.push({ path: item.path, version: outcome.version });
      if (job.generation !== feed.generation || feed.isEnded) continue;
      // What the shutdown broke off is still to be done.
      if (this.#isStopped && outcome.kind === "failed") continue;
      // Given up meanwhile, and failed in the journal, unless it arrived all the same.
      if (feed.isGivenUp && ["failed", "full", "returned"].includes(outcome.kind)) continue;
      if (feed.isGivenUp) feed.run.failed--;
      if (outcome.kind === "full") {
        full = new DrayError("no-space", outcome.message);
        neededBytes = Math.max(neededBytes, outcome.writtenBytes);
      }
      if (outcome.kind === "returned" || outcome.kind === "full") {
        returned.push(item);
      } else {
        settlements.push(settle(feed, item, outcome));
      }
    }
    if (!feed.isEnded) this.#queue.offer(feed.id, returned);
    const receivedBytes = job.unsavedBytes + done.receivedBytes;
    if (publishedFiles > 0) this.#events.published(publishedBytes);
    this.#disk.write(() =>
      this.#journal.settle(feed.orderId, settlements, receivedBytes, feed.sourceDirectory, news),
    );
    if (full !== undefined) this.#disk.park(full, neededBytes);
    else if (publishedFiles > 0) this.#disk.arrived();
  }

  /** The source stays away: what it still owes has failed. */
  #giveUp(feed: Feed, error: DrayError): void {
    const { run } = feed;
    if (feed.isGivenUp) return;
    feed.isGivenUp = true;
    run.error ??= error;
    feed.abort.abort(error);
    this.#queue.withdraw(feed.id);
    this.#disk.write(() => {
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
    if (this.#disk.isParked || this.#isStopped) return;
    if (feed.pruning === "due" && isHeldUp(feed)) return void this.#prune(feed);
    if (feed.pruning === "running") return;
    if (feed.run.again > 0) {
      const delayMs = delayAfterAttempt(PASS_BACKOFF, ++feed.pass, Math.random())!;
      feed.passTimer = setTimeout(() => {
        feed.passTimer = undefined;
        this.#disk.write(() => this.#journal.startPass(feed.orderId, feed.position));
        feed.run.again = feed.run.obstructed = 0;
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
    if (feed.pruning === "due" && !mayPrune(feed)) feed.pruning = "done";
    if (feed.pruning === "due") void this.#prune(feed);
    if (feed.pruning !== "done") return;
    this.#forget(feed);
    this.#events.sourceEnded(feed.orderId, feed.run);
  }

  async #prune(feed: Feed): Promise<void> {
    feed.pruning = "running";
    const isKnown = await pruneFeed(feed, {
      journal: this.#journal,
      disk: this.#disk,
      mirrorDirectory: this.#mirrorDirectory,
      isStopped: () => this.#isStopped,
    });
    if (feed.isEnded) return;
    feed.pruning = isKnown ? "done" : "due";
    if (isKnown) return this.#endIfDone(feed);
    this.#events.warn(`order ${feed.orderId}: the journal is damaged; its source is listed anew`);
    await this.#list(feed);
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
    this.#throttle.close(feed.id);
    const { endpoint } = feed;
    endpoint.feeds.delete(feed);
    if (endpoint.feeds.size > 0) return;
    endpoint.stop();
    this.#endpoints.delete(endpoint.key);
    this.#hangUpUnused(endpoint);
  }

  /** When no order needs a server any more: what idle lanes hold there may be the last places that it has. */
  #hangUpUnused({ key }: Endpoint): void {
    if (this.#endpoints.has(key)) return;
    for (const lane of this.#queue.release(key)) this.#events.tell(lane, { type: "hang-up", lane });
  }

  #endpointOf(key: string): Endpoint {
    let endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) {
      endpoint = new Endpoint(key, this.#endpointEvents);
      this.#endpoints.set(key, endpoint);
    }
    return endpoint;
  }
}

function recordedItem({ path, sizeBytes, mtimeUs, mode }: FileRecord): ListedItem {
  const waiting = { state: ITEM_STATE.waiting, failure: undefined };
  return { kind: "file", path, sizeBytes, mtimeUs, mode, target: "", ...waiting };
}
