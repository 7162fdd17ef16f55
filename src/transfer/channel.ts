import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Connection } from "../net/connection.ts";
import { FrameDecoder } from "../wire/frame.ts";
import { type Message, type MessageType, decodeMessage, encodeMessage, limitsFor } from "../wire/messages.ts";

export interface ChannelEvents {
  /** `message` and the bytes in it are valid only during the call. */
  message(message: Message, requestId: number): void;
  drained(): void;
  /** The peer sent what is no message, or `message` threw: no further message will be told. */
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
  #lastHeardMs = performance.now();

  constructor(connection: Connection, taken: readonly MessageType[], events: ChannelEvents) {
    this.connection = connection;
    const decoder = new FrameDecoder(limitsFor(taken));
    const onFrame = (type: number, requestId: number, payload: Uint8Array): void => {
      const message = decodeMessage(type, payload);
      if (message.type === "ping") this.#pong();
      else if (message.type !== "pong") events.message(message, requestId);
      if (!connection.isOpen) decoder.stop();
    };
    connection.attach({
      data: (chunk) => {
        this.#lastHeardMs = performance.now();
        try {
          decoder.push(chunk, onFrame);
        } catch (error) {
          decoder.stop();
          events.failed(asDrayError(error));
        }
      },
      drained: () => events.drained(),
      ended: () => {
        if (decoder.pendingBytes > 0)
          connection.destroy(new DrayError("closed", "the connection ended inside a message"));
        else events.ended();
      },
      closed: (error) => events.closed(error),
    });
  }

  /** When the peer last sent anything, on the clock of performance.now(). */
  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  /** A peer that asks and does not read gets no more answers than fit. */
  #pong(): void {
    if (this.connection.pendingBytes < MAX_PENDING_FOR_PONG_BYTES) this.send({ type: "pong" });
  }

  /** Queues a small message; those of one tick leave together. */
  send(message: Message, requestId = 0): void {
    this.connection.writeSoon(encodeMessage(message, requestId));
  }
}
