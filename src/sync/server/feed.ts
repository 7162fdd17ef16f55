import { DrayError, asDrayError } from "../../errors/dray-error.ts";
import { chunkHeadBytes, encodeSyncMessage, writeChunkHead } from "../../wire/sync-encoder.ts";
import { NO_MD5, SYNC_STATUS, hasStatus } from "../../wire/sync-messages.ts";
import { METADATA_NAME } from "../../wire/sync-reserved.ts";
import type { Clock, Link } from "../ports.ts";
import type { DeliveryForm, DeliverySource, OutgoingChunk } from "./delivery-source.ts";
import { DeliveryState, type Sent } from "./delivery-state.ts";
import { KnownVersions } from "./known-versions.ts";
import { ProgressTimer } from "./progress-timer.ts";
import { UpdateQueue } from "./update-queue.ts";

/** Under way to a client of ours at the same time. */
const WINDOW_BYTES = 8 * 1024 * 1024;
const WINDOW_MESSAGES = 1024;
/** Data in a chunk to a client of ours. */
const OUR_CHUNK_BYTES = 1024 * 1024;
/** How long a client that has never answered a Close or a Delete is waited for; then it is taken for one that does not. */
const CLOSE_ANSWER_MS = 2_000;
/** Before a delivery that failed is tried again; doubles with each time. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 300_000;

export interface FeedTimes {
  readonly answerTimeoutMs: number;
  readonly keepAliveMs: number;
}

/** What to do about a name whose turn it is. */
export type Delivery =
  /** The client has it already, or it cannot be sent now. */
  | { readonly what: "nothing" }
  | { readonly what: "file"; readonly sequence: number; readonly source: DeliverySource }
  | { readonly what: "delete"; readonly sequence: number; readonly md5: Uint8Array };

/** What a feed needs of its hub. */
export interface FeedHub {
  readonly clock: Clock;
  readonly times: FeedTimes;
  /** Data in a chunk to clients that are not ours. */
  readonly chunkBytes: number;
  /** For one message; good until the next call. */
  buffer(sizeBytes: number): Uint8Array;
  metaData(chunkBytes: number): DeliverySource;
  /** Decided now, in the pool's turn. */
  open(feed: Feed, name: string, form: DeliveryForm): Promise<Delivery>;
  /** A delivery begins, or has ended. */
  overlap(feed: Feed, name: string): void;
  delivered(feed: Feed, name: string, sequence: number): void;
  givenUp(feed: Feed, name: string, sequence: number): void;
  info(message: string): void;
  warn(message: string): void;
  /** The latest, when every feed has been told of every change up to it; otherwise undefined. */
  announcedSequence(): number | undefined;
}

interface Transfer {
  readonly name: string;
  /** Undefined for META-DATA. */
  readonly sequence: number | undefined;
  readonly state: DeliveryState;
  readonly isWindowed: boolean;
  /** The client's last answer settled it: nothing more of it is sent. */
  isOver: boolean;
  mustResend: boolean;
  /** Sent and not answered. */
  unanswered: number;
  /** When it is over and all is answered. */
  ended: (() => void) | undefined;
}

interface Unanswered {
  readonly transfer: Transfer;
  readonly sent: Sent;
  readonly bytes: number;
}

/**
 * What is pushed to one client: META-DATA, then the files of its queue, one after the other. Towards the seed's clients one
 * chunk is under way at a time; towards ours, who answer everything in order, a window of them, over several files.
 */
export class Feed {
  readonly session: number;
  readonly link: Link;
  readonly queue = new UpdateQueue();
  readonly known: KnownVersions;
  isOurs = false;
  readonly #hub: FeedHub;
  readonly #unanswered: Unanswered[] = [];
  #unansweredBytes = 0;
  readonly #retries = new Map<string, number>();
  /** Names to be sent chunk by chunk, after an error. */
  readonly #careful = new Set<string>();
  #current: Transfer | undefined;
  #change = Promise.withResolvers<void>();
  readonly #timer: ProgressTimer;
  #lastPending = 0;
  #hasAnswered = false;
  #hasAnsweredClose = false;
  /** It does not answer at all: nothing is waited for, but for room in the connection. */
  #isMute = false;
  #isClosed = false;
  #isFinishing = false;
  #deliveries = 0;

  /** @param sequence the latest when it was registered, which has to be before META-DATA is made */
  constructor(session: number, link: Link, hub: FeedHub, sequence: number) {
    this.session = session;
    this.link = link;
    this.#hub = hub;
    this.known = new KnownVersions(sequence);
    this.#timer = new ProgressTimer(
      hub.clock,
      () => this.#limitMs(),
      () => this.#overdue(),
    );
  }

  /** Files that were delivered. */
  get deliveries(): number {
    return this.#deliveries;
  }

  get current(): string | undefined {
    return this.#current?.name;
  }

  isDelivering(name: string): boolean {
    if (this.#current?.name === name) return true;
    return this.#unanswered.some(({ transfer }) => transfer.name === name);
  }

  /** The client is to hear of a name. */
  add(name: string): void {
    if (this.queue.add(name)) this.#wakeUp();
  }

  addLater(name: string, atMs: number): void {
    this.queue.addLater(name, atMs);
    this.#wakeUp();
  }

  /** Sends until the client is gone, or, after finish(), what is under way is done. */
  async run(): Promise<void> {
    try {
      this.#timer.arm();
      await this.#sendMetaData();
      while (!this.#isClosed && !this.#isFinishing) {
        const name = this.queue.take(this.#nowMs);
        if (name === undefined) await this.#rest();
        else await this.#deliver(name);
      }
      while (!this.#isClosed && this.#unanswered.length > 0) await this.#changed();
      if (!this.#isClosed) this.link.end();
    } catch (error) {
      if (!this.#isClosed) this.link.terminate(asDrayError(error));
    }
  }

  /** No more files; those under way are sent to their end, then the connection is ended. */
  finish(): void {
    this.#isFinishing = true;
    this.#wakeUp();
  }

  drained(): void {
    this.#timer.moved();
    this.#wakeUp();
  }

  closed(): void {
    this.#isClosed = true;
    this.#timer.end();
    this.#wakeUp();
  }

  /**
   * The client sends nothing more on this connection: it has either gone altogether, or answers on its other one, if at all. A word
   * to it finds out.
   */
  ended(): void {
    this.#goMute("it has ended its side of the connection");
    if (this.#current === undefined) this.#write(KEEP_ALIVE);
  }

  get isWaitingForAnswer(): boolean {
    return this.#unanswered.length > 0;
  }

  /** The client's answer to the oldest message that has none. */
  answered(code: number): void {
    this.#hasAnswered = true;
    this.#timer.moved();
    const first = this.#unanswered.shift();
    // More answers than there were messages are tolerated (decision 3).
    if (first === undefined) {
      if (this.#isMute && this.#current !== undefined && hasStatus(code, "fileInUse"))
        this.#giveUp(this.#current);
      return;
    }
    this.#unansweredBytes -= first.bytes;
    const { transfer, sent } = first;
    transfer.unanswered--;
    if (sent !== "chunk") this.#hasAnsweredClose = true;
    if (!transfer.isOver) this.#judge(transfer, sent, code, first);
    if (transfer.isOver && transfer.unanswered === 0) transfer.ended?.();
    this.#wakeUp();
  }

  #judge(transfer: Transfer, sent: Sent, code: number, unanswered: Unanswered): void {
    switch (transfer.state.answered(sent, code)) {
      case "go-on":
        return;
      case "ignore":
        // Not an answer to this: the real one is still to come.
        if (this.isOurs) return;
        this.#unanswered.unshift(unanswered);
        this.#unansweredBytes += unanswered.bytes;
        transfer.unanswered++;
        return;
      case "resend":
        transfer.mustResend = true;
        return;
      case "done":
        return this.#done(transfer);
      case "given-up":
        return this.#giveUp(transfer);
      case "abort":
        return this.#beginAnew(transfer, true, this.#retryMs(transfer.name));
      case "dropped":
        // With digests of its chunks it shows which of them suffers, and only that is sent again.
        if (transfer.isWindowed) this.#careful.add(transfer.name);
        return this.#beginAnew(transfer, false, this.#retryMs(transfer.name));
      case "restart":
        this.#careful.add(transfer.name);
        return this.#beginAnew(transfer, true, 0);
    }
  }

  #done(transfer: Transfer): void {
    transfer.isOver = true;
    this.#retries.delete(transfer.name);
    this.#careful.delete(transfer.name);
    if (transfer.sequence === undefined) return;
    this.#deliveries++;
    this.known.delivered(transfer.name, transfer.sequence, this.#nowMs);
    this.#hub.delivered(this, transfer.name, transfer.sequence);
    this.#hub.overlap(this, transfer.name);
  }

  #giveUp(transfer: Transfer): void {
    transfer.isOver = true;
    if (transfer.sequence === undefined) return;
    this.known.tell(transfer.name, transfer.sequence);
    this.#hub.givenUp(this, transfer.name, transfer.sequence);
    this.#hub.overlap(this, transfer.name);
  }

  /** Only in a transfer, and never without a new try behind it: an Abort makes the seed's clients delete (decision 14). */
  #beginAnew(transfer: Transfer, sendsAbort: boolean, afterMs: number): void {
    transfer.isOver = true;
    const { name } = transfer;
    if (sendsAbort) this.#write(encodeSyncMessage({ type: "abort", name, md5: NO_MD5 }));
    const again = (): void => {
      transfer.ended = undefined;
      this.known.forget(name);
      this.queue.addLater(name, this.#nowMs + afterMs);
      this.#hub.overlap(this, name);
      this.#wakeUp();
    };
    if (transfer.unanswered === 0) again();
    else transfer.ended = again;
  }

  #retryMs(name: string): number {
    const tries = (this.#retries.get(name) ?? 0) + 1;
    this.#retries.set(name, tries);
    return Math.min(FIRST_RETRY_MS * 2 ** (tries - 1), LAST_RETRY_MS);
  }

  async #sendMetaData(): Promise<void> {
    for (;;) {
      const transfer = this.#begin(METADATA_NAME, undefined, false);
      await this.#sendFile(transfer, this.#hub.metaData(this.#hub.chunkBytes));
      while (!this.#isClosed && transfer.unanswered > 0) await this.#changed();
      if (this.#isClosed || !this.queue.has(METADATA_NAME)) return;
      this.queue.remove(METADATA_NAME);
      await this.#sleepUntil(this.#nowMs + this.#retryMs(METADATA_NAME));
    }
  }

  async #deliver(name: string): Promise<void> {
    // What the client has is known only when it has answered; then it is looked at again.
    if (this.isDelivering(name)) return;
    const isWindowed = this.isOurs && !this.#careful.has(name);
    const chunkBytes = isWindowed ? OUR_CHUNK_BYTES : this.#hub.chunkBytes;
    const delivery = await this.#open(name, { chunkBytes, isBare: isWindowed });
    if (delivery.what === "nothing") return;
    if (this.#isClosed) {
      if (delivery.what === "file") delivery.source.close();
      return;
    }
    const transfer = this.#begin(name, delivery.sequence, isWindowed);
    this.#hub.overlap(this, name);
    if (delivery.what === "file") return await this.#sendFile(transfer, delivery.source);
    if (await this.#room(transfer))
      this.#send(transfer, "delete", encodeSyncMessage({ type: "delete", name, md5: delivery.md5 }));
    this.#current = undefined;
  }

  async #open(name: string, form: DeliveryForm): Promise<Delivery> {
    try {
      return await this.#hub.open(this, name, form);
    } catch (error) {
      this.#hub.warn(
        `Cannot send ${JSON.stringify(name)} to ${this.link.peer}: ${asDrayError(error).message}`,
      );
      this.queue.addLater(name, this.#nowMs + this.#retryMs(name));
      return { what: "nothing" };
    }
  }

  #begin(name: string, sequence: number | undefined, isWindowed: boolean): Transfer {
    const transfer: Transfer = {
      name,
      sequence,
      state: new DeliveryState(isWindowed),
      isWindowed,
      isOver: false,
      mustResend: false,
      unanswered: 0,
      ended: undefined,
    };
    this.#current = transfer;
    return transfer;
  }

  async #sendFile(transfer: Transfer, source: DeliverySource): Promise<void> {
    try {
      let isFirst = true;
      for (let last: OutgoingChunk | undefined; ;) {
        const chunk: OutgoingChunk | undefined = transfer.mustResend ? last : await source.next();
        if (chunk === undefined) break;
        transfer.mustResend = false;
        if (!(await this.#room(transfer))) return;
        if (isFirst) transfer.state.begins(chunk.sizeBytes);
        isFirst = false;
        this.#sendChunk(transfer, chunk);
        last = chunk;
        if (!transfer.isWindowed && !(await this.#room(transfer))) return;
      }
      if (!(await this.#room(transfer))) return;
      const md5 = await source.whole();
      if (transfer.isOver || this.#isClosed) return;
      this.#send(transfer, "close", encodeSyncMessage({ type: "close", name: transfer.name, md5 }));
    } catch (error) {
      this.#hub.warn(
        `Cannot send ${JSON.stringify(transfer.name)} to ${this.link.peer}: ${asDrayError(error).message} (it is tried again)`,
      );
      if (!transfer.isOver) this.#beginAnew(transfer, true, this.#retryMs(transfer.name));
    } finally {
      source.close();
      if (this.#current === transfer) this.#current = undefined;
    }
  }

  #sendChunk(transfer: Transfer, chunk: OutgoingChunk): void {
    const headBytes = chunkHeadBytes(transfer.name);
    const message = this.#hub.buffer(headBytes + chunk.sizeBytes);
    chunk.read(message.subarray(headBytes));
    writeChunkHead(message, 0, transfer.name, chunk.md5, chunk.sizeBytes);
    this.#send(transfer, "chunk", message);
  }

  #send(transfer: Transfer, sent: Sent, message: Uint8Array): void {
    this.#write(message);
    if (this.#isMute) {
      if (sent !== "chunk") this.#done(transfer);
      return;
    }
    transfer.unanswered++;
    this.#unanswered.push({ transfer, sent, bytes: message.length });
    this.#unansweredBytes += message.length;
  }

  #write(message: Uint8Array): void {
    this.#timer.moved();
    this.link.write(message);
    this.#lastPending = this.link.pendingBytes;
    this.#timer.arm();
  }

  /** Waits until the next message of a transfer may go. @returns false when none may any more */
  async #room(transfer: Transfer): Promise<boolean> {
    for (;;) {
      if (this.#isClosed || transfer.isOver) return false;
      if (!this.link.isFull && this.#hasWindow(transfer)) return true;
      await this.#changed();
    }
  }

  #hasWindow(transfer: Transfer): boolean {
    if (!transfer.isWindowed) return this.#unanswered.length === 0;
    return this.#unanswered.length < WINDOW_MESSAGES && this.#unansweredBytes < WINDOW_BYTES;
  }

  /** Nothing to send now. */
  async #rest(): Promise<void> {
    const sequence = this.#hub.announcedSequence();
    if (sequence !== undefined && this.#unanswered.length === 0) this.known.settle(sequence);
    const { dueMs } = this.queue;
    if (dueMs === undefined) return await this.#changed();
    await this.#sleepUntil(dueMs);
  }

  /** Or until something changes. */
  async #sleepUntil(atMs: number): Promise<void> {
    const cancel = this.#hub.clock.wake(atMs, () => this.#wakeUp());
    await this.#changed();
    cancel();
  }

  #changed(): Promise<void> {
    return this.#change.promise;
  }

  #wakeUp(): void {
    const { resolve } = this.#change;
    this.#change = Promise.withResolvers();
    resolve();
  }

  get #nowMs(): number {
    return this.#hub.clock.monotonicMs();
  }

  #limitMs(): number {
    const { answerTimeoutMs, keepAliveMs } = this.#hub.times;
    if (this.link.pendingBytes > 0) return answerTimeoutMs;
    const first = this.#unanswered[0];
    if (first === undefined) return keepAliveMs;
    const isUnsure = !this.isOurs && first.sent !== "chunk" && !this.#hasAnsweredClose;
    return isUnsure ? Math.min(CLOSE_ANSWER_MS, answerTimeoutMs) : answerTimeoutMs;
  }

  #overdue(): void {
    const first = this.#unanswered[0];
    const { pendingBytes } = this.link;
    if (pendingBytes > 0) {
      if (pendingBytes >= this.#lastPending)
        return this.#giveUpClient("it takes nothing of what is sent to it");
      this.#lastPending = pendingBytes;
      return;
    }
    if (first === undefined) {
      if (this.#current === undefined) this.#write(KEEP_ALIVE);
    } else if (!this.isOurs && first.sent !== "chunk") {
      // Never waited for without end (decision 3): a client that says nothing is content.
      const [any, close] = [this.#hasAnswered, this.#hasAnsweredClose];
      this.answered(SYNC_STATUS.ok);
      [this.#hasAnswered, this.#hasAnsweredClose] = [any, close];
    } else if (this.#hasAnswered) {
      this.#giveUpClient("it does not answer any more");
    } else {
      this.#goMute("it answers nothing");
    }
  }

  #giveUpClient(why: string): void {
    this.link.terminate(new DrayError("timeout", why));
  }

  /** The seed does not say that a client has to answer chunks; what is sent arrives in order all the same. */
  #goMute(why: string): void {
    if (this.#isMute) return;
    this.#isMute = true;
    this.#hub.info(`${this.link.peer}: ${why}; updates are sent to it without waiting`);
    for (const { transfer, sent } of this.#unanswered.splice(0)) {
      transfer.unanswered = 0;
      if (sent !== "chunk" && !transfer.isOver) this.#done(transfer);
      if (transfer.isOver) transfer.ended?.();
    }
    this.#unansweredBytes = 0;
    this.#wakeUp();
  }
}

const KEEP_ALIVE = encodeSyncMessage({ type: "status", code: SYNC_STATUS.keepAlive });
