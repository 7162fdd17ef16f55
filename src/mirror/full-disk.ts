import * as fs from "node:fs";
import { type DrayError, asDrayError } from "../errors/dray-error.ts";

/** How often a full disk is tried again. */
const TRY_INTERVAL_MS = 5_000;
/** …though it does not have more room than before. */
const TRY_ANYHOW_MS = 600_000;
/** More than the free space of a file system moves by itself. */
const SOME_ROOM_BYTES = 256 * 1024;

export interface FullDiskEvents {
  /** The disk is full; `undefined` when files arrive again. */
  parked(reason: DrayError | undefined): void;
  /** It is worth trying: work may begin again, and finds out whether there really is room. */
  unparked(): void;
}

/**
 * Stops the work of a mirror while its disk is full. What the journal cannot take waits here, in order;
 * so do lists, whose length nobody knows.
 */
export class FullDisk {
  readonly #directory: string;
  readonly #events: FullDiskEvents;
  readonly #writes: (() => void)[] = [];
  #waiters: (() => void)[] = [];
  /** Whether it was told that work has stopped. */
  #isTold = false;
  #timer: Timer | undefined;
  #parkedAtMs = 0;
  /** What must be free, at least, before it is worth trying. */
  #neededBytes = 0;
  #isStopped = false;

  constructor(directory: string, events: FullDiskEvents) {
    this.#directory = directory;
    this.#events = events;
  }

  get isParked(): boolean {
    return this.#timer !== undefined;
  }

  /** Does something that needs room, or as soon as there is some; always in the order of the calls. */
  write(work: () => void): void {
    this.#writes.push(work);
    const full = this.#flush();
    if (full !== undefined) this.park(full, 0);
  }

  /** @param neededBytes so much was there for a file, and was not enough */
  park(reason: DrayError, neededBytes: number): void {
    if (this.#isStopped) return;
    this.#neededBytes = Math.max(this.#neededBytes, neededBytes);
    if (this.isParked) return;
    this.#parkedAtMs = performance.now();
    this.#events.parked(reason);
    this.#isTold = true;
    this.#timer = setInterval(() => this.#tryAgain(), TRY_INTERVAL_MS);
  }

  /** A file arrived. */
  arrived(): void {
    if (!this.#isTold) return;
    this.#isTold = false;
    this.#events.parked(undefined);
  }

  /** What did not fit may not be wanted any more. */
  forgetNeed(): void {
    this.#neededBytes = 0;
  }

  /** Resolves when there is room, as far as is known. */
  async room(): Promise<void> {
    if (!this.isParked) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push(resolve);
    await promise;
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  /** @returns the error when there is no room */
  #flush(): DrayError | undefined {
    for (let work = this.#writes[0]; work !== undefined; work = this.#writes[0]) {
      try {
        work();
      } catch (error) {
        const known = asDrayError(error);
        if (known.code === "no-space") return known;
        throw error;
      }
      this.#writes.shift();
    }
    return undefined;
  }

  #tryAgain(): void {
    if (this.#flush() !== undefined || !this.#isWorthTrying()) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#neededBytes = 0;
    for (const resume of this.#waiters.splice(0)) resume();
    this.#events.unparked();
  }

  /** A large file that filled the disk is not fetched again and again just to see that it still does. */
  #isWorthTrying(): boolean {
    if (performance.now() - this.#parkedAtMs >= TRY_ANYHOW_MS) return true;
    const { bavail, bsize } = fs.statfsSync(this.#directory);
    return bavail * bsize > this.#neededBytes + SOME_ROOM_BYTES;
  }
}
