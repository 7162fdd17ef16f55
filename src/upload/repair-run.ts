import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import { PartServer } from "./part-server.ts";
import type { LocalTotals } from "./put-run.ts";
import type { SplitEvents } from "./split-put.ts";
import { type Repaired, SplitRepair, type SplitRepairSettings } from "./split-repair.ts";

export interface RepairRunSettings extends SplitRepairSettings {
  /** Names on the servers. */
  names: readonly string[];
  targets: readonly DialTarget[];
}

export interface RepairRunEvents extends SplitEvents {
  /** A file that cannot be repaired at all. */
  localFailed(name: string, error: DrayError): void;
  repaired(name: string, repaired: Repaired): void;
}

/** Repairs split files, one after the other. */
export class RepairRun {
  readonly totals: LocalTotals = { files: 0, bytes: 0, skipped: 0, failed: 0 };
  readonly servers: readonly PartServer[];
  readonly #settings: RepairRunSettings;
  readonly #events: RepairRunEvents;

  constructor(settings: RepairRunSettings, events: RepairRunEvents) {
    this.#settings = settings;
    this.#events = events;
    this.servers = settings.targets.map((target) => new PartServer(target, settings.put));
  }

  /** Resolves when there is nothing left to do. @throws the signal's reason */
  async run(): Promise<void> {
    const { signal } = this.#settings.put;
    try {
      for (const name of this.#settings.names) {
        signal.throwIfAborted();
        try {
          const repaired = await new SplitRepair(name, this.servers, this.#settings, this.#events).run();
          this.totals.files++;
          this.totals.bytes += repaired.manifest.sizeBytes;
          this.#events.repaired(name, repaired);
        } catch (error) {
          signal.throwIfAborted();
          this.totals.failed++;
          this.#events.localFailed(name, asDrayError(error));
        }
        await this.#events.room();
      }
    } finally {
      for (const server of this.servers) {
        server.isOver = true;
        server.close();
      }
    }
  }
}
