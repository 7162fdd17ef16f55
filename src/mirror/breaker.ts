import { type Backoff, delayAfterAttempt } from "../net/backoff.ts";

/**
 * - `closed`: the source is used
 * - `open`: it failed, and is left alone until the next probe
 * - `probing`: one small job finds out whether it is back
 */
export type BreakerState = "closed" | "open" | "probing";

const PROBE_BACKOFF: Backoff = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 500, maxDelayMs: 15_000 };
/** Lost connections in a row, without a file to show for them, that count as a failure of the source. */
const FRUITLESS_LIMIT = 5;

/**
 * Keeps a source that is down from being asked over and over (the circuit breaker of M. Nygard,
 * "Release It!", 2007). Pure: told what happened and when, asked what to do.
 */
export class Breaker {
  #state: BreakerState = "closed";
  #failures = 0;
  #fruitless = 0;
  #badSinceMs: number | undefined;

  get state(): BreakerState {
    return this.#state;
  }

  /** How long ago the first of the failures was that no success came after; 0 while the source is good. */
  badForMs(nowMs: number): number {
    return this.#badSinceMs === undefined ? 0 : nowMs - this.#badSinceMs;
  }

  /** Files came. */
  succeeded(): void {
    this.#state = "closed";
    this.#failures = 0;
    this.#fruitless = 0;
    this.#badSinceMs = undefined;
  }

  /**
   * The connection was lost and no file came over it.
   * @param random from 0 up to 1
   * @returns after how many milliseconds to probe, if the source is to be left alone now
   */
  lostConnection(nowMs: number, random: number): number | undefined {
    this.#badSinceMs ??= nowMs;
    if (this.#state !== "probing" && ++this.#fruitless < FRUITLESS_LIMIT) return undefined;
    return this.failed(nowMs, random);
  }

  /**
   * No connection could be made.
   * @param random from 0 up to 1
   * @returns after how many milliseconds to probe; undefined while a probe is already due
   */
  failed(nowMs: number, random: number): number | undefined {
    this.#badSinceMs ??= nowMs;
    if (this.#state === "open") return undefined; // a job that began before the first one failed
    this.#state = "open";
    this.#fruitless = 0;
    return delayAfterAttempt(PROBE_BACKOFF, ++this.#failures, random);
  }

  /** The time that `failed` gave is over. */
  probe(): void {
    this.#state = "probing";
  }
}
