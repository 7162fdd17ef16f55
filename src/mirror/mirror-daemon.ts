import * as fs from "node:fs";
import * as path from "node:path";
import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { sweepTempFiles } from "../disk/temp-sweep.ts";
import type { Responder } from "../transfer/responder.ts";
import type { Services } from "../transfer/session.ts";
import { Server, type ServerLog, type ServerSettings } from "../transfer/server.ts";
import { CAPABILITY, type Message } from "../wire/messages.ts";
import { quoteName } from "../wire/names.ts";
import { type OrderEvent, type OrderRequest, orderRequestSchema } from "../wire/order.ts";
import type { Durability, Job, JobDone, JobItem, JobProgress, LaneSettings } from "./job.ts";
import { LanePool } from "./lane-pool.ts";
import { type ListSink, listSource } from "./list-source.ts";
import { OrderResponder } from "./order-responder.ts";
import { OrderRun } from "./order-run.ts";
import type { SourceRun } from "./source-run.ts";
import { STATE_DIRECTORY, StateDirectory } from "./state-directory.ts";
import { BatchSyncer } from "./syncer.ts";
import { WorkQueue } from "./work-queue.ts";

export interface MirrorSettings extends ServerSettings {
  mirrorDirectory: string;
  workers: number;
  threads: number;
  /** The entry of a pool thread. */
  threadUrl: string;
  queueSize: number;
  durability: Durability;
  verifyWritten: boolean;
  digest: LaneSettings["digest"];
  /** Program and version. */
  agent: string;
}

export interface MirrorLog extends ServerLog {
  info(message: string): void;
  error(message: string): void;
}

interface RunningOrder {
  run: OrderRun;
  ticker: Timer;
  observer: OrderResponder | undefined;
}

/** One source of one order, between its manager and the workers. */
interface Feed {
  id: string;
  order: RunningOrder;
  run: SourceRun;
  sourceDirectory: string;
  /** Ends the listing when the source turns out to be unreachable or the daemon stops. */
  abort: AbortController;
  /** Resolves the manager's wait for room. */
  roomWaiter: (() => void) | undefined;
}

interface RunningJob {
  feed: Feed;
  items: JobItem[];
  /** What it has received so far. */
  receivedBytes: number;
}

/** Orders at once: each costs memory for its sources and its part of the queue. */
const MAX_RUNNING_ORDERS = 256;
const PROGRESS_INTERVAL_MS = 200;
const DIAL_TIMEOUT_MS = 10_000;

/** The mirror server of seed 000: takes orders, lists their sources, and has its workers fetch the files. */
export class MirrorDaemon {
  readonly #settings: MirrorSettings;
  readonly #log: MirrorLog;
  readonly #state: StateDirectory;
  readonly #syncer: BatchSyncer | undefined;
  readonly #queue: WorkQueue<JobItem>;
  readonly #feeds = new Map<string, Feed>();
  readonly #orders = new Set<RunningOrder>();
  readonly #jobs = new Map<number, RunningJob>();
  readonly #isStrict: boolean;
  #pool: LanePool | undefined;
  #server: Server | undefined;
  #nextJobId = 1;
  #nextFeedId = 1;
  #isClosing = false;
  #idle: (() => void) | undefined;

  /**
   * Takes the directory, starts the threads and listens.
   * @param broken told when a worker thread failed: the daemon cannot go on
   * @throws DrayError
   */
  static async start(
    settings: MirrorSettings,
    log: MirrorLog,
    broken: (error: DrayError) => void,
  ): Promise<MirrorDaemon> {
    makeDirectory(settings.mirrorDirectory);
    const state = new StateDirectory(settings.mirrorDirectory, Date.now());
    const canBatch = await BatchSyncer.isAvailable(settings.mirrorDirectory);
    if (settings.durability === "batch" && !canBatch) {
      log.warn("this system has no `sync -f`: every file is synced by itself, as with --durability strict");
    }
    const daemon = new MirrorDaemon(settings, log, state, canBatch);
    try {
      if (state.wasKilled) daemon.#sweepTempFiles();
      await daemon.#open(broken);
    } catch (error) {
      await daemon.#pool?.stop();
      state.close(!state.wasKilled);
      throw error;
    }
    return daemon;
  }

  private constructor(settings: MirrorSettings, log: MirrorLog, state: StateDirectory, canBatch: boolean) {
    this.#settings = settings;
    this.#log = log;
    this.#state = state;
    this.#queue = new WorkQueue(settings.workers, settings.queueSize);
    this.#isStrict = settings.durability === "strict" || (settings.durability === "batch" && !canBatch);
    if (settings.durability !== "batch" || !canBatch) return;
    const isIdle = (): boolean => this.#feeds.size === 0;
    this.#syncer = new BatchSyncer(settings.mirrorDirectory, state, isIdle, (error) =>
      log.error(error.message),
    );
  }

  async #open(broken: (error: DrayError) => void): Promise<void> {
    const { mirrorDirectory, agent, digest, verifyWritten, threads, threadUrl } = this.#settings;
    const { distrusted } = this.#state;
    this.#pool = await LanePool.start(
      threads,
      threadUrl,
      { mirrorDirectory, agent, digest, verifyWritten, isStrict: this.#isStrict, distrusted },
      {
        done: (done) => this.#jobDone(done),
        progress: (progress) => this.#jobProgress(progress),
        broken,
      },
    );
    const services: Services = {
      capabilities: CAPABILITY.orders,
      agent,
      respond: (request, requestId, wake) => this.#respond(request, requestId, wake),
    };
    this.#server = new Server(this.#settings, services, this.#log);
  }

  get address(): string {
    return this.#server!.address;
  }

  get port(): number {
    return this.#server!.port;
  }

  /** Takes no new orders and resolves when the running ones are done. */
  async finish(): Promise<void> {
    const stopped = this.#server!.stop();
    if (this.#orders.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      await promise;
    }
    await stopped;
  }

  /** Gives up what is running, leaving nothing half-done behind, and lets the directory go. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const reason = new DrayError("closed", "the mirror is shutting down");
    this.#server!.abandon(reason);
    for (const feed of this.#feeds.values()) feed.abort.abort(reason);
    for (const order of this.#orders) clearInterval(order.ticker);
    const isTidy = await this.#pool!.stop();
    try {
      await this.#syncer?.sync();
    } finally {
      this.#state.close(isTidy);
    }
  }

  #respond(request: Message, requestId: number, wake: () => void): Responder | undefined {
    if (request.type !== "order") return undefined;
    const order = this.#accept(parseOrder(request.json));
    order.observer = new OrderResponder(requestId, wake, () => {
      order.observer = undefined;
    });
    order.observer.take({ type: "accepted", orderId: order.run.orderId });
    return order.observer;
  }

  #accept(request: OrderRequest): RunningOrder {
    if (this.#orders.size >= MAX_RUNNING_ORDERS) {
      throw new DrayError("busy", `the mirror already has ${MAX_RUNNING_ORDERS} orders`, {
        retryAfterMs: 10_000,
      });
    }
    if (!this.#isStrict) this.#state.markUnsynced(Date.now());
    const emit = (event: OrderEvent): void => order.observer?.take(event);
    const run = new OrderRun(crypto.randomUUID().slice(0, 8), request, performance.now(), emit);
    const ticker = setInterval(() => {
      if (order.observer !== undefined) run.tick(performance.now());
    }, PROGRESS_INTERVAL_MS);
    const order: RunningOrder = { run, ticker, observer: undefined };
    this.#orders.add(order);
    this.#log.info(`order ${run.orderId}: ${request.sources.length} source(s)`);
    for (const source of run.sources) this.#openFeed(order, source);
    return order;
  }

  #openFeed(order: RunningOrder, run: SourceRun): void {
    const { host, port, delayMs } = run.source;
    const feed: Feed = {
      id: String(this.#nextFeedId++),
      order,
      run,
      sourceDirectory: `${host}_${port}`,
      abort: new AbortController(),
      roomWaiter: undefined,
    };
    this.#feeds.set(feed.id, feed);
    this.#queue.open(feed.id, delayMs > 0);
    void this.#list(feed);
  }

  async #list(feed: Feed): Promise<void> {
    const { run, order } = feed;
    const sink: ListSink = {
      connected: () => {
        run.state = "listing";
      },
      items: (items) => this.#offer(feed, items),
      failed: (itemPath, code, message) => order.run.fail(run, itemPath, code, message),
      skipped: (itemPath, reason) => order.run.skip(run, itemPath, reason),
    };
    const settings = { agent: this.#settings.agent, timeoutMs: DIAL_TIMEOUT_MS };
    try {
      await listSource(run.source, settings, sink, feed.abort.signal);
      run.isListComplete = true;
    } catch (error) {
      run.error ??= asDrayError(error);
    }
    run.state = "transferring";
    this.#queue.close(feed.id);
    this.#advance();
    this.#endIfDrained(feed);
  }

  async #offer(feed: Feed, items: JobItem[]): Promise<void> {
    if (feed.abort.signal.aborted) return;
    for (const item of items) {
      if (item.kind !== "file") continue;
      feed.run.filesListed++;
      feed.run.bytesListed += item.sizeBytes;
    }
    this.#queue.offer(feed.id, items);
    this.#advance();
    if (this.#queue.hasRoom(feed.id)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    feed.roomWaiter = resolve;
    await promise;
  }

  /** Gives the lanes what they can take, and tells the managers where there is room again. */
  #advance(): void {
    if (this.#isClosing) return;
    for (const { lane, feedId, items } of this.#queue.assign()) {
      const feed = this.#feeds.get(feedId)!;
      const { host, port, delayMs } = feed.run.source;
      const job: Job = {
        jobId: this.#nextJobId++,
        lane,
        host,
        port,
        delayMs,
        sourceDirectory: feed.sourceDirectory,
        items,
      };
      this.#jobs.set(job.jobId, { feed, items, receivedBytes: 0 });
      this.#pool!.run(job);
    }
    for (const feed of this.#feeds.values()) {
      if (feed.roomWaiter === undefined || !this.#queue.hasRoom(feed.id)) continue;
      feed.roomWaiter();
      feed.roomWaiter = undefined;
    }
  }

  #jobProgress({ jobId, receivedBytes }: JobProgress): void {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return;
    job.receivedBytes += receivedBytes;
    job.feed.run.bytesUnderWay += receivedBytes;
    job.feed.order.run.received(receivedBytes);
  }

  #jobDone(done: JobDone): void {
    const { feed, items, receivedBytes } = this.#jobs.get(done.jobId)!;
    this.#jobs.delete(done.jobId);
    this.#queue.done(done.lane);
    const { order, run } = feed;
    order.run.received(done.receivedBytes);
    run.bytesUnderWay -= receivedBytes;
    let publishedFiles = 0;
    let publishedBytes = 0;
    for (const [index, item] of items.entries()) {
      const outcome = done.outcomes[index]!;
      order.run.settled(run, item.path, outcome);
      if (outcome.kind !== "fetched") continue;
      publishedFiles++;
      publishedBytes += outcome.sizeBytes;
    }
    if (publishedFiles > 0) this.#syncer?.published(publishedBytes, performance.now());
    if (done.unreachable !== undefined) {
      this.#giveUp(feed, new DrayError(done.unreachable.code, done.unreachable.message));
    }
    this.#advance();
    this.#endIfDrained(feed);
  }

  /** No connection can be made: what is still queued is not tried one by one. */
  #giveUp(feed: Feed, error: DrayError): void {
    if (feed.abort.signal.aborted) return;
    feed.run.error ??= error;
    for (const item of this.#queue.withdraw(feed.id)) {
      feed.order.run.settled(feed.run, item.path, {
        kind: "failed",
        code: error.code,
        message: error.message,
      });
    }
    feed.abort.abort(error);
  }

  #endIfDrained(feed: Feed): void {
    if (!this.#feeds.has(feed.id) || !this.#queue.isDrained(feed.id)) return;
    this.#feeds.delete(feed.id);
    this.#queue.remove(feed.id);
    if (feed.order.run.sourceEnded(feed.run)) void this.#endOrder(feed.order);
  }

  async #endOrder(order: RunningOrder): Promise<void> {
    let undurable: DrayError | undefined;
    try {
      await this.#syncer?.sync();
    } catch (error) {
      undurable = asDrayError(error);
      this.#log.error(undurable.message);
    }
    clearInterval(order.ticker);
    const result = order.run.end(performance.now(), undurable);
    this.#orders.delete(order);
    this.#log.info(
      `order ${result.orderId}: ${result.files} files, ${result.unchanged} of them unchanged, ${result.failed} failed`,
    );
    if (this.#orders.size === 0) this.#idle?.();
  }

  #sweepTempFiles(): void {
    sweepTempFiles(this.#settings.mirrorDirectory, [STATE_DIRECTORY], Date.now()).then(
      (removed) => {
        if (removed > 0) this.#log.info(`removed ${removed} unfinished file(s) of a run that was killed`);
      },
      (error: unknown) =>
        this.#log.warn(`unfinished files of a killed run may be left: ${asDrayError(error).message}`),
    );
  }
}

function parseOrder(json: string): OrderRequest {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new DrayError("usage", "the order is not JSON", { cause });
  }
  const checked = orderRequestSchema.safeParse(parsed);
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new DrayError("usage", `the order is not valid: ${problems.join("; ")}`);
}

function makeDirectory(directory: string): void {
  try {
    fs.mkdirSync(path.resolve(directory), { recursive: true });
    fs.accessSync(directory, fs.constants.W_OK | fs.constants.X_OK);
  } catch (error) {
    throw withContext(`cannot mirror into ${quoteName(directory)}`, error);
  }
}
