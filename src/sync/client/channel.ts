import { SyncDecoder } from "../../wire/sync-decoder.ts";
import { encodeSyncMessage, type SyncMessage } from "../../wire/sync-encoder.ts";
import type { SyncEvent } from "../../wire/sync-messages.ts";
import type { Clock, Link } from "../ports.ts";
import { ReplySlots } from "./reply-slots.ts";

export interface ChannelEvents {
  /** `event` is valid during the call; a throw ends the connection. */
  event(event: SyncEvent): void;
  drained(): void;
  /** The peer will send nothing more; the connection ends when all that came is answered. */
  ended(): void;
  closed(error: Error | undefined): void;
}

/** One of the two connections: messages in and out. */
export class Channel {
  /** Answers to what comes, in its order. */
  readonly replies: ReplySlots;
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #decoder = new SyncDecoder();
  #heardMs: number;
  #pauses = 0;
  #isPeerEnded = false;

  /** To be made in the tick in which the link was handed out. */
  constructor(link: Link, clock: Clock, events: ChannelEvents) {
    this.#link = link;
    this.#clock = clock;
    this.#heardMs = clock.monotonicMs();
    this.replies = new ReplySlots(
      (code) => this.send({ type: "status", code }),
      () => this.#endIfAnswered(),
    );
    link.attach({
      data: (bytes) => {
        this.#heardMs = this.#clock.monotonicMs();
        this.#decoder.push(bytes, (event) => events.event(event));
      },
      drained: () => events.drained(),
      // Both connections live for ever: a server that ends its half is leaving.
      ended: () => {
        this.#isPeerEnded = true;
        events.ended();
        this.#endIfAnswered();
      },
      closed: (error) => {
        this.#decoder.stop();
        events.closed(error);
      },
    });
  }

  get peer(): string {
    return this.#link.peer;
  }

  /** When bytes last came, on the monotonic clock. */
  get heardMs(): number {
    return this.#heardMs;
  }

  get isFull(): boolean {
    return this.#link.isFull;
  }

  get isOpen(): boolean {
    return this.#link.isOpen;
  }

  send(message: SyncMessage): void {
    this.#link.write(encodeSyncMessage(message));
  }

  /** A chunk's head and data, as they are on the wire. */
  sendBytes(bytes: Uint8Array): void {
    this.#link.write(bytes);
  }

  /** Nothing more is taken from the peer until as many `resume` have come. */
  pause(): void {
    if (this.#pauses++ === 0) this.#link.pause();
  }

  resume(): void {
    if (--this.#pauses === 0) this.#link.resume();
  }

  #endIfAnswered(): void {
    if (this.#isPeerEnded && this.replies.size === 0) this.#link.end();
  }

  end(): void {
    this.#link.end();
  }

  terminate(error?: Error): void {
    this.#link.terminate(error);
  }
}
