export interface RequestLimits {
  /** Requests whose content has not come yet. */
  readonly maxOutstanding: number;
  /** When nothing has come after this, it is asked for again. */
  readonly patienceMs: number;
}

/** What is asked of the server, and when again; pure. */
export class RequestDesk {
  readonly #limits: RequestLimits;
  readonly #waiting = new Set<string>();
  /** Since when, the oldest first. */
  readonly #outstanding = new Map<string, number>();

  constructor(limits: RequestLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiting.size + this.#outstanding.size;
  }

  /** Whether some are not asked for yet. */
  get hasWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Asks for it, unless that is being done. */
  want(name: string): void {
    if (!this.#outstanding.has(name)) this.#waiting.add(name);
  }

  /** It came, or is not wanted any more. */
  settle(name: string): void {
    this.#waiting.delete(name);
    this.#outstanding.delete(name);
  }

  /** Something of it came: its time begins anew. */
  progressed(name: string, nowMs: number): void {
    if (this.#outstanding.delete(name)) this.#outstanding.set(name, nowMs);
  }

  /** The connection is gone, and with it all that was asked. */
  clear(): void {
    this.#waiting.clear();
    this.#outstanding.clear();
  }

  /** The next name to ask for now; it counts as asked. */
  next(nowMs: number): string | undefined {
    for (const [name, sinceMs] of this.#outstanding) {
      if (nowMs < sinceMs + this.#limits.patienceMs) break;
      this.#outstanding.delete(name);
      this.#waiting.add(name);
    }
    if (this.#outstanding.size >= this.#limits.maxOutstanding) return undefined;
    const [name] = this.#waiting;
    if (name === undefined) return undefined;
    this.#waiting.delete(name);
    this.#outstanding.set(name, nowMs);
    return name;
  }

  /** When `next` may give one that it does not give now. */
  get nextAtMs(): number | undefined {
    const [oldest] = this.#outstanding.values();
    return oldest === undefined ? undefined : oldest + this.#limits.patienceMs;
  }
}
