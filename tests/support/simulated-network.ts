import { DrayError } from "../../src/errors/dray-error.ts";
import type { Clock, Link, LinkEvents, Network, PortListener } from "../../src/sync/ports.ts";
import type { Random } from "./random.ts";

export interface NetworkSettings {
  /** One way, from and to: two links do not keep each other's order. */
  readonly latencyMs: readonly [number, number];
  /** Largest portion in which bytes arrive; 1 makes them come one at a time. */
  readonly maxPortionBytes: number;
  /** What the systems of both ends keep between them: more than that is pending at who writes it. */
  readonly windowBytes: number;
}

const NETWORK_DEFAULTS: NetworkSettings = {
  latencyMs: [0.1, 5],
  maxPortionBytes: 64 * 1024,
  windowBytes: 256 * 1024,
};

/** How long who ended its side waits for the other one, as net/connection.ts does. */
const LINGER_MS = 5_000;

/** Machines that reach each other by links, which a test may cut, stall, damage and watch. */
export class SimulatedNetwork {
  readonly clock: Clock;
  readonly random: Random;
  settings: NetworkSettings;
  /** Links that are open, as pairs: who dialled, who accepted. */
  readonly pairs = new Set<LinkPair>();
  /** May change bytes in transit, in place; `from` is the address of who sent them. */
  tamper: (bytes: Uint8Array, from: string, pair: LinkPair) => void = () => {};
  /** Whether one machine reaches another now; links that are open are not concerned (see cut). */
  isReachable: (from: string, to: string) => boolean = () => true;
  readonly #listeners = new Map<string, (link: Link) => void>();
  #nextPort = 40_000;

  constructor(clock: Clock, random: Random, settings: Partial<NetworkSettings> = {}) {
    this.clock = clock;
    this.random = random;
    this.settings = { ...NETWORK_DEFAULTS, ...settings };
  }

  /** The network as the machine with this address sees it. */
  at(address: string): Network {
    return {
      dial: (target, timeoutMs, ready) => this.#dial(address, target, timeoutMs, ready),
      listen: (_, port, accept) => this.#listen(address, port, accept),
    };
  }

  /** Ends links as a cable that is pulled does once both systems notice. */
  cut(isChosen: (pair: LinkPair) => boolean = () => true): void {
    for (const pair of [...this.pairs]) if (isChosen(pair)) pair.cut();
  }

  /** A machine is gone: its links are reset, its listeners closed. Its own side is told nothing. */
  vanish(address: string): void {
    for (const key of [...this.#listeners.keys()])
      if (key.startsWith(`${address}:`)) this.#listeners.delete(key);
    for (const pair of [...this.pairs]) {
      for (const side of pair.sides) if (side.ownAddress === address) side.die();
    }
  }

  /** The most that is still on its way anywhere. */
  get bytesOnTheirWay(): number {
    return Math.max(0, ...[...this.pairs].flatMap(({ sides }) => sides.map(({ inboxBytes }) => inboxBytes)));
  }

  delayMs(): number {
    const [fromMs, toMs] = this.settings.latencyMs;
    return fromMs + this.random.next() * (toMs - fromMs);
  }

  #listen(address: string, wantedPort: number, accept: (link: Link) => void): PortListener {
    const port = wantedPort === 0 ? this.#nextPort++ : wantedPort;
    const key = `${address}:${port}`;
    if (this.#listeners.has(key))
      throw new DrayError("usage", `cannot listen on ${key}: the port is already in use`);
    this.#listeners.set(key, accept);
    return {
      address,
      port,
      stop: () => void (this.#listeners.get(key) === accept && this.#listeners.delete(key)),
    };
  }

  #dial<T>(
    from: string,
    target: { host: string; port: number },
    timeoutMs: number,
    ready: (link: Link) => T,
  ): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const startedMs = this.clock.monotonicMs();
    const sourcePort = this.#nextPort++;
    this.clock.wake(startedMs + this.delayMs(), () => {
      if (!this.isReachable(from, target.host)) {
        return void this.clock.wake(startedMs + timeoutMs, () =>
          reject(new DrayError("timeout", `no connection within ${timeoutMs / 1000} s`)),
        );
      }
      const accept = this.#listeners.get(`${target.host}:${target.port}`);
      if (accept === undefined)
        return reject(new DrayError("unreachable", "connection refused (is the server running?)"));
      const pair = new LinkPair(
        this,
        { address: from, port: sourcePort },
        { address: target.host, port: target.port },
      );
      this.pairs.add(pair);
      accept(pair.sides[1]);
      this.clock.wake(this.clock.monotonicMs() + this.delayMs(), () => {
        try {
          resolve(ready(pair.sides[0]));
        } catch (error) {
          reject(error);
        }
      });
    });
    return promise;
  }
}

interface End {
  readonly address: string;
  readonly port: number;
}

/** One connection with both its ends. */
export class LinkPair {
  readonly network: SimulatedNetwork;
  /** Who dialled, who accepted. */
  readonly sides: readonly [SimulatedLink, SimulatedLink];
  /** While true, nothing arrives on either side. */
  #isStalled = false;

  constructor(network: SimulatedNetwork, dialler: End, listener: End) {
    this.network = network;
    const a = new SimulatedLink(this, dialler.address, listener);
    const b = new SimulatedLink(this, listener.address, dialler);
    a.other = b;
    b.other = a;
    this.sides = [a, b];
  }

  get isStalled(): boolean {
    return this.#isStalled;
  }

  stall(): void {
    this.#isStalled = true;
  }

  unstall(): void {
    this.#isStalled = false;
    for (const side of this.sides) side.pump();
  }

  cut(): void {
    for (const side of this.sides) {
      this.network.clock.wake(this.network.clock.monotonicMs() + this.network.delayMs(), () =>
        side.fail(new DrayError("closed", "the peer reset the connection")),
      );
    }
  }
}

/** One end of a connection. What it writes is in the other one's inbox until that has taken it. */
export class SimulatedLink implements Link {
  readonly peer: string;
  readonly address: string;
  readonly ownAddress: string;
  readonly pair: LinkPair;
  other!: SimulatedLink;
  /** All bytes that were written on this side so far. */
  writtenBytes = 0;
  #events: LinkEvents | undefined;
  #early: ((events: LinkEvents) => void)[] = [];
  /** From the other side: written, not delivered. */
  readonly #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #isPeerEnded = false;
  #isEndedTold = false;
  #isPaused = false;
  #isEnding = false;
  #isClosed = false;
  #isDead = false;
  #wasFull = false;
  #isDelivering = false;
  #error: Error | undefined;

  constructor(pair: LinkPair, ownAddress: string, peer: End) {
    this.pair = pair;
    this.ownAddress = ownAddress;
    this.address = peer.address;
    this.peer = `${peer.address}:${peer.port}`;
  }

  get isOpen(): boolean {
    return !this.#isClosed && !this.#isEnding;
  }

  get pendingBytes(): number {
    return this.#isClosed ? 0 : Math.max(0, this.other.#inboxBytes - this.pair.network.settings.windowBytes);
  }

  /** Sent to this side and not there yet; what nobody there listens for does not count. */
  get inboxBytes(): number {
    return this.#events === undefined ? 0 : this.#inboxBytes;
  }

  get isFull(): boolean {
    return this.pendingBytes > 0;
  }

  attach(events: LinkEvents): void {
    this.#events = events;
    for (const tell of this.#early.splice(0)) this.#tell(tell);
    this.pump();
  }

  write(bytes: Uint8Array): void {
    if (!this.isOpen || bytes.length === 0) return;
    this.writtenBytes += bytes.length;
    const copy = bytes.slice();
    this.pair.network.tamper(copy, this.ownAddress, this.pair);
    this.other.#inbox.push(copy);
    this.other.#inboxBytes += copy.length;
    this.#wasFull ||= this.isFull;
    this.other.pump();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.pump();
  }

  end(): void {
    if (!this.isOpen) return;
    this.#isEnding = true;
    this.other.#isPeerEnded = true;
    this.other.pump();
    const { clock } = this.pair.network;
    if (this.#isEndedTold) this.#closeSoon();
    // Whoever still sends to a socket that is closed is told that there is none.
    else clock.wake(clock.monotonicMs() + LINGER_MS, () => this.terminate());
  }

  terminate(error?: Error): void {
    if (this.#isClosed) return;
    this.#error ??= error;
    this.other.failSoon();
    this.#close(undefined);
  }

  /** The connection breaks. */
  fail(error: Error): void {
    this.#close(error);
  }

  failSoon(): void {
    const { clock } = this.pair.network;
    clock.wake(clock.monotonicMs() + this.pair.network.delayMs(), () =>
      this.#close(this.#isEnding ? undefined : new DrayError("closed", "the peer reset the connection")),
    );
  }

  /** Its process is gone: it is told nothing, and the other side notices. */
  die(): void {
    if (this.#isClosed) return;
    this.#isDead = true;
    this.#events = undefined;
    this.other.failSoon();
    this.#close(undefined);
  }

  /** Sees to it that what waits is delivered. */
  pump(): void {
    if (this.#isDelivering || this.#isClosed || this.#isPaused || this.#events === undefined) return;
    if (this.pair.isStalled) return;
    if (this.#inbox.length === 0 && (!this.#isPeerEnded || this.#isEndedTold)) return;
    this.#isDelivering = true;
    const { network } = this.pair;
    network.clock.wake(network.clock.monotonicMs() + network.delayMs(), () => {
      this.#isDelivering = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    if (this.#isClosed || this.#isPaused || this.pair.isStalled) return;
    const first = this.#inbox[0];
    if (first === undefined) {
      if (this.#isPeerEnded && !this.#isEndedTold) {
        this.#isEndedTold = true;
        if (this.#isEnding) return this.#closeSoon();
        this.#tell((events) => events.ended());
      }
      return;
    }
    const { random, settings } = this.pair.network;
    const wanted = random.integer(1, Math.max(1, Math.min(settings.maxPortionBytes, this.#inboxBytes)));
    const portion = new Uint8Array(wanted);
    for (let filled = 0; filled < wanted;) {
      const front = this.#inbox[0]!;
      const part = front.subarray(0, wanted - filled);
      portion.set(part, filled);
      filled += part.length;
      if (part.length === front.length) this.#inbox.shift();
      else this.#inbox[0] = front.subarray(part.length);
    }
    this.#inboxBytes -= wanted;
    this.#tell((events) => events.data(portion));
    this.other.#drainSoon();
    this.pump();
  }

  #drainSoon(): void {
    if (!this.#wasFull || this.isFull || this.#isClosed) return;
    this.#wasFull = false;
    const { clock } = this.pair.network;
    clock.wake(clock.monotonicMs(), () => {
      if (this.isOpen && !this.isFull) this.#tell((events) => events.drained());
    });
  }

  #closeSoon(): void {
    const { clock } = this.pair.network;
    clock.wake(clock.monotonicMs(), () => {
      this.other.#closeIfBothEnded();
      this.#close(undefined);
    });
  }

  #closeIfBothEnded(): void {
    if (this.#isEnding && this.#inbox.length === 0 && this.#isPeerEnded) this.#close(undefined);
  }

  #close(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#error ??= error;
    this.#isClosed = true;
    this.#inbox.length = 0;
    this.#inboxBytes = 0;
    if (this.other.#isClosed) this.pair.network.pairs.delete(this.pair);
    if (this.#isDead) return;
    const tell = (events: LinkEvents): void => events.closed(this.#error);
    if (this.#events === undefined) this.#early.push(tell);
    else tell(this.#events);
    this.#events = undefined;
  }

  #tell(callback: (events: LinkEvents) => void): void {
    if (this.#events === undefined) return;
    try {
      callback(this.#events);
    } catch (error) {
      this.terminate(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
