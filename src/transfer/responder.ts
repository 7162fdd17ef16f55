import { type Message, messageBytes, writeMessage } from "../wire/messages.ts";

/**
 * Room for frames that leave in one write. One buffer serves all connections of a thread: a
 * connection copies only what the system did not take.
 */
export class OutBuffer {
  readonly #capacityBytes: number;
  #bytes: Uint8Array;
  usedBytes = 0;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
    this.#bytes = new Uint8Array(capacityBytes);
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get freeBytes(): number {
    return this.#capacityBytes - this.usedBytes;
  }

  /** An empty buffer takes any message: it grows for that one. */
  fits(message: Message): boolean {
    return this.usedBytes === 0 || messageBytes(message) <= this.freeBytes;
  }

  put(message: Message, requestId: number): void {
    const neededBytes = this.usedBytes + messageBytes(message);
    if (neededBytes > this.#bytes.length) this.#bytes = new Uint8Array(neededBytes);
    this.usedBytes = writeMessage(message, requestId, this.#bytes, this.usedBytes);
  }

  empty(): void {
    this.usedBytes = 0;
    if (this.#bytes.length > this.#capacityBytes) this.#bytes = new Uint8Array(this.#capacityBytes);
  }
}

/**
 * - `more`: call again when there is room
 * - `waiting`: nothing to send until somebody calls the session's wake
 * - `done`: the answer is complete
 */
export type FillResult = "more" | "waiting" | "done";

/** The answer to one request, produced piece by piece as the connection takes it. */
export interface Responder {
  /**
   * Puts what fits. With an empty buffer it must put something, wait, or be done.
   * A throw ends the answer with an ERROR message.
   */
  fill(out: OutBuffer): FillResult;
  /** Whether it is the client's turn to do something before there is more. */
  waitsForClient?(): boolean;
  /** For the client's MORE. */
  more?(credit: number): void;
  /** The request is over, in whatever way. Called exactly once. */
  release(): void;
}
