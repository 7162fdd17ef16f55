import * as fs from "node:fs";
import { CAN_SYNC_FILE_SYSTEM, syncFileSystem } from "../disk/file-system-sync.ts";
import { syncDescriptor } from "../disk/sync.ts";

/** So many are synced one by one; for more at once, one sync of the whole file system is cheaper. */
const FEW = 8;
/** What a sync of the whole file system may take for each that waits for it; else others write too much there. */
const SLOW_MS_EACH = 10;
const SLOW_MS = 500;
const AVOID_MS = 30_000;

interface Waiting {
  readonly descriptor: number;
  readonly device: number | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Syncs of open files and directories of one tree, together where that is cheaper. */
export class RealSyncs {
  readonly #rootPath: string;
  readonly #device: number;
  #waiting: Waiting[] = [];
  #isScheduled = false;
  #isGroupRunning = false;
  #avoidUntilMs = 0;

  constructor(rootPath: string) {
    this.#rootPath = rootPath;
    this.#device = fs.statSync(rootPath).dev;
  }

  /**
   * @param descriptor stays open until the promise is settled
   * @param device what it is on, if that is known
   * @throws (the promise) a system error
   */
  sync(descriptor: number, device?: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ descriptor, device, resolve, reject });
    this.#schedule();
    return promise;
  }

  /** Those that come in one turn, and while a group is synced, go together. */
  #schedule(): void {
    if (this.#isScheduled || this.#isGroupRunning) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#start();
    });
  }

  #start(): void {
    const all = this.#waiting.splice(0);
    const canGroup = CAN_SYNC_FILE_SYSTEM && performance.now() >= this.#avoidUntilMs;
    if (!canGroup || all.length <= FEW) return all.forEach(syncOne);
    const group: Waiting[] = [];
    for (const each of all) {
      if (this.#isHere(each)) group.push(each);
      else syncOne(each);
    }
    if (group.length > 0) void this.#syncGroup(group);
  }

  async #syncGroup(group: readonly Waiting[]): Promise<void> {
    this.#isGroupRunning = true;
    const startedMs = performance.now();
    try {
      await syncFileSystem(this.#rootPath);
      for (const { resolve } of group) resolve();
    } catch {
      // Then each of them will say what is wrong with it.
      for (const each of group) syncOne(each);
    }
    const tookMs = performance.now() - startedMs;
    if (tookMs > SLOW_MS && tookMs > SLOW_MS_EACH * group.length)
      this.#avoidUntilMs = performance.now() + AVOID_MS;
    this.#isGroupRunning = false;
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** A folder below the root may be on another file system. */
  #isHere({ descriptor, device }: Waiting): boolean {
    return (device ?? fs.fstatSync(descriptor).dev) === this.#device;
  }
}

function syncOne({ descriptor, resolve, reject }: Waiting): void {
  syncDescriptor(descriptor).then(resolve, reject);
}
