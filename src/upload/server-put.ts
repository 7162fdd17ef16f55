import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import type { Client, ClientSettings } from "../transfer/client.ts";
import type { DigestKind } from "../wire/digest.ts";
import { CAPABILITY } from "../wire/messages.ts";
import type { LocalFile } from "./local-files.ts";
import { type FileOpener, type PutOutcome, type PutTask, isWorthRetrying, putOnce } from "./put-task.ts";
import { connectWithin, sleep } from "./server-link.ts";

export interface ServerPutSettings {
  client: ClientSettings;
  digest: DigestKind;
  /** Connections to the server. */
  connections: number;
  attempts: number;
  /** How long to try to reach a server for the first time. */
  timeoutMs: number;
  /** How long a server that was there may be gone. */
  patienceMs: number;
  signal: AbortSignal;
}

export interface ServerPutEvents {
  sent(bytes: number): void;
  done(file: LocalFile, outcome: PutOutcome): void;
  failed(file: LocalFile, error: DrayError): void;
  retrying(file: LocalFile, error: DrayError, failures: number): void;
  /** Resolves when whoever is told has room for more. */
  room(): Promise<void>;
}

/** Files that one connection has under way at most: enough to hide the round trip and to be made durable together. */
const MAX_UNDER_WAY = 64;
/** And how much they may have together, so that connections share large files. */
const MAX_UNDER_WAY_BYTES = 8 * 1024 * 1024;
const RETRY_PAUSE_MS = 250;

/** Puts files on one server, over several connections. */
export class ServerPut {
  readonly #target: DialTarget;
  readonly #settings: ServerPutSettings;
  readonly #opener: FileOpener;
  readonly #files: Iterator<LocalFile>;
  readonly #events: ServerPutEvents;
  readonly #again: PutTask[] = [];
  /** Connections that get no further task. */
  readonly #leaving = new WeakSet<Client>();
  /** Tasks that are under way on any connection, or wait for their pause: they may come back. */
  #unsettled = 0;
  #lanes = 0;
  #idleLanes: (() => void)[] = [];
  #error: DrayError | undefined;

  constructor(
    target: DialTarget,
    files: Iterator<LocalFile>,
    opener: FileOpener,
    settings: ServerPutSettings,
    events: ServerPutEvents,
  ) {
    this.#target = target;
    this.#files = files;
    this.#opener = opener;
    this.#settings = settings;
    this.#events = events;
  }

  /** @returns why the server was given up, if it was: then files are left over */
  async run(): Promise<DrayError | undefined> {
    const { connections, timeoutMs } = this.#settings;
    let first: Client;
    try {
      first = await this.#connect(timeoutMs);
    } catch (error) {
      return asDrayError(error);
    }
    this.#lanes = connections;
    await Promise.all(
      Array.from({ length: connections }, (_, index) => this.#lane(index === 0 ? first : undefined)),
    );
    return this.#error;
  }

  async #connect(limitMs: number): Promise<Client> {
    const { client: settings, signal } = this.#settings;
    const client = await connectWithin(this.#target, settings, limitMs, signal);
    try {
      client.require(CAPABILITY.writes, "to take files (it was started without --writable)");
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  async #lane(opened: Client | undefined): Promise<void> {
    let client = opened;
    for (let task = await this.#next(); task !== undefined; task = await this.#next()) {
      try {
        if (client === undefined || !this.#isGood(client)) {
          client?.close();
          client = await this.#connect(client === undefined ? 0 : this.#settings.patienceMs);
        }
      } catch (error) {
        // A server that lets in fewer connections is served by those.
        this.#again.push(task);
        this.#unsettled--;
        if (--this.#lanes === 0) this.#error ??= asDrayError(error);
        return this.#wake();
      }
      await this.#fill(client, task);
    }
    client?.close();
  }

  /** Keeps one connection busy as long as it is good, and there is something to do. */
  async #fill(client: Client, first: PutTask): Promise<void> {
    const { signal } = this.#settings;
    const abort = (): void => client.close(asDrayError(signal.reason));
    signal.addEventListener("abort", abort);
    const underWay = new Set<Promise<void>>();
    let underWayBytes = 0;
    const start = (task: PutTask): void => {
      const { sizeBytes } = task.file;
      underWayBytes += sizeBytes;
      const settled = this.#put(client, task).finally(() => {
        underWay.delete(settled);
        underWayBytes -= sizeBytes;
      });
      underWay.add(settled);
    };
    start(first);
    try {
      while (underWay.size > 0) {
        while (this.#isGood(client) && underWay.size < MAX_UNDER_WAY && underWayBytes < MAX_UNDER_WAY_BYTES) {
          const task = this.#take();
          if (task === undefined) break;
          start(task);
        }
        await Promise.race(underWay);
      }
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #isGood(client: Client): boolean {
    return client.isOpen && !this.#leaving.has(client);
  }

  async #put(client: Client, task: PutTask): Promise<void> {
    let sentBytes = 0;
    const sent = (bytes: number): void => {
      sentBytes += bytes;
      this.#events.sent(bytes);
    };
    try {
      this.#events.done(task.file, await putOnce(client, task, this.#opener, this.#settings.digest, sent));
    } catch (error) {
      const known = asDrayError(error);
      if (!this.#settings.signal.aborted) await this.#retry(client, task, known, sentBytes);
    }
    await this.#events.room();
    this.#unsettled--;
    this.#wake();
  }

  async #retry(client: Client, task: PutTask, error: DrayError, sentBytes: number): Promise<void> {
    const { attempts, signal } = this.#settings;
    const { closedBy } = client;
    // A server that shuts down finishes what it has begun, and turns everything else away.
    if (error.code === "closed") this.#leaving.add(client);
    const connection = closedBy === undefined ? "open" : closedBy === error ? "cause" : "bystander";
    if (!isWorthRetrying(task, { error, connection, sentBytes }, attempts))
      return this.#events.failed(task.file, error);
    if (connection !== "bystander") {
      this.#events.retrying(task.file, error, task.failures);
      await sleep(Math.max(RETRY_PAUSE_MS * task.failures, error.retryAfterMs), signal);
    }
    this.#again.push(task);
  }

  /** The next task; waits while one that is under way elsewhere may come back. */
  async #next(): Promise<PutTask | undefined> {
    for (;;) {
      const task = this.#take();
      if (task !== undefined || this.#unsettled === 0) return task;
      await new Promise<void>((resolve) => this.#idleLanes.push(resolve));
    }
  }

  #take(): PutTask | undefined {
    if (this.#error !== undefined || this.#settings.signal.aborted) return undefined;
    const again = this.#again.shift();
    const next = again === undefined ? this.#files.next() : undefined;
    if (next?.done === true) return undefined;
    this.#unsettled++;
    return again ?? { file: next!.value, failures: 0 };
  }

  #wake(): void {
    for (const resume of this.#idleLanes.splice(0)) resume();
  }
}
