import type { Clock, EntryKind, TreePath } from "../../src/sync/ports.ts";
import type { Random } from "./random.ts";
import { Inode } from "./simulated-inode.ts";

/** What is about to happen to a disk. */
export interface DiskOperation {
  readonly kind:
    | "read"
    | "mkdir"
    | "rmdir"
    | "rename"
    | "link"
    | "unlink"
    | "create"
    | "write"
    | "truncate"
    | "set-time"
    | "set-mode"
    | "sync"
    | "sync-directory";
  readonly path: TreePath;
}

export interface DiskSettings {
  /** The steps in which the times of files go: two writes within one may leave the same. */
  tickMs: number;
  /** What a sync takes, from and to. */
  syncMs: readonly [number, number];
  /** Without them, link() fails as on FAT. */
  hasHardLinks: boolean;
  /**
   * "ordered": of the changes of names that were not synced a power loss keeps some first ones, as journaling file systems do;
   * "any": any of them.
   */
  nameLoss: "ordered" | "any";
  capacityBytes: number;
}

const DISK_DEFAULTS: DiskSettings = {
  tickMs: 1,
  syncMs: [0, 4],
  hasHardLinks: true,
  nameLoss: "any",
  capacityBytes: Infinity,
};

interface NameChange {
  readonly number: number;
  readonly parts: readonly { directory: Inode; name: string; inode: Inode | undefined }[];
}

/**
 * A file system in memory that tells what was written from what would survive: contents reach the medium by sync, names by the sync
 * of their directory. Everything else may be lost, in any mixture, when the power fails.
 */
export class SimulatedDisk {
  readonly clock: Clock;
  readonly random: Random;
  settings: DiskSettings;
  /** Told of every operation before it happens; a throw is that operation's failure. */
  before: (operation: DiskOperation) => void = () => {};
  /** Told of every path at which something changed; undefined: of anything. */
  readonly watchers = new Set<(path: TreePath | undefined) => void>();
  /** Undefined while nothing is mounted. */
  root: Inode | undefined;
  /** Grows with every power loss: what was under way then never ends. */
  generation = 0;
  #changes: NameChange[] = [];
  #changeCount = 0;
  #inodeCount = 1n;

  constructor(clock: Clock, random: Random, settings: Partial<DiskSettings> = {}) {
    this.clock = clock;
    this.random = random;
    this.settings = { ...DISK_DEFAULTS, ...settings };
    this.root = this.newInode("directory");
  }

  newInode(kind: EntryKind): Inode {
    return new Inode(this.#inodeCount++, kind, this.nowNs());
  }

  nowNs(): bigint {
    const { tickMs } = this.settings;
    return BigInt(Math.round(Math.floor(this.clock.wallMs() / tickMs) * tickMs * 1000)) * 1000n;
  }

  /** Changes names, all parts or none of them, for the running system now, and on the medium when it is synced. */
  setNames(...parts: { directory: Inode; name: string; inode: Inode | undefined }[]): void {
    for (const { directory, name, inode } of parts) {
      if (inode === undefined) directory.entries.delete(name);
      else directory.entries.set(name, inode);
      directory.mtimeNs = directory.ctimeNs = this.nowNs();
    }
    this.#changes.push({ number: ++this.#changeCount, parts });
  }

  /** Takes its time, as a sync does. @returns never, when the power fails meanwhile */
  syncing(finish: () => void): Promise<void> {
    const { generation } = this;
    const [fromMs, toMs] = this.settings.syncMs;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.clock.wake(this.clock.monotonicMs() + fromMs + this.random.next() * (toMs - fromMs), () => {
      if (this.generation !== generation) return;
      finish();
      resolve();
    });
    return promise;
  }

  /** Makes the changes of names in a directory durable that were made up to now. @returns when they are */
  syncNames(directory: Inode): Promise<void> {
    const upTo = this.#changeCount;
    return this.syncing(() => this.hardenNames(upTo, directory));
  }

  /** How many changes of names there were so far. */
  get nameChanges(): number {
    return this.#changeCount;
  }

  /** The first `upTo` changes of names have reached the medium, of one directory or of all. */
  hardenNames(upTo: number, directory?: Inode): void {
    this.#harden(
      ({ number, parts }) =>
        number <= upTo && (directory === undefined || parts.some((part) => part.directory === directory)),
    );
  }

  /** The power fails. All open trees and files of this disk are dead then. */
  losePower(): void {
    this.generation++;
    const kept = this.random.integer(0, this.#changes.length);
    if (this.settings.nameLoss === "ordered") {
      const last = this.#changes[kept - 1]?.number ?? 0;
      this.#harden((change) => change.number <= last);
    } else {
      const chance = this.random.next();
      this.#harden(() => this.random.next() < chance);
    }
    this.#changes = [];
    if (this.root !== undefined) this.#loseBelow(this.root, new Set());
  }

  /** Tells those who watch. */
  emit(path: TreePath | undefined): void {
    for (const watcher of [...this.watchers]) watcher(path);
  }

  /** Bytes of all files that have a name. */
  usedBytes(): number {
    const seen = new Set<Inode>();
    const sum = (inode: Inode): number => {
      if (seen.has(inode)) return 0;
      seen.add(inode);
      let total = inode.sizeBytes;
      for (const entry of inode.entries.values()) total += sum(entry);
      return total;
    };
    return this.root === undefined ? 0 : sum(this.root);
  }

  #harden(isChosen: (change: NameChange) => boolean): void {
    const chosen = new Set(this.#changes.filter(isChosen));
    // A later change of a name is nothing without the earlier ones of the same name.
    const needed = new Map<Inode, Set<string>>();
    for (const change of this.#changes.toReversed()) {
      const isNeeded = change.parts.some(({ directory, name }) => needed.get(directory)?.has(name) === true);
      if (!chosen.has(change) && !isNeeded) continue;
      chosen.add(change);
      for (const { directory, name } of change.parts) {
        const names = needed.get(directory) ?? new Set();
        needed.set(directory, names.add(name));
      }
    }
    for (const change of this.#changes) {
      if (!chosen.has(change)) continue;
      for (const { directory, name, inode } of change.parts) {
        if (inode === undefined) directory.durableEntries.delete(name);
        else directory.durableEntries.set(name, inode);
      }
    }
    this.#changes = this.#changes.filter((change) => !chosen.has(change));
  }

  #loseBelow(inode: Inode, seen: Set<Inode>): void {
    if (seen.has(inode)) return;
    seen.add(inode);
    inode.loseUnsynced(this.random);
    for (const entry of inode.entries.values()) this.#loseBelow(entry, seen);
  }
}
