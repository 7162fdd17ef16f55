import { DrayError } from "../errors/dray-error.ts";
import { addressGroup } from "../net/address.ts";
import type { Connection } from "../net/connection.ts";
import { type Listener, listen } from "../net/listener.ts";
import type { ServerTls } from "../net/tls.ts";
import { AddressLimit } from "./address-limit.ts";
import { Pace } from "./pace.ts";
import type { ServerSecurity } from "./security.ts";
import { type Services, Session } from "./session.ts";

export interface ServerSettings {
  address: string;
  /** 0 picks a free one. */
  port: number;
  maxConnections: number;
  /** Of one address, or one IPv6 network; if not given, only maxConnections counts. */
  maxPerAddress?: number;
  /** How long a connection may be without any request; 5 minutes if not given. */
  idleTimeoutMs?: number;
  /** Bytes a second that a client has to take at least of what waits for it; 1024 if not given, 0: any pace will do. */
  minRate?: number;
  /** If not given, everybody is let in, over plain TCP. */
  security?: ServerSecurity;
}

export interface ServerLog {
  debug(message: string): void;
  warn(message: string): void;
}

/** How long a new connection may take to say HELLO, the TLS handshake included. */
const HANDSHAKE_LIMIT_MS = 10_000;
/** How long a client may say nothing when it is its turn. */
const STALL_LIMIT_MS = 60_000;
/** A client that has said something since then is alive. */
const ALIVE_MS = 30_000;
const IDLE_LIMIT_MS = 300_000;
const MIN_RATE = 1024;
/** How many connections may be told at the same time that there is no room; more are just closed. */
const MAX_REFUSED = 64;
const SWEEP_INTERVAL_MS = 1_000;
const BUSY_RETRY_AFTER_MS = 1_000;

/** A connection that is served. */
interface Guest {
  /** What the limit per address counts. */
  group: string;
  pace: Pace;
}

/** Serves the dray protocol: lets in whom it may, up to a number of connections, and ends the ones that hang. */
export class Server {
  readonly #settings: ServerSettings;
  readonly #services: Services;
  readonly #log: ServerLog;
  readonly #guests = new Map<Session, Guest>();
  /** How many of them each address has. */
  readonly #perAddress = new Map<string, number>();
  /** Wrong tokens. */
  readonly #guesses = new AddressLimit();
  /** Warnings: whoever floods us does not fill the disk with the log of it. */
  readonly #warnings = new AddressLimit();
  /** Those that are only being told that there is no room. */
  readonly #refused = new Set<Session>();
  readonly #listener: Listener;
  readonly #sweep: Timer;
  #allClosed: (() => void) | undefined;
  #isStopping = false;

  /** @throws DrayError "usage" when the address cannot be bound */
  constructor(settings: ServerSettings, services: Services, log: ServerLog) {
    this.#settings = settings;
    this.#services = services;
    this.#log = log;
    const { address, port, security } = settings;
    const accept = (connection: Connection): void => this.#accept(connection);
    this.#listener = listen(address, port, accept, liveTls(security));
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
    for (const session of this.#guests.keys()) session.finish();
    if (this.#guests.size === 0) resolve();
    await promise;
    clearInterval(this.#sweep);
  }

  /** Ends every connection, telling the clients why; `stop` then resolves soon. */
  abandon(reason: DrayError): void {
    for (const session of this.#guests.keys()) session.refuse(reason);
  }

  #accept(connection: Connection): void {
    const session = new Session(connection, this.#services, {
      admit: (asking, token) => this.#admit(asking, token),
      closed: (closed, error) => this.#closed(closed, error),
    });
    if (this.#isStopping) return session.destroy();
    const group = addressGroup(session.address);
    const full = this.#fullFor(group);
    if (full === undefined) {
      this.#perAddress.set(group, this.#connectionsOf(group) + 1);
      this.#guests.set(session, { group, pace: new Pace(this.#minRate) });
      return;
    }
    if (this.#refused.size >= MAX_REFUSED) return session.destroy();
    this.#refused.add(session);
    session.refuse(new DrayError("busy", full, { retryAfterMs: BUSY_RETRY_AFTER_MS }));
  }

  /** Why there is no room for one more. */
  #fullFor(group: string): string | undefined {
    const { maxConnections, maxPerAddress = maxConnections } = this.#settings;
    if (this.#guests.size >= maxConnections)
      return `this server already has its ${maxConnections} connections`;
    if (this.#connectionsOf(group) < maxPerAddress) return undefined;
    return `this server already has ${maxPerAddress} connections of this address`;
  }

  #connectionsOf(group: string): number {
    return this.#perAddress.get(group) ?? 0;
  }

  #admit(session: Session, token: Uint8Array): string | undefined {
    const tokens = this.#settings.security?.tokens;
    if (tokens === undefined) return undefined;
    if (token.length === 0) {
      throw new DrayError("unauthorized", "this server asks for a token (--token-file)");
    }
    const group = addressGroup(session.address);
    const nowMs = performance.now();
    const retryAfterMs = this.#guesses.waitMs(group, nowMs);
    if (retryAfterMs > 0) {
      throw new DrayError("busy", "there were too many wrong tokens from this address", { retryAfterMs });
    }
    const found = tokens.find(token);
    if (found !== undefined) return found.name;
    this.#guesses.count(group, nowMs);
    throw new DrayError("unauthorized", "the token is not one that this server lets in");
  }

  #closed(session: Session, error: DrayError | undefined): void {
    this.#refused.delete(session);
    this.#forget(session);
    if (error !== undefined) this.#report(session, error);
    if (this.#guests.size === 0) this.#allClosed?.();
  }

  #report(session: Session, error: DrayError): void {
    const group = addressGroup(session.address);
    const nowMs = performance.now();
    const isWarning = NOTABLE.has(error.code) && this.#warnings.waitMs(group, nowMs) === 0;
    if (isWarning) this.#warnings.count(group, nowMs);
    const text = `${session.peer}: ${error.message}`;
    if (isWarning) this.#log.warn(text);
    else this.#log.debug(text);
  }

  #forget(session: Session): void {
    const guest = this.#guests.get(session);
    if (guest === undefined) return;
    this.#guests.delete(session);
    const left = this.#connectionsOf(guest.group) - 1;
    if (left > 0) this.#perAddress.set(guest.group, left);
    else this.#perAddress.delete(guest.group);
  }

  #endHanging(): void {
    const nowMs = performance.now();
    for (const [session, { pace }] of this.#guests) {
      const why = this.#hangs(session, pace, nowMs);
      if (why !== undefined) session.destroy(new DrayError("timeout", why));
    }
    for (const session of this.#refused) {
      if (nowMs - session.openedMs > HANDSHAKE_LIMIT_MS) session.destroy();
    }
  }

  /** Why a connection is to be ended, if it is. */
  #hangs(session: Session, pace: Pace, nowMs: number): string | undefined {
    if (!session.isWelcome) {
      const isLate = nowMs - session.openedMs > HANDSHAKE_LIMIT_MS;
      return isLate ? "the client did not say HELLO in time" : undefined;
    }
    const { moved } = session;
    const isAlive = nowMs - session.lastHeardMs <= ALIVE_MS;
    if (pace.isTooSlow(nowMs, moved, isAlive)) return "the client was too slow for too long";
    if (moved !== undefined && this.#minRate > 0) return undefined;
    if (moved === undefined && session.isBusy && !session.waitsForClient) return undefined;
    const limitMs = session.waitsForClient ? STALL_LIMIT_MS : (this.#settings.idleTimeoutMs ?? IDLE_LIMIT_MS);
    return nowMs - session.lastMovedMs > limitMs ? "the client made no progress in time" : undefined;
  }

  get #minRate(): number {
    return this.#settings.minRate ?? MIN_RATE;
  }
}

/** What somebody who runs a server wants to see without asking for it. */
const NOTABLE: ReadonlySet<string> = new Set(["protocol", "internal", "unauthorized"]);

function liveTls(security: ServerSecurity | undefined): (() => ServerTls) | undefined {
  return security?.tls === undefined ? undefined : () => security.tls!;
}
