import type { Clock, TreePath, WatchEvents, Watcher } from "../../src/sync/ports.ts";
import { isReserved } from "../../src/sync/names.ts";
import type { Random } from "./random.ts";
import type { SimulatedDisk } from "./simulated-disk.ts";

export interface WatcherSettings {
  /** From a change to its event, from and to. */
  readonly delayMs: readonly [number, number];
  /** Parts of the events, from 0 to 1, that are lost, come twice, or come as "something changed". */
  readonly lost: number;
  readonly doubled: number;
  readonly overflown: number;
}

export const WATCHER_DEFAULTS: WatcherSettings = { delayMs: [0, 10], lost: 0, doubled: 0, overflown: 0 };

/** Events about a simulated disk, as unreliable as one wants. */
export class SimulatedWatcher implements Watcher {
  readonly #disk: SimulatedDisk;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #isDead: () => boolean;
  settings: WatcherSettings = WATCHER_DEFAULTS;

  constructor(disk: SimulatedDisk, clock: Clock, random: Random, isDead: () => boolean) {
    this.#disk = disk;
    this.#clock = clock;
    this.#random = random;
    this.#isDead = isDead;
  }

  watch(events: WatchEvents): { close(): void } {
    let isClosed = false;
    const tell = (path: TreePath | undefined): void => {
      const [fromMs, toMs] = this.settings.delayMs;
      this.#clock.wake(this.#clock.monotonicMs() + fromMs + this.#random.next() * (toMs - fromMs), () => {
        if (!isClosed && !this.#isDead()) events.changed(path);
      });
    };
    const changed = (path: TreePath | undefined): void => {
      if (path !== undefined && isReserved(path[0] ?? "")) return;
      const { lost, doubled, overflown } = this.settings;
      if (this.#random.next() < lost) return;
      tell(this.#random.next() < overflown ? undefined : path);
      if (this.#random.next() < doubled) tell(path);
    };
    this.#disk.watchers.add(changed);
    return {
      close: () => {
        isClosed = true;
        this.#disk.watchers.delete(changed);
      },
    };
  }
}
