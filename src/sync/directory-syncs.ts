import { isNotFound } from "../errors/dray-error.ts";
import type { Tree, TreePath } from "./ports.ts";

/** Directories that are remembered as lasting, at most. */
const MAX_REMEMBERED = 10_000;

/** Syncs of directories, shared: all who ask while one of the same directory runs get the next one. */
export class DirectorySyncs {
  readonly #tree: Tree;
  readonly #ways = new SharedRuns();
  readonly #own = new SharedRuns();
  /** The inodes of directories whose own names are durable, by path. */
  readonly #lasting = new Map<string, bigint>();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /**
   * Makes all changes of names in a directory durable, and the way from the root to it. Whoever made the directories
   * on the way may not have synced them, and without them what is below is lost. Of a directory that was removed
   * meanwhile, the removal.
   * @throws (the promise) a system error
   */
  sync(path: TreePath): Promise<void> {
    return this.#ways.run(path.join("/"), () => this.#syncFound(path));
  }

  /** Several at once. */
  async syncAll(paths: readonly TreePath[]): Promise<void> {
    await Promise.all(paths.map((path) => this.sync(path)));
  }

  async #syncFound(path: TreePath): Promise<void> {
    try {
      await this.#syncWay(path);
    } catch (error) {
      if (!isNotFound(error) || path.length === 0 || this.#tree.stat(path) !== undefined) throw error;
      await this.sync(path.slice(0, -1));
    }
  }

  async #syncWay(path: TreePath): Promise<void> {
    const fresh = this.#freshOnTheWay(path);
    const syncs = [this.#sync(path)];
    for (const { directory, key, inode } of fresh)
      syncs.push(this.#sync(directory.slice(0, -1)).then(() => this.#remember(key, inode)));
    await Promise.all(syncs);
  }

  /** Directories from the root down to `path` whose own names may not be durable. */
  #freshOnTheWay(path: TreePath): { directory: TreePath; key: string; inode: bigint }[] {
    return path.flatMap((_, index) => {
      const directory = path.slice(0, index + 1);
      const key = directory.join("/");
      const inode = this.#tree.stat(directory)?.inode;
      return inode === undefined || this.#lasting.get(key) === inode ? [] : [{ directory, key, inode }];
    });
  }

  #sync(path: TreePath): Promise<void> {
    return this.#own.run(path.join("/"), () => this.#tree.syncDirectory(path));
  }

  #remember(key: string, inode: bigint): void {
    if (this.#lasting.size >= MAX_REMEMBERED) this.#lasting.clear();
    this.#lasting.set(key, inode);
  }
}

interface SharedRun {
  readonly running: Promise<void>;
  /** Begins when the running one is done. */
  next: Promise<void> | undefined;
}

/** Work that is done for all who ask before it begins. */
class SharedRuns {
  readonly #runs = new Map<string, SharedRun>();

  run(key: string, work: () => Promise<void>): Promise<void> {
    const run = this.#runs.get(key);
    if (run === undefined) return this.#start(key, work);
    const start = (): Promise<void> => this.#start(key, work);
    run.next ??= run.running.then(start, start);
    return run.next;
  }

  #start(key: string, work: () => Promise<void>): Promise<void> {
    const run: SharedRun = { running: work(), next: undefined };
    this.#runs.set(key, run);
    const done = (): void => {
      if (run.next === undefined && this.#runs.get(key) === run) this.#runs.delete(key);
    };
    run.running.then(done, done);
    return run.running;
  }
}
