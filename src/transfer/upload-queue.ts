import type { Connection } from "../net/connection.ts";
import { OutBuffer } from "./responder.ts";
import type { UploadSender } from "./upload-sender.ts";

/** How much is sent before everything else in this thread gets its turn. */
const TURN_BYTES = 4 * 1024 * 1024;
/** Holds two pieces of a file with their frames. */
const OUT_BUFFER_BYTES = 560 * 1024;

/** One write buffer for all clients of a thread: it is full only between two lines of one function. */
const shared = new OutBuffer(OUT_BUFFER_BYTES);

/** The uploads of one connection: one body after the other, each only as fast as the system takes it. */
export class UploadQueue {
  readonly #connection: Connection;
  readonly #senders: UploadSender[] = [];
  #isQueued = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  add(sender: UploadSender): void {
    this.#senders.push(sender);
    this.pumpSoon();
  }

  /** Uploads that begin together leave together. */
  pumpSoon(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    setImmediate(() => {
      this.#isQueued = false;
      this.pump();
    });
  }

  /** Sends as long as there is something to send and the system takes it, up to one turn. */
  pump(): void {
    const connection = this.#connection;
    let turnBytes = 0;
    while (this.#senders.length > 0 && connection.isOpen && connection.pendingBytes === 0) {
      if (turnBytes >= TURN_BYTES) return this.pumpSoon();
      const filledBytes = this.#fillShared();
      if (filledBytes === 0) return;
      turnBytes += filledBytes;
      connection.write(shared.bytes.subarray(0, filledBytes));
    }
  }

  /** Puts frames of as many uploads as fit. */
  #fillShared(): number {
    shared.empty();
    for (let head = this.#senders[0]; head !== undefined; head = this.#senders[0]) {
      if (head.fill(shared) !== "done") break;
      this.#senders.shift();
    }
    return shared.usedBytes;
  }
}
