import { asDrayError } from "../errors/dray-error.ts";
import type { Connection } from "../net/connection.ts";
import { dial } from "../net/dial.ts";
import { listen } from "../net/listener.ts";
import type { Link, LinkEvents, Network } from "./ports.ts";

/** Above this, who has more to send waits. Below, the system is never left without. */
const FULL_BYTES = 256 * 1024;
/** Messages up to this size that are written in one tick go out together. */
const SMALL_BYTES = 32 * 1024;

export const realNetwork: Network = {
  dial: (target, timeoutMs, ready) =>
    dial(target, timeoutMs, (connection) => ready(new RealLink(connection))),
  listen: (address, port, accept) => listen(address, port, (connection) => accept(new RealLink(connection))),
};

class RealLink implements Link {
  readonly peer: string;
  readonly address: string;
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.peer = connection.peer;
    this.address = connection.address;
  }

  get isOpen(): boolean {
    return this.#connection.isOpen;
  }

  get pendingBytes(): number {
    return this.#connection.pendingBytes;
  }

  get isFull(): boolean {
    return this.#connection.pendingBytes > FULL_BYTES;
  }

  attach(events: LinkEvents): void {
    this.#connection.attach(events);
  }

  write(bytes: Uint8Array): void {
    if (bytes.length <= SMALL_BYTES) this.#connection.writeSoon(bytes);
    else this.#connection.write(bytes);
  }

  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  end(): void {
    this.#connection.finish();
  }

  terminate(error?: Error): void {
    this.#connection.destroy(error === undefined ? undefined : asDrayError(error));
  }
}
