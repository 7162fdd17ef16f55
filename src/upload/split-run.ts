import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import { type LocalFile, type Named, localItems } from "./local-files.ts";
import { PartServer } from "./part-server.ts";
import type { LocalTotals } from "./put-run.ts";
import { type Placed, SplitPut, type SplitEvents, type SplitPutSettings } from "./split-put.ts";
import { SplitSums } from "./split-sums.ts";

export interface SplitRunSettings extends SplitPutSettings {
  named: readonly Named[];
  recursive: boolean;
  targets: readonly DialTarget[];
  /** Entry of the threads that compute digests, and how many of them there may be. */
  threadUrl: string;
  threads: number;
}

export interface SplitRunEvents extends SplitEvents {
  localFailed(localPath: string, error: DrayError): void;
  localSkipped(localPath: string, reason: string): void;
  placedFile(file: LocalFile, placed: Placed): void;
}

/** Files that are placed at the same time: small ones wait for servers to make them durable, not for the network. */
const MAX_UNDER_WAY = 16;
/** And how much they may have together. */
const MAX_UNDER_WAY_BYTES = 64 * 1024 * 1024;

/** Splits local files over servers: large ones one after the other. What has happened is in its servers at any time. */
export class SplitRun {
  readonly totals: LocalTotals = { files: 0, bytes: 0, skipped: 0, failed: 0 };
  readonly servers: readonly PartServer[];
  readonly #settings: SplitRunSettings;
  readonly #events: SplitRunEvents;

  constructor(settings: SplitRunSettings, events: SplitRunEvents) {
    this.#settings = settings;
    this.#events = events;
    this.servers = settings.targets.map((target) => new PartServer(target, settings.put));
  }

  /** Resolves when there is nothing left to do. @throws the signal's reason */
  async run(): Promise<void> {
    const { named, recursive, threadUrl, threads, put } = this.#settings;
    const sums = new SplitSums(threadUrl, threads);
    const underWay = new Set<Promise<void>>();
    let underWayBytes = 0;
    try {
      for (const item of localItems(named, recursive)) {
        put.signal.throwIfAborted();
        if (item.kind === "file") {
          const { sizeBytes } = item.file;
          const hasRoom = (): boolean =>
            underWay.size < MAX_UNDER_WAY && underWayBytes + sizeBytes <= MAX_UNDER_WAY_BYTES;
          while (underWay.size > 0 && !hasRoom()) await Promise.race(underWay);
          underWayBytes += sizeBytes;
          const placing = this.#place(item.file, sums).finally(() => {
            underWay.delete(placing);
            underWayBytes -= sizeBytes;
          });
          underWay.add(placing);
        } else if (item.kind === "skipped") {
          this.totals.skipped++;
          this.#events.localSkipped(item.localPath, item.reason);
        } else this.#failed(item.localPath, item.error);
        await this.#events.room();
      }
      await Promise.all(underWay);
      put.signal.throwIfAborted();
    } finally {
      sums.close();
      for (const server of this.servers) {
        server.isOver = true;
        server.close();
      }
    }
  }

  /** Never fails: an interruption is for the one who waits to notice. */
  async #place(file: LocalFile, sums: SplitSums): Promise<void> {
    try {
      const placed = await new SplitPut(file, this.servers, this.#settings, sums, this.#events).run();
      this.totals.files++;
      this.totals.bytes += file.sizeBytes;
      this.#events.placedFile(file, placed);
    } catch (error) {
      if (!this.#settings.put.signal.aborted) this.#failed(file.localPath, asDrayError(error));
    }
  }

  #failed(localPath: string, error: DrayError): void {
    this.totals.failed++;
    this.#events.localFailed(localPath, error);
  }
}
