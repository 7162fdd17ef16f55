import { syncFileSystem } from "../disk/file-system-sync.ts";
import type { DrayError } from "../errors/dray-error.ts";
import type { StateDirectory } from "./state-directory.ts";

/** How long, and how much, may be visible without being synced. */
const MAX_UNSYNCED_MS = 5_000;
const MAX_UNSYNCED_BYTES = 256 * 1024 * 1024;

/** Whether a sync in the background is due. Pure. */
export function isSyncDue(
  unsyncedBytes: number,
  unsyncedSinceMs: number | undefined,
  nowMs: number,
): boolean {
  if (unsyncedSinceMs === undefined) return false;
  return unsyncedBytes >= MAX_UNSYNCED_BYTES || nowMs - unsyncedSinceMs >= MAX_UNSYNCED_MS;
}

/**
 * Durability "batch": one sync of the whole file system behind many files, instead of one for each.
 * Measured: a file system sync after 10,000 small files takes about a tenth of what 10,000 fsyncs
 * in 32 lanes do (bun.md; tests/bench).
 */
export class BatchSyncer {
  readonly #directory: string;
  readonly #state: StateDirectory;
  readonly #isIdle: () => boolean;
  readonly #failed: (error: DrayError) => void;
  #unsyncedBytes = 0;
  #unsyncedSinceMs: number | undefined;
  #running: Promise<void> | undefined;

  /**
   * @param isIdle whether no worker is about to make a file visible
   * @param failed told of a sync in the background that failed
   */
  constructor(
    directory: string,
    state: StateDirectory,
    isIdle: () => boolean,
    failed: (error: DrayError) => void,
  ) {
    this.#directory = directory;
    this.#state = state;
    this.#isIdle = isIdle;
    this.#failed = failed;
    // What a killed daemon published is still to be synced.
    if (state.isUnsynced) this.#unsyncedSinceMs = performance.now();
  }

  /** Whether this machine can sync one file system; otherwise files have to be synced one by one. */
  static async isAvailable(directory: string): Promise<boolean> {
    return syncFileSystem(directory).then(
      () => true,
      () => false,
    );
  }

  /** Files of so many bytes became visible. */
  published(bytes: number, nowMs: number): void {
    this.#unsyncedBytes += bytes;
    this.#unsyncedSinceMs ??= nowMs;
    if (this.#running === undefined && isSyncDue(this.#unsyncedBytes, this.#unsyncedSinceMs, nowMs)) {
      this.sync().catch((error: unknown) => this.#failed(error as DrayError));
    }
  }

  /**
   * Resolves when all that was published before the call is durable.
   * @throws DrayError "storage"
   */
  async sync(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => {}); // began too early for us
    if (this.#unsyncedSinceMs === undefined) return;
    this.#running = this.#syncNow();
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  async #syncNow(): Promise<void> {
    const unsynced = { bytes: this.#unsyncedBytes, sinceMs: this.#unsyncedSinceMs };
    this.#unsyncedBytes = 0;
    this.#unsyncedSinceMs = undefined;
    const startedMs = Date.now();
    const wasIdle = this.#isIdle();
    try {
      await syncFileSystem(this.#directory);
    } catch (error) {
      this.#unsyncedBytes += unsynced.bytes;
      this.#unsyncedSinceMs = unsynced.sinceMs;
      throw error;
    }
    this.#state.synced(startedMs, wasIdle && this.#isIdle() && this.#unsyncedSinceMs === undefined);
  }
}
