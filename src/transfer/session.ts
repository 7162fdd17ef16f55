import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Connection } from "../net/connection.ts";
import { type Message, PROTOCOL_VERSION, SERVER_TAKES } from "../wire/messages.ts";
import { Channel } from "./channel.ts";
import { OutBuffer, type Responder } from "./responder.ts";

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
  respond(request: Message, requestId: number, wake: () => void): Responder | undefined;
}

export interface SessionEvents {
  closed(session: Session, error: DrayError | undefined): void;
}

/** Requests of one connection that wait for their answer: more is a breach of the protocol. */
const MAX_REQUESTS = 256;
/** How much one connection may send before the others get their turn. */
const TURN_BYTES = 4 * 1024 * 1024;
/** Holds one batch of a list, or two pieces of a file with their frames. */
const OUT_BUFFER_BYTES = 560 * 1024;
const MAX_ERROR_CHARACTERS = 2_000;
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
  readonly #queue: QueuedRequest[] = [];
  #isWelcome = false;
  #isEnding = false;
  #hasClientEnded = false;
  #timer: Timer | undefined;
  #turnQueued = false;
  #pumpQueued = false;
  /** Requests that came while the server was shutting down. */
  #turnedAway = 0;

  constructor(connection: Connection, services: Services, events: SessionEvents) {
    this.#services = services;
    this.#channel = new Channel(connection, SERVER_TAKES, {
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

  get isWelcome(): boolean {
    return this.#isWelcome;
  }

  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  /**
   * When the client last did its part, on the clock of performance.now(): took bytes, if some wait for
   * it, or said or took anything.
   */
  get lastActiveMs(): number {
    const { lastTakenMs } = this.#channel.connection;
    return this.isBlocked ? lastTakenMs : Math.max(this.#channel.lastHeardMs, lastTakenMs);
  }

  /** Whether nothing goes on until the client does its part, and says more. */
  get waitsForClient(): boolean {
    return this.#queue[0]?.responder.waitsForClient?.() === true;
  }

  /** Whether bytes wait for the client to take them. */
  get isBlocked(): boolean {
    return this.#channel.connection.pendingBytes > 0;
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
    if (message.type === "hello" || requestId === 0) {
      throw new DrayError("protocol", `the peer sent "${message.type}" where it has no place`);
    }
    if (this.#queue.length >= MAX_REQUESTS) {
      throw new DrayError("protocol", `the peer has more than ${MAX_REQUESTS} requests under way`);
    }
    if (this.#isEnding) return this.#turnAway(requestId);
    this.#enqueue(message, requestId);
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
      const responder = this.#services.respond(message, requestId, () => this.#pump());
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
    this.#isWelcome = true;
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
      if (filled.usedBytes > 0) connection.write(shared.bytes.subarray(0, filled.usedBytes));
      else if (filled.isWaiting) return this.#giveUpIfEnded();
    }
    if (this.#isEnding && this.#queue.length === 0) connection.finish();
  }

  /** What waits for a client that has said its last word waits for ever. */
  #giveUpIfEnded(): void {
    if (!this.#hasClientEnded || !this.waitsForClient) return;
    this.refuse(
      new DrayError("closed", "the client ended its side without giving credit for the rest of the list"),
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
