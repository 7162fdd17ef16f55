import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Responder } from "../transfer/responder.ts";
import {
  type Failure,
  type OrderCommand,
  type OrderEvent,
  type OrderRequest,
  type OrderSummary,
  orderCommandSchema,
} from "../wire/order.ts";
import type { ServerLog } from "../transfer/server.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { isItemized } from "./feed.ts";
import { ItemsResponder } from "./items-responder.ts";
import type { Journal, JournaledOrder } from "./journal.ts";
import { OrderResponder } from "./order-responder.ts";
import { OrderRun } from "./order-run.ts";
import type { SourceRun } from "./source-run.ts";

export interface MirrorLog extends ServerLog {
  info(message: string): void;
  error(message: string): void;
}

interface RunningOrder {
  order: JournaledOrder;
  run: OrderRun;
  observers: Set<OrderResponder>;
  ticker: Timer;
}

export interface OrderDeskEvents {
  /** Before an order's first file becomes visible. */
  starting(): void;
  /** Resolves when all that is visible is durable. */
  settle(): Promise<void>;
  /** No order is running any more. */
  idle(): void;
}

/** Orders at once: each costs memory for its sources and its part of the queue. */
const MAX_RUNNING_ORDERS = 256;
/** Orders that have ended and are still listed. */
const MAX_ENDED_ORDERS = 1_000;
/** Orders that have ended and whose items are all kept, to be asked for. */
const MAX_ITEMIZED_ORDERS = 16;
const PROGRESS_INTERVAL_MS = 200;
const PERSIST_INTERVAL_MS = 5_000;
/** Timers take no more; a longer wait is cut into several. */
const MAX_TIMER_MS = 2_000_000_000;

/** Takes orders, keeps them in the journal, runs them when they are due, and tells whoever follows them. */
export class OrderDesk {
  readonly #journal: Journal;
  readonly #dispatcher: Dispatcher;
  readonly #events: OrderDeskEvents;
  readonly #log: MirrorLog;
  readonly #running = new Map<string, RunningOrder>();
  /** Orders that have their result and are being tidied up. */
  readonly #ending = new Map<string, JournaledOrder>();
  /** Why work has stopped, while it has. */
  #parkedBy: DrayError | undefined;
  readonly #dueTimers = new Map<string, Timer>();

  constructor(journal: Journal, dispatcher: Dispatcher, events: OrderDeskEvents, log: MirrorLog) {
    this.#journal = journal;
    this.#dispatcher = dispatcher;
    this.#events = events;
    this.#log = log;
  }

  get isIdle(): boolean {
    return this.#running.size === 0;
  }

  /** Goes on with what an earlier daemon had not finished, and waits for what is due later. */
  resume(): void {
    for (const order of this.#journal.orders()) {
      if (order.state === "running") {
        this.#log.info(`order ${order.id}: going on`);
        this.#events.starting();
        this.#start(order);
      } else if (order.state === "waiting") {
        this.#schedule(order);
      }
    }
  }

  /**
   * @param json an OrderCommand
   * @throws DrayError "usage", "not-found" or "busy"
   */
  respond(json: string, requestId: number, wake: () => void): Responder {
    const command = parseCommand(json);
    if (command.do === "items") return this.#items(command.orderId, command.after ?? 0, requestId);
    const responder = new OrderResponder(requestId, wake, () => {
      for (const { observers } of this.#running.values()) observers.delete(responder);
    });
    switch (command.do) {
      case "give":
        this.#follow(this.#give(command.order), responder);
        break;
      case "list":
        this.#list(responder);
        break;
      case "follow":
        this.#followOrTell(command.orderId, responder);
        break;
      case "cancel":
        this.#cancel(command.orderId);
        responder.take({ type: "cancelled", orderId: command.orderId });
        break;
      case "retry":
        this.#follow(this.#retry(command.orderId), responder);
        break;
      case "limit":
        this.#limit(command.orderId, command.bytesPerSecond ?? undefined);
        responder.take({
          type: "limited",
          ...(command.orderId === undefined ? {} : { orderId: command.orderId }),
          ...(command.bytesPerSecond === null ? {} : { bytesPerSecond: command.bytesPerSecond }),
        });
        break;
    }
    return responder;
  }

  sourceEnded(orderId: string, source: SourceRun): void {
    const running = this.#running.get(orderId);
    if (running !== undefined && running.run.sourceEnded(source)) void this.#end(running);
  }

  /** Tells everybody that work has stopped for a full disk, or goes on. */
  parked(reason: DrayError | undefined): void {
    if ((this.#parkedBy === undefined) !== (reason === undefined)) this.#logParked(reason);
    this.#parkedBy = reason;
    for (const { run } of this.#running.values()) {
      if (reason === undefined) run.tellResumed();
      else run.tellParked(reason.code, reason.message);
    }
  }

  #logParked(reason: DrayError | undefined): void {
    if (reason !== undefined) this.#log.warn(`parked: ${reason.message}; trying again every few seconds`);
    else this.#log.info("there is room again: going on");
  }

  stop(): void {
    for (const timer of this.#dueTimers.values()) clearTimeout(timer);
    for (const { ticker } of this.#running.values()) clearInterval(ticker);
  }

  #give(request: OrderRequest): RunningOrder {
    if (this.#running.size >= MAX_RUNNING_ORDERS) {
      throw new DrayError("busy", `the mirror already has ${MAX_RUNNING_ORDERS} orders`, {
        retryAfterMs: 10_000,
      });
    }
    const nowMs = Date.now();
    const order: JournaledOrder = {
      id: crypto.randomUUID().slice(0, 8),
      request,
      state: "running",
      createdMs: nowMs,
      startedMs: nowMs,
      dueMs: undefined,
      bytesTransferred: 0,
      result: undefined,
    };
    this.#events.starting();
    this.#journal.saveOrder(order);
    this.#log.info(`order ${order.id}: ${request.sources.length} source(s)`);
    return this.#start(order);
  }

  #start(order: JournaledOrder): RunningOrder {
    const emit = (event: OrderEvent): void => this.#tell(running, event);
    const run = new OrderRun(order.id, order.request, order.startedMs, order.bytesTransferred, emit);
    const ticker = setInterval(() => {
      if (running.observers.size > 0) run.tick(Date.now());
    }, PROGRESS_INTERVAL_MS);
    const running: RunningOrder = { order, run, observers: new Set(), ticker };
    this.#running.set(order.id, running);
    if (this.#parkedBy !== undefined) run.tellParked(this.#parkedBy.code, this.#parkedBy.message);
    this.#dispatcher.start(run, order.request);
    return running;
  }

  #restart(order: JournaledOrder): RunningOrder {
    order.state = "running";
    order.startedMs = Date.now();
    order.dueMs = undefined;
    order.bytesTransferred = 0;
    this.#events.starting();
    this.#journal.saveOrder(order);
    return this.#start(order);
  }

  #follow(running: RunningOrder, responder: OrderResponder): void {
    running.observers.add(responder);
    responder.take({ type: "accepted", orderId: running.order.id });
    if (running.run.parked !== undefined) responder.take(running.run.parked);
  }

  #items(orderId: string, afterId: number, requestId: number): Responder {
    if (this.#running.has(orderId)) throw new DrayError("refused", `order ${orderId} is still running`);
    const { request } = this.#ending.get(orderId) ?? this.#find(orderId);
    if (!isItemized(request)) throw new DrayError("refused", `order ${orderId} was not itemized`);
    return new ItemsResponder(this.#journal, orderId, request.sources, afterId, requestId);
  }

  #followOrTell(orderId: string, responder: OrderResponder): void {
    const running = this.#running.get(orderId);
    if (running !== undefined) return this.#follow(running, responder);
    const { result } = this.#find(orderId);
    if (result === undefined)
      throw new DrayError("not-found", `order ${orderId} was cancelled before it had a result`);
    responder.take(result);
  }

  #list(responder: OrderResponder): void {
    const orders = this.#journal.orders();
    for (const order of orders) responder.take(summaryOf(order));
    responder.take({ type: "orders", count: orders.length });
  }

  #cancel(orderId: string): void {
    const order = this.#running.get(orderId)?.order ?? this.#ending.get(orderId) ?? this.#find(orderId);
    if (order.state === "done" || order.state === "cancelled") {
      throw new DrayError("refused", `order ${orderId} is ${order.state} already`);
    }
    clearTimeout(this.#dueTimers.get(orderId));
    this.#dueTimers.delete(orderId);
    order.state = "cancelled";
    order.dueMs = undefined;
    this.#journal.saveOrder(order);
    const running = this.#running.get(orderId);
    if (running !== undefined) {
      this.#dispatcher.cancel(orderId, new DrayError("interrupted", "the order was cancelled"));
      this.#tell(running, { type: "cancelled", orderId });
      this.#close(running);
    }
    this.#log.info(`order ${orderId}: cancelled`);
    void this.#trim(orderId, false);
  }

  #limit(orderId: string | undefined, bytesPerSecond: number | undefined): void {
    const limit = bytesPerSecond === undefined ? "no bandwidth limit" : `${bytesPerSecond} bytes/s`;
    if (orderId === undefined) {
      this.#dispatcher.limitAll(bytesPerSecond);
      this.#log.info(`all orders together: ${limit}, until the mirror ends`);
      return;
    }
    const order = this.#running.get(orderId)?.order ?? this.#ending.get(orderId) ?? this.#find(orderId);
    if (order.state === "cancelled") throw new DrayError("refused", `order ${orderId} is cancelled already`);
    const timer = this.#dueTimers.get(orderId);
    if (order.state === "waiting" && timer === undefined && !this.#ending.has(orderId)) {
      throw new DrayError("busy", `order ${orderId} is just being begun again`, { retryAfterMs: 1_000 });
    }
    const { bytesPerSecond: _, ...request } = order.request;
    const limited = bytesPerSecond === undefined ? request : { ...request, bytesPerSecond };
    this.#journal.saveOrder({ ...order, request: limited });
    order.request = limited;
    this.#dispatcher.limitOrder(orderId, bytesPerSecond);
    this.#log.info(`order ${orderId}, each source: ${limit}`);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#schedule(order);
  }

  #retry(orderId: string): RunningOrder {
    if (this.#running.has(orderId)) throw new DrayError("refused", `order ${orderId} is still running`);
    if (this.#ending.has(orderId)) {
      throw new DrayError("busy", `order ${orderId} is still being ended`, { retryAfterMs: 1_000 });
    }
    const order = this.#find(orderId);
    if (order.state === "cancelled") throw new DrayError("refused", `order ${orderId} was cancelled`);
    clearTimeout(this.#dueTimers.get(orderId));
    for (const position of order.request.sources.keys()) {
      // What the list itself refused is only found out anew by listing anew. And who deletes what a list
      // lacks needs the whole list, of which only what failed is kept.
      const needsList = order.request.delete !== undefined || this.#journal.hasRefused(orderId, position);
      if (needsList) this.#journal.clearSource(orderId, position);
      else this.#journal.retryFailed(orderId, position);
    }
    this.#log.info(`order ${orderId}: trying again what failed`);
    return this.#restart(order);
  }

  #find(orderId: string): JournaledOrder {
    const order = this.#journal.orders().find(({ id }) => id === orderId);
    if (order === undefined) throw new DrayError("not-found", `there is no order ${orderId}`);
    return order;
  }

  async #end(running: RunningOrder): Promise<void> {
    const { order, run } = running;
    let undurable: DrayError | undefined;
    try {
      await this.#events.settle();
    } catch (error) {
      undurable = asDrayError(error);
      this.#log.error(undurable.message);
    }
    // Cancelled while it was being synced.
    if (order.state === "cancelled") return;
    const endedMs = Date.now();
    order.result = run.end(endedMs, this.#failures(run), undurable);
    order.bytesTransferred = run.bytesTransferred;
    const { everyMs } = order.request;
    order.state = everyMs === undefined ? "done" : "waiting";
    order.dueMs = everyMs === undefined ? undefined : Math.max(endedMs, order.startedMs + everyMs);
    const { files, unchanged, deleted, failed } = order.result;
    const gone = deleted === 0 ? "" : `, ${deleted} deleted`;
    this.#log.info(
      `order ${order.id}: ${files} files, ${unchanged} of them unchanged${gone}, ${failed} failed`,
    );
    for (const { host, port, path, guard } of order.result.sources) {
      if (guard !== undefined) this.#log.warn(`order ${order.id}: ${host}:${port} ${path}: ${guard}`);
    }
    this.#ending.set(order.id, order);
    this.#close(running);
    await this.#persist(() => this.#journal.saveOrder(order));
    if (!isItemized(order.request)) await this.#trim(order.id, true);
    this.#ending.delete(order.id);
    if (order.state === "waiting") this.#schedule(order);
    this.#forgetOldest();
  }

  /** Writes into the journal; on a full disk again and again until there is room. */
  async #persist<T>(write: () => T): Promise<T> {
    for (;;) {
      try {
        return write();
      } catch (error) {
        const known = asDrayError(error);
        if (known.code !== "no-space") throw error;
        this.#log.warn(`${known.message}; trying again`);
        await Bun.sleep(PERSIST_INTERVAL_MS);
      }
    }
  }

  *#failures(run: OrderRun): Generator<Failure, void> {
    for (const [position, { source }] of run.sources.entries()) {
      const { host, port } = source;
      for (const { path, code, message } of this.#journal.failed(run.orderId, position)) {
        yield { host, port, path, code: code ?? "internal", message: message ?? "" };
      }
    }
  }

  #close(running: RunningOrder): void {
    clearInterval(running.ticker);
    this.#running.delete(running.order.id);
    if (this.isIdle) this.#events.idle();
  }

  #schedule(order: JournaledOrder): void {
    const waitMs = (order.dueMs ?? 0) - Date.now();
    const isLast = waitMs <= MAX_TIMER_MS;
    const timer = setTimeout(
      () => {
        this.#dueTimers.delete(order.id);
        if (!isLast) return this.#schedule(order);
        void this.#runAgain(order);
      },
      Math.max(0, isLast ? waitMs : MAX_TIMER_MS),
    );
    this.#dueTimers.set(order.id, timer);
  }

  async #runAgain(order: JournaledOrder): Promise<void> {
    this.#log.info(`order ${order.id}: due again`);
    await this.#persist(() => {
      for (const position of order.request.sources.keys()) this.#journal.clearSource(order.id, position);
    });
    if (order.state === "waiting") await this.#persist(() => void this.#restart(order));
  }

  /** Lets other work run between the slices. */
  async #trim(orderId: string, keepFailed: boolean): Promise<void> {
    while (await this.#persist(() => this.#journal.trimEnded(orderId, keepFailed))) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #forgetOldest(): void {
    const ended = this.#journal.orders().filter(({ state }) => state === "done" || state === "cancelled");
    for (const { id } of ended.slice(0, Math.max(0, ended.length - MAX_ENDED_ORDERS))) {
      this.#journal.deleteOrder(id);
      void this.#trim(id, false);
    }
    const itemized = ended.filter(({ request }) => isItemized(request));
    for (const { id } of itemized.slice(0, Math.max(0, itemized.length - MAX_ITEMIZED_ORDERS))) {
      void this.#trim(id, true);
    }
  }

  #tell(running: RunningOrder, event: OrderEvent): void {
    for (const observer of running.observers) observer.take(event);
  }
}

function summaryOf(order: JournaledOrder): OrderSummary {
  const { id: orderId, state, createdMs, startedMs, dueMs, result } = order;
  const { everyMs, bytesPerSecond } = order.request;
  return {
    type: "order",
    orderId,
    state,
    createdMs,
    startedMs,
    ...(dueMs === undefined ? {} : { dueMs }),
    ...(everyMs === undefined ? {} : { everyMs }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    sources: order.request.sources.map(({ host, port, path }) => ({ host, port, path })),
    ...(result === undefined
      ? {}
      : { last: { files: result.files, bytes: result.bytes, failed: result.failed } }),
  };
}

function parseCommand(json: string): OrderCommand {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new DrayError("usage", "the order is not JSON", { cause });
  }
  const checked = orderCommandSchema.safeParse(parsed);
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new DrayError("usage", `the order is not valid: ${problems.join("; ")}`);
}
