import { type DrayError, asDrayError, isNotFound } from "../errors/dray-error.ts";
import { type DialTarget, showTarget } from "../net/dial.ts";
import type { Client } from "../transfer/client.ts";
import { CAPABILITY } from "../wire/messages.ts";
import type { ServerOutcome } from "./put-run.ts";
import type { ServerPutSettings } from "./server-put.ts";
import { connectWithin, sleep } from "./server-link.ts";

const RETRY_PAUSE_MS = 250;

/** One of the servers that share a split file, with what became of it. All but the parts goes over one connection. */
export class PartServer implements ServerOutcome {
  readonly target: DialTarget;
  /** As "host:port", which is what placement goes by. */
  readonly name: string;
  readonly #settings: ServerPutSettings;
  #connecting: Promise<Client> | undefined;
  #client: Client | undefined;
  /** Copies that are there, durable, and their bytes. */
  files = 0;
  bytes = 0;
  bytesTransferred = 0;
  bytesResumed = 0;
  failed = 0;
  isOver = false;
  error: DrayError | undefined;
  /** Copies that it shall have, and their bytes. */
  wantedFiles = 0;
  wantedBytes = 0;

  constructor(target: DialTarget, settings: ServerPutSettings) {
    this.target = target;
    this.name = showTarget(target);
    this.#settings = settings;
  }

  get isLost(): boolean {
    return this.error !== undefined;
  }

  /**
   * Asks the server something, and again over another connection while that can help.
   * @throws DrayError: the server's own, or why it was given up, which `error` holds from then on
   */
  async ask<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const { attempts, signal } = this.#settings;
    for (let failures = 1; ; failures++) {
      const client = await this.#connected();
      try {
        return await work(client);
      } catch (error) {
        signal.throwIfAborted();
        const known = asDrayError(error);
        const isDamaged = !client.isOpen && known.code === "protocol";
        if (!known.retryable && !isDamaged) throw known;
        if (failures >= attempts) {
          if (!client.isOpen) this.error ??= known;
          throw known;
        }
        await sleep(Math.max(RETRY_PAUSE_MS * failures, known.retryAfterMs), signal);
      }
    }
  }

  /** The same, with undefined for what is not there. */
  async askFor<T>(work: (client: Client) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.ask(work);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Nothing more is asked of it. */
  giveUp(error: DrayError): void {
    this.error ??= error;
    this.close();
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  #connected(): Promise<Client> {
    if (this.error !== undefined) return Promise.reject(this.error);
    if (this.#client?.isOpen === true) return Promise.resolve(this.#client);
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  async #connect(): Promise<Client> {
    const { client: settings, timeoutMs, patienceMs, signal } = this.#settings;
    try {
      const limitMs = this.#client === undefined ? timeoutMs : patienceMs;
      const client = await connectWithin(this.target, settings, limitMs, signal);
      this.#client = client;
      client.require(CAPABILITY.writes, "to take files (it was started without --writable)");
      return client;
    } catch (error) {
      signal.throwIfAborted();
      throw (this.error ??= asDrayError(error));
    }
  }
}
