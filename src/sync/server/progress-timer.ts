import type { Clock } from "../ports.ts";

/** Tells when nothing has moved for too long, where how long that is changes with what is waited for. */
export class ProgressTimer {
  readonly #clock: Clock;
  readonly #limitMs: () => number;
  readonly #overdue: () => void;
  #progressMs: number;
  #cancelWake: (() => void) | undefined;
  #wakeMs = 0;
  #isOver = false;

  /**
   * @param limitMs how long what is waited for now may take without progress
   * @param overdue told when it took longer; the time begins anew then
   */
  constructor(clock: Clock, limitMs: () => number, overdue: () => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#overdue = overdue;
    this.#progressMs = clock.monotonicMs();
  }

  /** Something has moved. */
  moved(): void {
    this.#progressMs = this.#clock.monotonicMs();
  }

  /** To be called when something else is waited for than before. */
  arm(): void {
    if (this.#isOver) return;
    const dueMs = this.#progressMs + this.#limitMs();
    // One that is due earlier finds out then, and arms itself anew.
    if (this.#cancelWake !== undefined && this.#wakeMs <= dueMs) return;
    this.#cancelWake?.();
    this.#wakeMs = dueMs;
    this.#cancelWake = this.#clock.wake(dueMs, () => {
      this.#cancelWake = undefined;
      if (this.#isOver) return;
      if (this.#clock.monotonicMs() >= this.#progressMs + this.#limitMs()) {
        this.moved();
        this.#overdue();
      }
      this.arm();
    });
  }

  end(): void {
    this.#isOver = true;
    this.#cancelWake?.();
  }
}
