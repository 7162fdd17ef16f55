import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { type Backoff } from "../net/backoff.ts";
import type { Connection } from "../net/connection.ts";
import { type DialTarget, dial, withRetry } from "../net/dial.ts";
import type { DigestKind } from "../wire/digest.ts";
import type { CachedEntry } from "../wire/cached-entries.ts";
import type { EntryKind, ListEntry } from "../wire/entries.ts";
import { CLIENT_TAKES, type Message, PROTOCOL_VERSION, CAPABILITY } from "../wire/messages.ts";
import { Channel } from "./channel.ts";
import { FetchReply, type FileReceiver } from "./fetch-reply.ts";
import type { ClientSecurity } from "./security.ts";
import { UploadQueue } from "./upload-queue.ts";
import { type PutRequest, UploadSender, type UploadSource } from "./upload-sender.ts";
import { type SumsReceiver, SumsReply } from "./sums-reply.ts";

/** After this long without a word from the server, it is asked for one… */
const PING_AFTER_MS = 10_000;
/** …and after this long it is given up. */
const SILENCE_LIMIT_MS = 30_000;
const WATCH_INTERVAL_MS = 2_000;
/** The same while a file is sent to the server: a slow line may keep our PING waiting behind it. */
const UPLOAD_SILENCE_LIMIT_MS = 60_000;
/** How long a server may take to make a file durable, as long as it answers PING. */
const PUBLISH_LIMIT_MS = 600_000;

export interface ClientSettings {
  /** Name and version of the program, for the server's log. */
  agent: string;
  timeoutMs: number;
  /** If not given, no token and plain TCP. */
  security?: ClientSecurity | undefined;
}

export interface FetchRequest {
  path: string;
  offset: number;
  /** TO_END for all that follows. */
  length: number;
  /** What the server waits before it sends (seed 000: the source's delay). */
  delayMs: number;
  digest: DigestKind;
}

export interface SumsRequest {
  path: string;
  /** A power of two from 4 KiB to 1 MiB. */
  pieceBytes: number;
  digest: DigestKind;
  /** What the server knows from an earlier time will do: it need not read the file. Not for finding out what is rotten. */
  mayRecall?: boolean;
}

interface PendingRequest {
  /** Returns whether the answer is complete. A throw fails this request. */
  take(message: Message): boolean;
  failed(error: DrayError): void;
  /** How long the server may make no progress with it once it is its turn; infinite when it waits for us. */
  patienceMs(): number;
}

/** Message types that end an answer. */
const LAST_MESSAGES: readonly Message["type"][] = ["end", "listed", "done", "error"];
/** What a server says in an error is passed on up to this length. */
const MAX_MESSAGE_CHARACTERS = 300;
/** A server may ask for more patience than this, and does not get it. */
const MAX_RETRY_AFTER_MS = 60_000;

/** What a server counted in a complete listing. */
export interface ListCounts {
  files: number;
  directories: number;
  others: number;
}

const COUNTED_AS: Partial<Record<EntryKind, keyof ListCounts>> = { file: "files", directory: "directories" };

/** One connection to a server that speaks the dray protocol. Requests are pipelined. */
export class Client {
  readonly target: DialTarget;
  readonly #settings: ClientSettings;
  readonly #channel: Channel;
  readonly #uploads: UploadQueue;
  /** In the order in which they were asked, which is that of the answers. */
  readonly #pending = new Map<number, PendingRequest>();
  /** Requests that failed on our side while the server is still answering them. */
  readonly #drained = new Set<number>();
  readonly #welcomed = Promise.withResolvers<void>();
  readonly #watch: Timer;
  #nextRequestId = 1;
  #unansweredPuts = 0;
  #lastPingMs = 0;
  /** When the oldest request last made progress, on the clock of performance.now(). */
  #progressMs = performance.now();
  #capabilities = 0;
  #isWelcome = false;
  #closedBy: DrayError | undefined;
  /** Told once when the connection is gone, after all requests were failed. */
  onClosed: ((error: DrayError) => void) | undefined;

  /**
   * Connects and shakes hands.
   * @throws DrayError "unreachable", "timeout", "protocol", "unauthorized", "busy", "refused" (the server's certificate)…
   */
  static async connect(target: DialTarget, settings: ClientSettings): Promise<Client> {
    const ready = (connection: Connection): Client =>
      new Client(target, settings, (events) => new Channel(connection, CLIENT_TAKES, events));
    const client = await dial(target, settings.timeoutMs, ready, settings.security?.tls);
    await client.#welcomed.promise;
    return client;
  }

  /** Like connect, trying again while that can help. */
  static connectWithRetry(target: DialTarget, settings: ClientSettings, backoff: Backoff): Promise<Client> {
    return withRetry(backoff, () => Client.connect(target, settings));
  }

  private constructor(
    target: DialTarget,
    settings: ClientSettings,
    openChannel: (events: ConstructorParameters<typeof Channel>[2]) => Channel,
  ) {
    this.target = target;
    this.#settings = settings;
    this.#channel = openChannel({
      message: (message, requestId) => this.#take(message, requestId),
      failed: (error) => this.#fail(error),
      drained: () => this.#uploads.pump(),
      ended: () => this.#fail(new DrayError("closed", "the server ended the connection")),
      closed: (error) => this.#fail(error ?? new DrayError("closed", "the connection is closed")),
    });
    this.#uploads = new UploadQueue(this.#channel.connection);
    this.#channel.send({
      type: "hello",
      versionMin: PROTOCOL_VERSION,
      versionMax: PROTOCOL_VERSION,
      capabilities: 0,
      token: settings.security?.token ?? new Uint8Array(0),
      agent: settings.agent,
    });
    this.#watch = setInterval(() => this.#watchSilence(), WATCH_INTERVAL_MS);
    this.#welcomed.promise.catch(() => {}); // told through connect; never unhandled
  }

  /**
   * Why the connection is gone, if it is. The request that was being answered failed with this very
   * error, those behind it with errors that it is the cause of.
   */
  get closedBy(): DrayError | undefined {
    return this.#closedBy;
  }

  get isOpen(): boolean {
    return this.#closedBy === undefined;
  }

  /** @throws DrayError "unsupported" when the server does not offer what is needed */
  require(capability: (typeof CAPABILITY)[keyof typeof CAPABILITY], what: string): void {
    if ((this.#capabilities & capability) === 0) {
      throw new DrayError("unsupported", `the server does not offer ${what}`);
    }
  }

  /** Asks for a file or a part of it; the answer goes to the receiver. Settles when it is complete. */
  fetch(request: FetchRequest, receiver: FileReceiver): Promise<void> {
    const reply = new FetchReply(request.digest, request, receiver);
    const patienceMs = (): number => request.delayMs + SILENCE_LIMIT_MS;
    return this.#request({ type: "fetch", ...request }, patienceMs, (message) => reply.take(message));
  }

  /** Asks for the digests of a file's pieces. Settles when they are complete. */
  sums(request: SumsRequest, receiver: SumsReceiver): Promise<void> {
    const reply = new SumsReply(request.digest, request.pieceBytes, receiver);
    const patienceMs = (): number => SILENCE_LIMIT_MS;
    const { mayRecall = false, ...asked } = request;
    const type = mayRecall && (this.#capabilities & CAPABILITY.recall) !== 0 ? "recall" : "sums";
    return this.#request({ type, ...asked }, patienceMs, (message) => reply.take(message));
  }

  /**
   * Lists all that is at and below a path.
   * @param credit how many ENTRIES messages may be under way; `entries` resolves when it has taken
   *   its batch, and only then the server may send another
   * @throws DrayError "protocol" when the counts do not add up: a cut list is never taken for a short one
   */
  async list(
    path: string,
    credit: number,
    entries: (batch: ListEntry[]) => Promise<void> | void,
  ): Promise<ListCounts> {
    const received: ListCounts = { files: 0, directories: 0, others: 0 };
    let owed = credit;
    const patienceMs = (): number => (owed > 0 ? SILENCE_LIMIT_MS : Number.POSITIVE_INFINITY);
    let taken: Promise<void> = Promise.resolve();
    let refused: DrayError | undefined;
    const requestId = this.#nextRequestId;
    const listed = this.#request({ type: "list", path, credit }, patienceMs, (message) => {
      if (message.type === "entries") {
        if (--owed < 0)
          throw new DrayError("protocol", "the peer sent more of the list than it was asked for");
        for (const { kind } of message.entries) received[COUNTED_AS[kind] ?? "others"]++;
        taken = taken
          .then(async () => {
            await entries(message.entries);
            owed++;
            this.#progressMs = performance.now();
            if (this.isOpen) this.#channel.send({ type: "more", credit: 1 }, requestId);
          })
          .catch((error: unknown) => {
            refused ??= asDrayError(error);
            if (this.#pending.has(requestId)) this.#drained.add(requestId);
            this.#failRequest(requestId, error);
          });
        return false;
      }
      if (message.type !== "listed")
        throw new DrayError("protocol", `the peer sent "${message.type}" inside a list`);
      const isComplete = (["files", "directories", "others"] as const).every(
        (count) => message[count] === received[count],
      );
      if (!isComplete)
        throw new DrayError("protocol", "the list is incomplete: its end counts other entries than came");
      return true;
    });
    try {
      await listed;
    } finally {
      await taken; // what did arrive is taken before the list ends, in success and in failure
    }
    if (refused !== undefined) throw refused; // the end of the list was there before that was known
    return received;
  }

  /** Gives an order and follows it: every event's JSON until `isLast` says so. */
  order(json: string, isLast: (eventJson: string) => boolean): Promise<void> {
    const patienceMs = (): number => Number.POSITIVE_INFINITY; // an order takes as long as it takes
    return this.#request({ type: "order", json }, patienceMs, (message) => {
      if (message.type !== "event")
        throw new DrayError("protocol", `the peer sent "${message.type}" inside an order`);
      return isLast(message.json);
    });
  }

  /**
   * Gives the server a file. Settles when it is durable there. Uploads of one connection are sent one
   * after the other; small ones (`eager`) without waiting for anything.
   * @param source stays open until the promise settles
   * @param sent told of each piece that is sent, for progress
   * @returns how many of its bytes the server had already
   */
  async put(request: PutRequest, source: UploadSource, sent: (bytes: number) => void): Promise<number> {
    const requestId = this.#nextRequestId++;
    const sender = new UploadSender(request, requestId, source, sent);
    let resumedBytes = 0;
    const patienceMs = (): number => (sender.isComplete ? PUBLISH_LIMIT_MS : UPLOAD_SILENCE_LIMIT_MS);
    const answered = this.#await(requestId, patienceMs, (message) => {
      if (message.type === "done") return true;
      if (message.type !== "ready" || sender.isInvited || message.offset > request.size)
        throw new DrayError("protocol", `the peer sent "${message.type}" where it has no place`);
      resumedBytes = message.offset;
      sender.invite(message.offset);
      this.#uploads.pumpSoon();
      return false;
    });
    this.#uploads.add(sender);
    this.#unansweredPuts++;
    try {
      await answered;
    } catch (error) {
      sender.giveUp();
      this.#uploads.pumpSoon();
      throw sender.error ?? error;
    } finally {
      this.#unansweredPuts--;
    }
    return resumedBytes;
  }

  /** Removes a file from the server. Settles when that is durable. */
  remove(path: string): Promise<void> {
    return this.#change({ type: "remove", path });
  }

  /** Gives a file of the server another name. Settles when that is durable. */
  rename(from: string, to: string): Promise<void> {
    return this.#change({ type: "rename", from, to });
  }

  #change(message: Message): Promise<void> {
    return this.#request(
      message,
      () => PUBLISH_LIMIT_MS,
      (answer) => {
        if (answer.type !== "done")
          throw new DrayError("protocol", `the peer sent "${answer.type}" where it has no place`);
        return true;
      },
    );
  }

  /**
   * Lists what the server holds in memory.
   * @throws DrayError "protocol" when the count at the end is not that of the entries
   */
  cache(entries: (batch: CachedEntry[]) => void): Promise<void> {
    let received = 0;
    return this.#request(
      { type: "cache" },
      () => SILENCE_LIMIT_MS,
      (message) => {
        if (message.type === "cached") {
          received += message.entries.length;
          entries(message.entries);
          return false;
        }
        if (message.type !== "done" || message.count !== received)
          throw new DrayError("protocol", "the list of the cache is incomplete");
        return true;
      },
    );
  }

  /** Ends the connection; whatever is still asked for fails with the given reason. */
  close(reason = new DrayError("interrupted", "the transfer was stopped")): void {
    if (this.#pending.size === 0) this.#channel.connection.finish();
    this.#fail(reason);
  }

  #request(message: Message, patienceMs: () => number, take: (answer: Message) => boolean): Promise<void> {
    const requestId = this.#nextRequestId++;
    const answered = this.#await(requestId, patienceMs, take);
    if (this.isOpen) this.#channel.send(message, requestId);
    return answered;
  }

  /** Settles when the answer to a request is complete. */
  #await(requestId: number, patienceMs: () => number, take: (answer: Message) => boolean): Promise<void> {
    if (this.#closedBy !== undefined) return Promise.reject(this.#closedBy);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#pending.size === 0) this.#progressMs = performance.now();
    this.#pending.set(requestId, {
      failed: reject,
      patienceMs,
      take: (answer) => {
        const isComplete = take(answer);
        if (isComplete) resolve();
        return isComplete;
      },
    });
    return promise;
  }

  #take(message: Message, requestId: number): void {
    if (!this.#isWelcome) return this.#takeWelcome(message);
    if (requestId === 0) {
      if (message.type === "error") throw peerError(message);
      throw new DrayError("protocol", `the peer sent "${message.type}" that belongs to no request`);
    }
    const request = this.#pending.get(requestId);
    if (request === undefined) return this.#drain(message, requestId);
    this.#progressMs = performance.now();
    try {
      if (message.type === "error") throw peerError(message);
      if (request.take(message)) this.#pending.delete(requestId);
    } catch (error) {
      if (!LAST_MESSAGES.includes(message.type)) this.#drained.add(requestId);
      this.#failRequest(requestId, error);
    }
  }

  /** What still comes for a request that failed on our side. */
  #drain(message: Message, requestId: number): void {
    if (!this.#drained.has(requestId)) {
      throw new DrayError("protocol", `the peer sent "${message.type}" for a request that it was not asked`);
    }
    if (LAST_MESSAGES.includes(message.type)) this.#drained.delete(requestId);
  }

  #takeWelcome(message: Message): void {
    if (message.type === "error") {
      throw withContext("the server refused the connection", peerError(message));
    }
    if (message.type !== "welcome" || message.version !== PROTOCOL_VERSION) {
      throw new DrayError(
        "protocol",
        `the server does not speak version ${PROTOCOL_VERSION} of the dray protocol`,
      );
    }
    this.#capabilities = message.capabilities;
    this.#isWelcome = true;
    this.#welcomed.resolve();
  }

  #failRequest(requestId: number, error: unknown): void {
    const request = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    request?.failed(asDrayError(error));
  }

  #fail(error: DrayError): void {
    if (this.#closedBy !== undefined) return;
    this.#closedBy = error;
    clearInterval(this.#watch);
    this.#welcomed.reject(error);
    // Answers come in order: only the oldest request was being answered when the connection went, and
    // not even that one if the answer under way belongs to a request that had failed on our side.
    const [oldest] = this.#drained.size > 0 ? [] : this.#pending.keys();
    for (const requestId of [...this.#pending.keys()]) {
      this.#failRequest(requestId, requestId === oldest ? error : asBystander(error));
    }
    if (this.#channel.connection.isOpen) this.#channel.connection.destroy();
    this.onClosed?.(error);
  }

  #watchSilence(): void {
    if (this.#isWelcome && this.#pending.size === 0) return;
    const nowMs = performance.now();
    const { lastTakenMs } = this.#channel.connection;
    const isUploading = this.#unansweredPuts > 0;
    const silentMs = nowMs - Math.max(this.#channel.lastHeardMs, isUploading ? lastTakenMs : 0);
    const limitMs = !this.#isWelcome
      ? this.#settings.timeoutMs
      : isUploading
        ? UPLOAD_SILENCE_LIMIT_MS
        : SILENCE_LIMIT_MS;
    const progressMs = Math.max(this.#progressMs, isUploading ? lastTakenMs : 0);
    const [oldest] = this.#pending.values();
    if (oldest !== undefined && this.#isWelcome && nowMs - progressMs > oldest.patienceMs()) {
      this.#fail(new DrayError("timeout", "the server made no progress with what it was asked for"));
    } else if (silentMs > limitMs) {
      this.#fail(new DrayError("timeout", `the server has been silent for ${Math.round(silentMs / 1000)} s`));
    } else if (
      this.#isWelcome &&
      // A server that hears nothing of a client that takes slowly would give it up.
      Math.max(silentMs, nowMs - lastTakenMs) > PING_AFTER_MS &&
      nowMs - this.#lastPingMs > PING_AFTER_MS
    ) {
      this.#lastPingMs = nowMs;
      this.#channel.send({ type: "ping" });
    }
  }
}

/** The same error for a request that had no part in it: its cause is the one that ended the connection. */
function asBystander(error: DrayError): DrayError {
  return new DrayError(error.code, error.message, { cause: error, retryAfterMs: error.retryAfterMs });
}

function peerError(message: Extract<Message, { type: "error" }>): DrayError {
  const text = message.message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed();
  const retryAfterMs = Math.min(message.retryAfterMs, MAX_RETRY_AFTER_MS);
  return new DrayError(message.code, text, { retryAfterMs });
}
