import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Connection } from "../net/connection.ts";
import { type Message, PROTOCOL_VERSION, SERVER_TAKES } from "../wire/messages.ts";
import { Channel } from "./channel.ts";
import type { Moved } from "./pace.ts";
import { type BodyMessage, OutBuffer, type Responder } from "./responder.ts";

/** Who asks: known from the handshake on, the same for every request of a connection. */
export interface ClientIdentity {
  /** The name of the token that it gave; undefined when the token has none, or none is asked for. */
  readonly name: string | undefined;
  /** The peer's IP address, without the port. */
  readonly address: string;
}

/** What a kind of server can do. */
export interface Services {
  /** Bits of CAPABILITY. */
  capabilities: number;
  /** Program and version, told to clients. */
  agent: string;
  /**
   * The answer to a request, or undefined for one that this server does not offer. `wake` is to be
   * called when an answer that waited has something to send.
   * @throws DrayError to refuse the request
   */
  respond(
    request: Message,
    requestId: number,
    wake: () => void,
    client: ClientIdentity,
  ): Responder | undefined;
}

export interface SessionEvents {
  /**
   * Says who gives this token; `token` is valid only during the call.
   * @returns the token's name, if it has one
   * @throws DrayError "unauthorized" or "busy" to end the connection
   */
  admit(session: Session, token: Uint8Array): string | undefined;
  closed(session: Session, error: DrayError | undefined): void;
}

/** Requests of one connection that wait for their answer: more is a breach of the protocol. */
const MAX_REQUESTS = 256;
/** How much one connection may send before the others get their turn. */
const TURN_BYTES = 4 * 1024 * 1024;
/** Holds one batch of a list, or two pieces of a file with their frames. */
const OUT_BUFFER_BYTES = 560 * 1024;
const MAX_ERROR_CHARACTERS = 2_000;
/** From strangers: nothing large is kept of what they send. */
const BEFORE_HELLO_TAKES = ["hello", "ping", "pong"] as const;
/** A timer takes no more; a longer wait is taken up again when it ends. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** One write buffer for all sessions of a thread: it is full only between two lines of one function. */
const shared = new OutBuffer(OUT_BUFFER_BYTES);

interface QueuedRequest {
  requestId: number;
  responder: Responder;
  /** Not before this moment, on the clock of performance.now(). */
  startsAtMs: number;
}

/**
 * The server's half of a connection: handshake, then requests, answered in the order in which they
 * came. Delays of waiting requests run at the same time.
 */
export class Session {
  readonly #channel: Channel;
  readonly #services: Services;
  readonly #events: SessionEvents;
  readonly #queue: QueuedRequest[] = [];
  readonly #openedMs = performance.now();
  readonly #address: string;
  #client: ClientIdentity;
  #isWelcome = false;
  #isEnding = false;
  #hasClientEnded = false;
  #timer: Timer | undefined;
  #turnQueued = false;
  #pumpQueued = false;
  /** Requests that came while the server was shutting down. */
  #turnedAway = 0;
  /** The PUT whose END has not come yet: one at a time, whatever has become of it. */
  #bodyOf: number | undefined;

  constructor(connection: Connection, services: Services, events: SessionEvents) {
    this.#services = services;
    this.#events = events;
    this.#address = connection.address;
    this.#client = { name: undefined, address: connection.address };
    this.#channel = new Channel(connection, BEFORE_HELLO_TAKES, {
      message: (message, requestId) => this.#take(message, requestId),
      failed: (error) => this.refuse(error),
      drained: () => this.#pump(),
      ended: () => {
        this.#hasClientEnded = true;
        this.finish();
        this.#pump();
      },
      closed: (error) => {
        clearTimeout(this.#timer);
        for (const request of this.#queue.splice(0)) request.responder.release();
        events.closed(this, error);
      },
    });
  }

  get peer(): string {
    return this.#channel.connection.peer;
  }

  /** The peer's IP address, without the port. */
  get address(): string {
    return this.#address;
  }

  /** When the connection was accepted, on the clock of performance.now(). */
  get openedMs(): number {
    return this.#openedMs;
  }

  get isWelcome(): boolean {
    return this.#isWelcome;
  }

  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  /** When the client last sent anything, on the clock of performance.now(). */
  get lastHeardMs(): number {
    return this.#channel.lastHeardMs;
  }

  /** When the client last sent or took anything, on the clock of performance.now(). */
  get lastMovedMs(): number {
    return Math.max(this.#channel.lastHeardMs, this.#channel.connection.lastTakenMs);
  }

  /**
   * What the client has moved, while there are bytes for it to take, or the rest of a message for it
   * to send; undefined while there is nothing of this kind.
   */
  get moved(): Moved | undefined {
    const { connection } = this.#channel;
    if (connection.pendingBytes > 0) return { bytes: connection.takenBytes, lastMs: connection.lastTakenMs };
    if (!this.#channel.isInsideMessage) return undefined;
    return { bytes: this.#channel.heardBytes, lastMs: this.#channel.lastHeardMs };
  }

  /** Whether nothing goes on until the client does its part, and says more. */
  get waitsForClient(): boolean {
    return this.#queue[0]?.responder.waitsForClient?.() === true;
  }

  /** Takes no further request; ends when the running ones are answered. */
  finish(): void {
    this.#isEnding = true;
    if (!this.isBusy) this.#channel.connection.finish();
  }

  /** Tells the client why and ends; what is still asked for is not answered. */
  refuse(error: DrayError): void {
    this.#sendError(error, 0);
    this.#channel.connection.finish(error);
  }

  destroy(error?: DrayError): void {
    this.#channel.connection.destroy(error);
  }

  #take(message: Message, requestId: number): void {
    if (!this.#isWelcome) return this.#shakeHands(message);
    if (message.type === "more") {
      this.#queue.find((request) => request.requestId === requestId)?.responder.more?.(message.credit);
      return this.#pump();
    }
    if (message.type === "data" || message.type === "end") return this.#takeBody(message, requestId);
    if (message.type === "hello" || requestId === 0) {
      throw new DrayError("protocol", `the peer sent "${message.type}" where it has no place`);
    }
    if (this.#queue.length >= MAX_REQUESTS) {
      throw new DrayError("protocol", `the peer has more than ${MAX_REQUESTS} requests under way`);
    }
    if (message.type === "put") this.#beginBody(requestId);
    if (this.#isEnding) return this.#turnAway(requestId);
    this.#enqueue(message, requestId);
  }

  #beginBody(requestId: number): void {
    if (this.#bodyOf !== undefined)
      throw new DrayError("protocol", "the peer sent a PUT before END of another one");
    this.#bodyOf = requestId;
  }

  #takeBody(message: BodyMessage, requestId: number): void {
    if (requestId !== this.#bodyOf)
      throw new DrayError("protocol", `the peer sent "${message.type}" that belongs to no PUT`);
    if (message.type === "end") this.#bodyOf = undefined;
    const request = this.#queue.find((queued) => queued.requestId === requestId);
    if (request === undefined) return; // it has failed already
    try {
      request.responder.body?.(message);
    } catch (error) {
      request.responder.release();
      request.responder = failing(asDrayError(error));
    }
    this.#pumpSoon();
  }

  #turnAway(requestId: number): void {
    const error = new DrayError("closed", "the server is shutting down");
    if (++this.#turnedAway > MAX_REQUESTS) this.destroy(error);
    else this.#sendError(error, requestId);
  }

  #enqueue(message: Message, requestId: number): void {
    const delayMs = message.type === "fetch" ? message.delayMs : 0;
    const startsAtMs = performance.now() + delayMs;
    this.#queue.push({ requestId, startsAtMs, responder: this.#responderFor(message, requestId) });
    this.#pumpSoon();
  }

  /** Requests that come together are answered together: many small files leave in one write. */
  #pumpSoon(): void {
    if (this.#pumpQueued) return;
    this.#pumpQueued = true;
    queueMicrotask(() => {
      this.#pumpQueued = false;
      this.#pump();
    });
  }

  #responderFor(message: Message, requestId: number): Responder {
    try {
      const responder = this.#services.respond(message, requestId, () => this.#pump(), this.#client);
      if (responder !== undefined) return responder;
      return failing(new DrayError("unsupported", `this server does not offer "${message.type}"`));
    } catch (error) {
      return failing(asDrayError(error));
    }
  }

  #shakeHands(message: Message): void {
    if (message.type !== "hello") throw new DrayError("protocol", "the peer did not begin with HELLO");
    if (message.versionMin > PROTOCOL_VERSION || message.versionMax < PROTOCOL_VERSION) {
      return this.refuse(
        new DrayError(
          "unsupported",
          `this server speaks version ${PROTOCOL_VERSION} of the protocol, the client ${message.versionMin} to ${message.versionMax}`,
        ),
      );
    }
    this.#client = { ...this.#client, name: this.#events.admit(this, message.token) };
    this.#isWelcome = true;
    this.#channel.takes(SERVER_TAKES);
    const { capabilities, agent } = this.#services;
    this.#channel.send({
      type: "welcome",
      version: PROTOCOL_VERSION,
      capabilities,
      maxRequests: MAX_REQUESTS,
      agent,
    });
  }

  /** Sends as long as there is something to send and the system takes it, up to one turn. */
  #pump(): void {
    const connection = this.#channel.connection;
    let turnBytes = 0;
    while (this.#queue.length > 0 && connection.isOpen && connection.pendingBytes === 0) {
      if (turnBytes >= TURN_BYTES) return this.#queueTurn();
      const filled = this.#fillShared();
      turnBytes += filled.usedBytes;
      if (filled.usedBytes > 0) connection.write(shared.frames);
      else if (filled.isWaiting) return this.#giveUpIfEnded();
    }
    if (this.#isEnding && this.#queue.length === 0) connection.finish();
  }

  /** What waits for a client that has said its last word waits for ever. */
  #giveUpIfEnded(): void {
    if (!this.#hasClientEnded || !this.waitsForClient) return;
    this.refuse(
      new DrayError("closed", "the client ended its side before it gave what the rest of the answer needs"),
    );
  }

  /** Puts frames of as many requests as fit. */
  #fillShared(): { usedBytes: number; isWaiting: boolean } {
    shared.empty();
    let isWaiting = false;
    for (let head = this.#queue[0]; head !== undefined && !isWaiting; head = this.#queue[0]) {
      const remainingMs = head.startsAtMs - performance.now();
      if (remainingMs > 0) {
        this.#wakeIn(remainingMs);
        isWaiting = true;
        break;
      }
      const result = this.#fillFrom(head);
      if (result === "more") break;
      if (result === "waiting") isWaiting = true;
      else this.#queue.shift()!.responder.release();
    }
    return { usedBytes: shared.usedBytes, isWaiting };
  }

  #fillFrom({ responder, requestId }: QueuedRequest): "more" | "waiting" | "done" {
    try {
      return responder.fill(shared);
    } catch (error) {
      const message = errorMessage(asDrayError(error));
      if (!shared.fits(message)) {
        this.#queue[0] = { requestId, startsAtMs: 0, responder: failing(asDrayError(error)) };
        responder.release();
        return "more";
      }
      shared.put(message, requestId);
      return "done";
    }
  }

  #wakeIn(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#pump(), Math.min(Math.ceil(delayMs), MAX_TIMER_MS));
  }

  #queueTurn(): void {
    if (this.#turnQueued) return;
    this.#turnQueued = true;
    setImmediate(() => {
      this.#turnQueued = false;
      this.#pump();
    });
  }

  #sendError(error: DrayError, requestId: number): void {
    this.#channel.send(errorMessage(error), requestId);
  }
}

function errorMessage(error: DrayError): Message {
  const message = error.message.slice(0, MAX_ERROR_CHARACTERS).toWellFormed();
  return { type: "error", code: error.code, retryAfterMs: error.retryAfterMs, message };
}

function failing(error: DrayError): Responder {
  return {
    fill: () => {
      throw error;
    },
    release: () => {},
  };
}
