/** A time of being asked for something over which a rate is measured, and over how long it is averaged. */
const WINDOW_MS = 100;
const MEMORY_MS = 1_500;
/** Of the longest silence so far, what counts after each further word. */
const GAP_DECAY = 0.97;

/**
 * How fast a replica sends while it is asked for something, its round trips included, and how long it usually
 * is silent. Pure.
 */
export class ReplicaPace {
  #bytesPerMs = 0;
  /** Of the window that is open: what came, how much time it has had, and since when its clock runs again. */
  #windowBytes = 0;
  #windowMs = 0;
  #runsSinceMs = 0;
  #lastWordMs = 0;
  #usualGapMs = 0;

  /** 0 as long as nothing came. */
  get bytesPerMs(): number {
    return this.#bytesPerMs;
  }

  /** The longest silence that is usual for it. */
  get usualGapMs(): number {
    return this.#usualGapMs;
  }

  /** It had nothing to do, and is asked for something now. */
  begin(nowMs: number): void {
    this.#lastWordMs = nowMs;
    this.#runsSinceMs = nowMs;
  }

  received(bytes: number, nowMs: number): void {
    this.#usualGapMs = Math.max(nowMs - this.#lastWordMs, this.#usualGapMs * GAP_DECAY);
    this.#lastWordMs = nowMs;
    this.#windowBytes += bytes;
    if (this.#elapsedMs(nowMs) >= WINDOW_MS) this.#closeWindow(nowMs);
  }

  /** An answer is over. @param isIdle whether it was the last one that it owed */
  ended(nowMs: number, isIdle: boolean): void {
    // A first impression is better than none.
    if (this.#bytesPerMs === 0 && this.#windowBytes > 0 && this.#elapsedMs(nowMs) > 0)
      this.#closeWindow(nowMs);
    if (isIdle) this.#windowMs = this.#elapsedMs(nowMs);
  }

  /** For how long it has said nothing; only meaningful while it is asked for something. */
  silentMs(nowMs: number): number {
    return nowMs - this.#lastWordMs;
  }

  #elapsedMs(nowMs: number): number {
    return this.#windowMs + nowMs - this.#runsSinceMs;
  }

  #closeWindow(nowMs: number): void {
    const elapsedMs = this.#elapsedMs(nowMs);
    const sample = this.#windowBytes / elapsedMs;
    const weight = this.#bytesPerMs === 0 ? 1 : 1 - Math.exp(-elapsedMs / MEMORY_MS);
    this.#bytesPerMs += (sample - this.#bytesPerMs) * weight;
    this.#runsSinceMs = nowMs;
    this.#windowBytes = this.#windowMs = 0;
  }
}
