import type { Socket, SocketHandler } from "bun";
import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import { socketError } from "./tls.ts";

/** What the owner of a connection is told. A throw from any of them ends the connection with that error. */
export interface ConnectionEvents {
  /** Bytes as they came; valid only during the call. */
  data(chunk: Uint8Array): void;
  /** All bytes that were written have been taken by the system: there is room for more. */
  drained(): void;
  /** The peer will send nothing more, but may still read. */
  ended(): void;
  /**
   * The peer did not prove who it is, as it has to. Nothing that it says is told. Whoever does not take
   * this has the connection ended.
   */
  untrusted?(error: DrayError): void;
  /** Exactly once, last. `error` is undefined after an orderly end. */
  closed(error: DrayError | undefined): void;
}

/** How long a peer may take to end its side after we ended ours. */
const LINGER_MS = 5_000;

/**
 * A connection over TCP or TLS, with what Bun's sockets leave to their users: a write queue (a socket
 * takes what it can and drops the rest), an orderly end (flush, then FIN, then wait for the peer's),
 * and one end that is told exactly once.
 */
export class Connection {
  /** For messages: "127.0.0.1:9000". */
  readonly peer: string;
  /** The peer's IP address, without the port. */
  readonly address: string;
  readonly #socket: Socket<ConnectionSlot>;
  #events: ConnectionEvents | undefined;
  /** Bytes that the system did not take yet: #pending[#pendingStart, #pendingEnd). */
  #pending: Uint8Array<ArrayBuffer> = EMPTY;
  #pendingStart = 0;
  #pendingEnd = 0;
  #flushQueued = false;
  #finishing = false;
  #shutDown = false;
  #peerEnded = false;
  #closed = false;
  #error: DrayError | undefined;
  #linger: Timer | undefined;
  #lastTakenMs = performance.now();
  #takenBytes = 0;

  /** @param address the peer's IP address */
  constructor(socket: Socket<ConnectionSlot>, peer: string, address: string) {
    this.#socket = socket;
    this.peer = peer;
    this.address = address;
  }

  /** To be called in the same tick in which the connection was handed out. */
  attach(events: ConnectionEvents): void {
    this.#events = events;
  }

  get pendingBytes(): number {
    return this.#pendingEnd - this.#pendingStart;
  }

  get isOpen(): boolean {
    return !this.#closed && !this.#finishing;
  }

  /** When the system last took bytes of ours, on the clock of performance.now(). */
  get lastTakenMs(): number {
    return this.#lastTakenMs;
  }

  /** How many bytes of ours the system has taken. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  /**
   * Sends now what the system takes and keeps a copy of the rest, so the caller may reuse `bytes`.
   * A caller that produces a lot waits for `drained` while pendingBytes is above zero.
   */
  write(bytes: Uint8Array): void {
    if (!this.isOpen) return;
    if (this.pendingBytes > 0) this.#flush();
    if (this.pendingBytes > 0) return this.#append(bytes, 0);
    const taken = this.#socketWrite(bytes, 0, bytes.length);
    if (taken < bytes.length) this.#append(bytes, taken);
  }

  /** Sends small messages of one tick together, in the order of the calls. */
  writeSoon(bytes: Uint8Array): void {
    if (!this.isOpen) return;
    this.#append(bytes, 0);
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    queueMicrotask(() => {
      this.#flushQueued = false;
      // Whoever found bytes pending in this tick waits for a `drain` that the system will not send.
      this.onDrain();
    });
  }

  /**
   * Sends what is pending, then ends our side, then waits a while for the peer to end its own.
   * @param error why, if this is not the regular end; told with `closed`
   */
  finish(error?: DrayError): void {
    if (this.#closed || this.#finishing) return;
    this.#error ??= error;
    this.#finishing = true;
    this.#flush();
  }

  /** No `data` until resume(): the peer is held up once the system's buffers are full. */
  pause(): void {
    if (!this.#closed) this.#socket.pause();
  }

  resume(): void {
    if (!this.#closed) this.#socket.resume();
  }

  /** Ends at once; what is pending is lost. */
  destroy(error?: DrayError): void {
    if (this.#closed) return;
    this.#error ??= error;
    this.#socket.terminate();
    this.#close();
  }

  #append(bytes: Uint8Array, from: number): void {
    const addedBytes = bytes.length - from;
    const keptBytes = this.pendingBytes;
    if (this.#pendingEnd + addedBytes > this.#pending.length) {
      const room =
        keptBytes + addedBytes <= this.#pending.length
          ? this.#pending
          : new Uint8Array(Math.max(1024, 2 * keptBytes, keptBytes + addedBytes));
      room.set(this.#pending.subarray(this.#pendingStart, this.#pendingEnd));
      this.#pending = room;
      this.#pendingStart = 0;
      this.#pendingEnd = keptBytes;
    }
    this.#pending.set(from === 0 ? bytes : bytes.subarray(from), this.#pendingEnd);
    this.#pendingEnd += addedBytes;
  }

  #flush(): void {
    if (this.#closed) return;
    if (this.pendingBytes > 0) {
      this.#pendingStart += this.#socketWrite(this.#pending, this.#pendingStart, this.pendingBytes);
      if (this.pendingBytes > 0) return;
      this.#pendingStart = 0;
      this.#pendingEnd = 0;
      if (this.#pending.length > IDLE_PENDING_BYTES) {
        // Now, not when the garbage collector comes by: with many connections that is a lot of memory.
        this.#pending.buffer.transfer(0);
        this.#pending = EMPTY;
      }
    }
    if (this.#finishing) this.#shutdown();
  }

  #socketWrite(bytes: Uint8Array, from: number, count: number): number {
    const taken = Math.max(0, this.#socket.write(bytes, from, count));
    if (taken === 0) return 0;
    this.#lastTakenMs = performance.now();
    this.#takenBytes += taken;
    return taken;
  }

  #shutdown(): void {
    if (this.#shutDown) return;
    this.#shutDown = true;
    this.#socket.shutdown();
    if (this.#peerEnded) return void this.#socket.end();
    this.#linger = setTimeout(() => this.destroy(), LINGER_MS);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#linger);
    this.#pending = EMPTY;
    this.#pendingStart = this.#pendingEnd = 0;
    const events = this.#events;
    this.#events = undefined;
    events?.closed(this.#error);
  }

  /** Runs a callback of the owner; its throw ends this connection and nothing else. */
  #tell(callback: (events: ConnectionEvents) => void): void {
    if (this.#events === undefined) return;
    try {
      callback(this.#events);
    } catch (error) {
      this.destroy(asDrayError(error));
    }
  }

  /** For the socket handlers below. */
  onData(chunk: Uint8Array): void {
    if (!this.#closed) this.#tell((events) => events.data(chunk));
  }

  onDrain(): void {
    this.#flush();
    if (this.isOpen && this.pendingBytes === 0) this.#tell((events) => events.drained());
  }

  onEnd(): void {
    this.#peerEnded = true;
    if (this.#shutDown) return void this.#socket.end();
    this.#tell((events) => events.ended());
  }

  onUntrusted(error: DrayError): void {
    this.#error ??= error;
    this.#tell((events) => (events.untrusted === undefined ? this.destroy(error) : events.untrusted(error)));
  }

  /** The socket closes by itself after this, with an alert that tells the peer. */
  onHandshakeFailed(error: DrayError): void {
    this.#error ??= error;
  }

  onClose(error: unknown): void {
    if (error !== undefined && error !== null) this.#error ??= socketError(error);
    this.#close();
  }
}

const EMPTY = new Uint8Array(0);
/** Larger buffers are given back as soon as they are empty: a thousand idle connections cost nothing. */
const IDLE_PENDING_BYTES = 4096;

/** What Bun keeps for each socket: the connection, from the moment it is open. */
export interface ConnectionSlot {
  connection: Connection | undefined;
  /** What comes before the peer has proved who it is, or after it failed to, is dropped. */
  isTrusted: boolean;
}

/** The handlers that all sockets of this process share; `open` is the dialer's or the listener's. */
export function connectionHandlers(
  open: (socket: Socket<ConnectionSlot>) => void,
): SocketHandler<ConnectionSlot> {
  return {
    open,
    data: (socket, chunk) => {
      if (socket.data.isTrusted) socket.data.connection?.onData(chunk);
    },
    drain: (socket) => socket.data.connection?.onDrain(),
    end: (socket) => socket.data.connection?.onEnd(),
    close: (socket, error) => socket.data.connection?.onClose(error),
    error: (socket, error) => socket.data.connection?.destroy(socketError(error)),
  };
}
