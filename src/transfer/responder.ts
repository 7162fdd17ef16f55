import { type Message, messageBytes, writeMessage } from "../wire/messages.ts";

/** From here on, a write of its own costs less than a copy. */
const LEND_FROM_BYTES = 32 * 1024;

/**
 * Room for frames that leave in one write. One buffer serves all connections of a thread: a
 * connection copies only what the system did not take.
 */
export class OutBuffer {
  readonly #capacityBytes: number;
  /** Made when it is needed: most programs send next to nothing. */
  #bytes = new Uint8Array(0);
  #lent: Uint8Array | undefined;
  usedBytes = 0;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  get bytes(): Uint8Array {
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.#capacityBytes);
    return this.#bytes;
  }

  get freeBytes(): number {
    return this.#lent === undefined ? this.#capacityBytes - this.usedBytes : 0;
  }

  /** What is to be sent, valid until the buffer is used again. */
  get frames(): Uint8Array {
    return this.#lent ?? this.#bytes.subarray(0, this.usedBytes);
  }

  /**
   * Puts frames that are complete already, as many bytes as are free at most. Long ones are sent from where
   * they lie and must stay there until the write; nothing else fits then.
   * @returns where they are until then: the bytes that hold them, at what usedBytes was before
   */
  putFrames(frames: Uint8Array): Uint8Array {
    if (this.usedBytes === 0 && frames.length > LEND_FROM_BYTES) this.#lent = frames;
    else this.bytes.set(frames, this.usedBytes);
    this.usedBytes += frames.length;
    return this.#lent ?? this.bytes;
  }

  /** An empty buffer takes any message: it grows for that one. */
  fits(message: Message): boolean {
    return this.usedBytes === 0 || messageBytes(message) <= this.freeBytes;
  }

  put(message: Message, requestId: number): void {
    const neededBytes = this.usedBytes + messageBytes(message);
    if (neededBytes > this.bytes.length) this.#bytes = new Uint8Array(neededBytes);
    this.usedBytes = writeMessage(message, requestId, this.#bytes, this.usedBytes);
  }

  empty(): void {
    this.#lent = undefined;
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

export type BodyMessage = Extract<Message, { type: "data" | "end" }>;

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
  /**
   * For the DATA and END that belong to a PUT; what is in them is valid only during the call.
   * A throw ends the answer with an ERROR message, and what still comes is passed over.
   */
  body?(message: BodyMessage): void;
  /** The request is over, in whatever way. Called exactly once. */
  release(): void;
}
