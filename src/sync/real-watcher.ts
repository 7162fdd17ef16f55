import * as fs from "node:fs";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { isReserved } from "./names.ts";
import type { WatchEvents, Watcher } from "./ports.ts";

/** After watching failed, until it is tried again. */
const AGAIN_MS = 1_000;
const MAX_AGAIN_MS = 60_000;

/** fs.watch over a whole tree, with its traps: see arm(). */
export class RealWatcher implements Watcher {
  readonly #rootPath: string;

  constructor(rootPath: string) {
    this.#rootPath = rootPath;
  }

  watch(events: WatchEvents): { close(): void } {
    return new Watch(this.#rootPath, events);
  }
}

class Watch {
  readonly #rootPath: string;
  readonly #events: WatchEvents;
  #watcher: fs.FSWatcher | undefined;
  #again: Timer | undefined;
  #pauseMs = AGAIN_MS;
  #isClosed = false;

  constructor(rootPath: string, events: WatchEvents) {
    this.#rootPath = rootPath;
    this.#events = events;
    this.#arm();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#again);
    this.#watcher?.close();
  }

  /**
   * An event without a name means that the root was replaced, and then nothing more ever comes, or that events
   * were lost: watched anew, and whatever happened in between is unknown.
   */
  #arm(): void {
    try {
      const watcher = fs.watch(this.#rootPath, { recursive: true }, (_, name) => {
        if (watcher !== this.#watcher) return;
        // Null by the types; Bun says undefined, too.
        if (typeof name !== "string") return this.#armAgain(undefined);
        const path = name.split("/");
        if (!isReserved(path[0]!)) this.#events.changed(path);
      });
      watcher.on("error", (error) => watcher === this.#watcher && this.#armAgain(error));
      this.#watcher = watcher;
    } catch (error) {
      return this.#armAgain(error);
    }
    this.#events.changed(undefined);
  }

  #armAgain(error: unknown): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    if (this.#isClosed) return;
    if (error === undefined) this.#pauseMs = AGAIN_MS;
    else
      this.#events.failed(
        new DrayError(
          asDrayError(error).code,
          `cannot watch the folder for changes: ${asDrayError(error).message}`,
        ),
      );
    this.#events.changed(undefined);
    this.#again = setTimeout(() => this.#arm(), error === undefined ? 100 : this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, MAX_AGAIN_MS);
  }
}
