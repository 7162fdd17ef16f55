import { drainMicrotasks } from "bun:jsc";
import type { Clock } from "../../src/sync/ports.ts";

interface Event {
  atMs: number;
  /** Events of the same moment happen in the order in which they were made. */
  order: number;
  callback: (() => void) | undefined;
}

/**
 * Time that passes only when the test says so. Everything in a simulated world is an event of this clock; between two
 * events all promises that can go on do, so a world is one sequence of steps, the same for the same seed.
 */
export class SimulatedClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  #taken = 0;
  readonly #events: Event[] = [];

  /** @param wallMs what the wall clock shows at the start, milliseconds since 1970 */
  constructor(wallMs = Date.UTC(2026, 10, 21, 12)) {
    this.#wallOffsetMs = wallMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  /** The wall clock jumps; durations are not concerned. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  wake(atMs: number, callback: () => void): () => void {
    const event: Event = { atMs: Math.max(atMs, this.#nowMs), order: this.#order++, callback };
    this.#push(event);
    return () => (event.callback = undefined);
  }

  /** How many events have happened. */
  get taken(): number {
    return this.#taken;
  }

  /** When the next event is due; undefined when nothing will ever happen by itself. */
  get nextMs(): number | undefined {
    while (this.#events.length > 0 && this.#events[0]!.callback === undefined) this.#pop();
    return this.#events[0]?.atMs;
  }

  /** Lets the next event happen. @returns false when there is none */
  step(): boolean {
    drainMicrotasks();
    if (this.nextMs === undefined) return false;
    const event = this.#pop();
    this.#nowMs = event.atMs;
    this.#taken++;
    const { callback } = event;
    event.callback = undefined;
    callback!();
    drainMicrotasks();
    return true;
  }

  /** Lets this much time pass. */
  pass(durationMs: number): void {
    const untilMs = this.#nowMs + durationMs;
    drainMicrotasks();
    for (let next = this.nextMs; next !== undefined && next <= untilMs; next = this.nextMs) this.step();
    this.#nowMs = untilMs;
  }

  /** Lets time pass until something is so. @throws when it is not within `limitMs` of simulated time */
  until(isSo: () => boolean, what: string, limitMs = 60_000): void {
    const deadlineMs = this.#nowMs + limitMs;
    drainMicrotasks();
    while (!isSo()) {
      if ((this.nextMs ?? Infinity) > deadlineMs)
        throw new Error(`waited ${limitMs} simulated ms in vain for ${what}`);
      this.step();
    }
  }

  /** The value of a promise that simulated time will settle. @throws what it is rejected with */
  settled<T>(promise: Promise<T>, limitMs = 60_000): T {
    let outcome: { value: T } | { error: unknown } | undefined;
    promise.then(
      (value) => (outcome = { value }),
      (error: unknown) => (outcome = { error }),
    );
    this.until(() => outcome !== undefined, "a promise", limitMs);
    if ("error" in outcome!) throw outcome.error;
    return outcome!.value;
  }

  #isBefore(a: Event, b: Event): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  }

  #push(event: Event): void {
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(event, events[parent]!)) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  #pop(): Event {
    const events = this.#events;
    const first = events[0]!;
    const last = events.pop()!;
    if (events.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && this.#isBefore(events[child + 1]!, events[child]!)) child++;
      if (!this.#isBefore(events[child]!, last)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = last;
    return first;
  }
}
