import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { DirectoryLock } from "../disk/directory-lock.ts";
import type { Ports } from "./ports.ts";
import { realClock } from "./real-clock.ts";
import { RealHasher } from "./real-hasher.ts";
import { RealLedger } from "./real-ledger.ts";
import { realNetwork } from "./real-network.ts";
import { RealTree } from "./real-tree.ts";
import { RealWatcher } from "./real-watcher.ts";
import { DATABASE_NAME, STATE_FOLDER, makeDirectories } from "./state-folder.ts";

export interface RealPortSettings {
  /** The folder that is synced; it is there. */
  readonly rootPath: string;
  /** Entry of a pool thread (src/thread-url.ts), and how many at most; they start when first needed. */
  readonly threadUrl: string;
  readonly threads: number;
}

/**
 * The ports of this machine. Takes the folder's lock, makes `.dray`, opens its database.
 * @param setAside told when the database of an earlier run was damaged: why, and where it is kept
 * @throws DrayError "refused" when another dray has the folder; "no-space", "storage"; a system error
 */
export function openRealPorts(
  settings: RealPortSettings,
  setAside: (why: string, keptAs: string) => void,
): Ports & { close(): void } {
  const rootPath = path.resolve(settings.rootPath);
  const opened: (() => void)[] = [];
  const close = (): void => {
    for (const step of opened.splice(0).toReversed()) step();
  };
  try {
    const tree = new RealTree(rootPath);
    opened.push(() => tree.close());
    makeDirectories(tree, [STATE_FOLDER]);
    const statePath = path.join(rootPath, STATE_FOLDER);
    const lock = new DirectoryLock(statePath);
    opened.push(() => lock.release());
    const ledger = new RealLedger(path.join(statePath, DATABASE_NAME), setAside);
    opened.push(() => ledger.close());
    syncNow(statePath);
    const hasher = new RealHasher(settings.threadUrl, settings.threads);
    opened.push(() => hasher.close());
    return {
      clock: realClock,
      network: realNetwork,
      tree,
      ledger,
      hasher,
      watcher: new RealWatcher(rootPath),
      random: { bytes: (count) => new Uint8Array(randomBytes(count)) },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** So that the database and its log are found after a power loss. */
function syncNow(directoryPath: string): void {
  const descriptor = fs.openSync(directoryPath, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
