import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Connection } from "../net/connection.ts";
import { FrameDecoder } from "../wire/frame.ts";
import { tlsRecordAt } from "../wire/tls-record.ts";
import { type Message, type MessageType, decodeMessage, encodeMessage, limitsFor } from "../wire/messages.ts";

export interface ChannelEvents {
  /** `message` and the bytes in it are valid only during the call. */
  message(message: Message, requestId: number): void;
  drained(): void;
  /**
   * The peer sent what is no message, or did not prove who it is, or `message` threw: no further message
   * will be told.
   */
  failed(error: DrayError): void;
  /** The peer will send nothing more. */
  ended(): void;
  closed(error: DrayError | undefined): void;
}

const MAX_PENDING_FOR_PONG_BYTES = 4096;

/**
 * Messages over a connection. Answers PING by itself.
 */
export class Channel {
  readonly connection: Connection;
  readonly #decoder: FrameDecoder;
  #limitOf: (type: number) => number;
  #lastHeardMs = performance.now();
  #heardBytes = 0;
  /** The peer speaks TLS and we do not. */
  #isTls = false;

  constructor(connection: Connection, taken: readonly MessageType[], events: ChannelEvents) {
    this.connection = connection;
    this.#limitOf = limitsFor(taken);
    const decoder = new FrameDecoder((type) => this.#limitOf(type));
    this.#decoder = decoder;
    const onFrame = (type: number, requestId: number, payload: Uint8Array): void => {
      const message = decodeMessage(type, payload);
      if (message.type === "ping") this.#pong();
      else if (message.type !== "pong") events.message(message, requestId);
      if (!connection.isOpen) decoder.stop();
    };
    connection.attach({
      data: (chunk) => {
        this.#lastHeardMs = performance.now();
        if (this.#heardBytes === 0) this.#isTls = tlsRecordAt(chunk) !== undefined;
        this.#heardBytes += chunk.length;
        if (!connection.isOpen) return; // what comes behind our last word is not looked at
        try {
          decoder.push(chunk, onFrame);
        } catch (error) {
          decoder.stop();
          events.failed(this.#isTls ? speaksTls() : asDrayError(error));
        }
      },
      untrusted: (error) => {
        decoder.stop();
        events.failed(error);
      },
      drained: () => events.drained(),
      ended: () => {
        if (decoder.pendingBytes > 0)
          connection.destroy(
            this.#isTls ? speaksTls() : new DrayError("closed", "the connection ended inside a message"),
          );
        else events.ended();
      },
      closed: (error) => events.closed(error),
    });
  }

  /** When the peer last sent anything, on the clock of performance.now(). */
  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  /** How many bytes the peer has sent. */
  get heardBytes(): number {
    return this.#heardBytes;
  }

  /** Whether the peer has sent a part of a message, and the rest is to come. */
  get isInsideMessage(): boolean {
    return this.#decoder.pendingBytes > 0;
  }

  /** A peer that asks and does not read gets no more answers than fit. */
  #pong(): void {
    if (this.connection.pendingBytes < MAX_PENDING_FOR_PONG_BYTES) this.send({ type: "pong" });
  }

  /** From here on the peer may send messages of these types. */
  takes(types: readonly MessageType[]): void {
    this.#limitOf = limitsFor(types);
  }

  /** Queues a small message; those of one tick leave together. */
  send(message: Message, requestId = 0): void {
    this.connection.writeSoon(encodeMessage(message, requestId));
  }
}

function speaksTls(): DrayError {
  return new DrayError("protocol", "the peer speaks TLS here, and we do not (--tls for clients)");
}
