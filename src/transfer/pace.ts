/** Over how long the pace of a peer is judged. */
const WINDOW_MS = 60_000;
/**
 * The same for a peer that says that it is alive (PING). One that takes slowly on purpose moves in
 * leaps: the systems on both sides have room for megabytes, and take the next ones when much of that is free.
 */
const PATIENT_WINDOW_MS = 600_000;

/** What a peer has done of its part. */
export interface Moved {
  /** Bytes that it took and sent, ever. */
  bytes: number;
  /** When it last did. */
  lastMs: number;
}

/**
 * Finds out whether a peer is too slow: bytes wait for it, or it stopped in the middle of a message,
 * and over a minute it moved less than it has to. Pure: told the state of things and the time.
 */
export class Pace {
  readonly #minBytesPerSecond: number;
  #sinceMs: number | undefined;
  #sinceBytes = 0;

  /** @param minBytesPerSecond 0: any pace will do, even none */
  constructor(minBytesPerSecond: number) {
    this.#minBytesPerSecond = minBytesPerSecond;
  }

  /**
   * To be asked every now and then.
   * @param moved undefined when it is not the peer's turn to move anything
   * @param isAlive whether it has said something lately
   */
  isTooSlow(nowMs: number, moved: Moved | undefined, isAlive: boolean): boolean {
    if (moved === undefined || this.#minBytesPerSecond === 0) {
      this.#sinceMs = undefined;
      return false;
    }
    if (this.#sinceMs === undefined) this.#begin(Math.min(nowMs, moved.lastMs), moved.bytes);
    const elapsedMs = nowMs - this.#sinceMs!;
    if (elapsedMs < WINDOW_MS) return false;
    const neededBytes = (this.#minBytesPerSecond * elapsedMs) / 1000;
    if (moved.bytes - this.#sinceBytes >= neededBytes) {
      this.#begin(nowMs, moved.bytes);
      return false;
    }
    return !isAlive || elapsedMs >= PATIENT_WINDOW_MS;
  }

  #begin(nowMs: number, bytes: number): void {
    this.#sinceMs = nowMs;
    this.#sinceBytes = bytes;
  }
}
