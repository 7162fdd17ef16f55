import type { Socket, SocketHandler } from "bun";
import { Condition } from "../support/wait.ts";
import { type NaiveFrame, naiveFrames } from "./naive-codec.ts";

/** One end of a TCP connection that sends any bytes and cuts what comes into frames, naively. */
export class RawPeer {
  readonly frames: NaiveFrame[] = [];
  /** What came behind the last whole frame. */
  rest: Buffer = Buffer.alloc(0);
  receivedBytes = 0;
  /** The other side has ended its half. */
  isEnded = false;
  isClosed = false;
  readonly #socket: Socket<RawPeer>;
  readonly #condition = new Condition();
  readonly #onFrame: ((frame: NaiveFrame) => void) | undefined;
  #unsent: Buffer[] = [];
  #isEnding = false;

  constructor(socket: Socket<RawPeer>, onFrame?: (peer: RawPeer, frame: NaiveFrame) => void) {
    this.#socket = socket;
    if (onFrame !== undefined) this.#onFrame = (frame) => onFrame(this, frame);
  }

  /** Sends everything in one write, as far as the system takes it. */
  send(...parts: Uint8Array[]): void {
    this.#unsent.push(Buffer.concat(parts));
    this.drain();
  }

  /** Ends our half once everything is sent. */
  end(): void {
    this.#isEnding = true;
    this.drain();
  }

  /** Takes nothing from the system until resume. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Closes at once, with a reset if bytes are unread. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Waits for so many frames in all. */
  async gotFrames(count: number, timeoutMs = 20_000): Promise<NaiveFrame[]> {
    return await this.until(
      () => (this.frames.length >= count ? this.frames : undefined),
      `${count} frames`,
      timeoutMs,
    );
  }

  /** Waits for the other side's end, in either way. */
  async ended(timeoutMs = 20_000): Promise<void> {
    await this.until(() => (this.isEnded || this.isClosed ? true : undefined), "the end", timeoutMs);
  }

  async closed(timeoutMs = 20_000): Promise<void> {
    await this.until(() => (this.isClosed ? true : undefined), "the close", timeoutMs);
  }

  async until<T>(probe: () => T | undefined, what: string, timeoutMs = 20_000): Promise<T> {
    const describe = (): string =>
      `${what}; so far ${JSON.stringify({
        frames: this.frames.map(({ type, requestId }) => [type, requestId]).slice(-20),
        restBytes: this.rest.length,
        isEnded: this.isEnded,
        isClosed: this.isClosed,
      })}`;
    return await this.#condition.until(probe, describe, { timeoutMs });
  }

  /** For the socket's handlers. */
  data(chunk: Uint8Array): void {
    this.receivedBytes += chunk.length;
    const { frames, rest } = naiveFrames(Buffer.concat([this.rest, chunk]));
    this.rest = Buffer.from(rest);
    for (const frame of frames) {
      this.frames.push(frame);
      this.#onFrame?.(frame);
    }
    this.#condition.changed();
  }

  drain(): void {
    for (let part = this.#unsent[0]; part !== undefined; part = this.#unsent[0]) {
      const taken = Math.max(0, this.#socket.write(part));
      if (taken < part.length) {
        this.#unsent[0] = part.subarray(taken);
        return;
      }
      this.#unsent.shift();
    }
    if (this.#isEnding) this.#socket.shutdown();
  }

  gone(how: "ended" | "closed"): void {
    if (how === "ended") this.isEnded = true;
    else this.isClosed = true;
    this.#condition.changed();
  }
}

const sockets: Omit<SocketHandler<RawPeer>, "open"> = {
  data: (socket, chunk) => socket.data.data(chunk),
  drain: (socket) => socket.data.drain(),
  end: (socket) => socket.data.gone("ended"),
  close: (socket) => socket.data.gone("closed"),
  error: () => {},
};

/** Connects to a server under test. */
export async function rawClient(port: number): Promise<RawPeer> {
  const { promise, resolve } = Promise.withResolvers<RawPeer>();
  await Bun.connect<RawPeer>({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen: true,
    socket: {
      ...sockets,
      open(socket) {
        socket.data = new RawPeer(socket);
        resolve(socket.data);
      },
    },
  });
  return await promise;
}

export interface FakeServer extends Disposable {
  readonly port: number;
  /** Every connection so far. */
  readonly peers: RawPeer[];
}

/** A server for clients under test: says what it is told to, right or wrong. Port 0 picks a free one. */
export function fakeServer(onFrame: (peer: RawPeer, frame: NaiveFrame) => void, port = 0): FakeServer {
  const peers: RawPeer[] = [];
  const listener = Bun.listen<RawPeer>({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen: true,
    socket: {
      ...sockets,
      open(socket) {
        socket.data = new RawPeer(socket, onFrame);
        peers.push(socket.data);
      },
    },
  });
  return { port: listener.port, peers, [Symbol.dispose]: () => listener.stop(true) };
}
