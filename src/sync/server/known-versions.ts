/** Stands for "the client has to hear of it, whatever it has". */
const UNKNOWN = -1;

/** How long after a delivery an upload may still hold what was there before it: the two channels are not in step. */
const SKEW_MS = 60_000;

/**
 * Which version of each file one client is known to hold (decision 13), by sequence. What is older than its
 * registration it learns from META-DATA and asks for by itself. Pure: told the time.
 */
export class KnownVersions {
  readonly #known = new Map<string, number>();
  /** Deliveries of the last minute, in the order of their ends. */
  readonly #delivered = new Map<string, number>();
  #floor: number;

  /** @param floor the server's latest sequence when the client was registered, before META-DATA was taken */
  constructor(floor: number) {
    this.#floor = floor;
  }

  /** Whether the client need not hear of this version. */
  holds(name: string, sequence: number): boolean {
    const known = this.#known.get(name);
    return known === undefined ? sequence <= this.#floor : known === sequence;
  }

  /** It has this version, or refused it: then it hears of the next one. */
  tell(name: string, sequence: number): void {
    this.#known.set(name, sequence);
  }

  /** A delivery of this version has ended well. */
  delivered(name: string, sequence: number, nowMs: number): void {
    this.tell(name, sequence);
    this.#delivered.delete(name);
    this.#delivered.set(name, nowMs);
    for (const [other, endedMs] of this.#delivered) {
      if (nowMs - endedMs < SKEW_MS) break;
      this.#delivered.delete(other);
    }
  }

  /** Whether a delivery ended so lately that an upload which begins now may have been read before it. */
  wasJustDelivered(name: string, nowMs: number): boolean {
    const endedMs = this.#delivered.get(name);
    return endedMs !== undefined && nowMs - endedMs < SKEW_MS;
  }

  /** Whether it was told of this name since it was registered. */
  wasTold(name: string): boolean {
    return this.#known.has(name);
  }

  /** It may have anything: it has to hear of whatever is current. */
  forget(name: string): void {
    this.#known.set(name, UNKNOWN);
  }

  /** Everything up to `sequence` has been heard, nothing is waiting: the details can go. */
  settle(sequence: number): void {
    if (this.#known.size < 1024) return;
    for (const [name, known] of this.#known) {
      if (known !== UNKNOWN) this.#known.delete(name);
    }
    this.#floor = Math.max(this.#floor, sequence);
  }
}
