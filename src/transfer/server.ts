import { DrayError } from "../errors/dray-error.ts";
import type { Connection } from "../net/connection.ts";
import { type Listener, listen } from "../net/listener.ts";
import { type Services, Session } from "./session.ts";

export interface ServerSettings {
  address: string;
  /** 0 picks a free one. */
  port: number;
  maxConnections: number;
}

export interface ServerLog {
  debug(message: string): void;
  warn(message: string): void;
}

/** How long a new connection may take to say HELLO. */
const HANDSHAKE_LIMIT_MS = 10_000;
/** How long a client may take nothing of what waits for it, or say nothing when it is its turn. */
const STALL_LIMIT_MS = 60_000;
/** How long a connection may be without any request. */
const IDLE_LIMIT_MS = 300_000;
/** How many connections may be told at the same time that there is no room; more are just closed. */
const MAX_REFUSED = 64;
const SWEEP_INTERVAL_MS = 1_000;
const BUSY_RETRY_AFTER_MS = 1_000;

/** Serves the dray protocol: accepts up to a number of connections and ends the ones that hang. */
export class Server {
  readonly #services: Services;
  readonly #log: ServerLog;
  readonly #maxConnections: number;
  readonly #sessions = new Set<Session>();
  /** Those that are only being told that there is no room. */
  readonly #refused = new Set<Session>();
  readonly #listener: Listener;
  readonly #sweep: Timer;
  #allClosed: (() => void) | undefined;
  #isStopping = false;

  /** @throws DrayError "usage" when the address cannot be bound */
  constructor(settings: ServerSettings, services: Services, log: ServerLog) {
    this.#services = services;
    this.#log = log;
    this.#maxConnections = settings.maxConnections;
    this.#listener = listen(settings.address, settings.port, (connection) => this.#accept(connection));
    this.#sweep = setInterval(() => this.#endHanging(), SWEEP_INTERVAL_MS);
  }

  get address(): string {
    return this.#listener.address;
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Accepts nothing more, lets the running requests finish, and resolves when all is closed. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#listener.stop();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#allClosed = resolve;
    for (const session of this.#sessions) session.finish();
    if (this.#sessions.size === 0) resolve();
    await promise;
    clearInterval(this.#sweep);
  }

  /** Ends every connection, telling the clients why; `stop` then resolves soon. */
  abandon(reason: DrayError): void {
    for (const session of this.#sessions) session.refuse(reason);
  }

  #accept(connection: Connection): void {
    const session = new Session(connection, this.#services, {
      closed: (closed, error) => this.#closed(closed, error),
    });
    if (this.#isStopping) return session.destroy();
    if (this.#sessions.size < this.#maxConnections) return void this.#sessions.add(session);
    if (this.#refused.size >= MAX_REFUSED) return session.destroy();
    this.#refused.add(session);
    const limit = `this server already has its ${this.#maxConnections} connections`;
    session.refuse(new DrayError("busy", limit, { retryAfterMs: BUSY_RETRY_AFTER_MS }));
  }

  #closed(session: Session, error: DrayError | undefined): void {
    this.#refused.delete(session);
    this.#sessions.delete(session);
    if (error?.code === "protocol" || error?.code === "internal")
      this.#log.warn(`${session.peer}: ${error.message}`);
    else if (error !== undefined) this.#log.debug(`${session.peer}: ${error.message}`);
    if (this.#sessions.size === 0) this.#allClosed?.();
  }

  #endHanging(): void {
    const nowMs = performance.now();
    for (const session of this.#sessions) {
      const limitMs = !session.isWelcome
        ? HANDSHAKE_LIMIT_MS
        : session.isBlocked || session.waitsForClient
          ? STALL_LIMIT_MS
          : session.isBusy
            ? Number.POSITIVE_INFINITY
            : IDLE_LIMIT_MS;
      if (nowMs - session.lastActiveMs > limitMs) {
        session.destroy(new DrayError("timeout", "the client made no progress in time"));
      }
    }
  }
}
