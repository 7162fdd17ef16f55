import { isNotFound } from "../errors/dray-error.ts";
import type { Tree, TreePath } from "./ports.ts";

interface Syncing {
  readonly running: Promise<void>;
  /** Begins when the running one is done. */
  next: Promise<void> | undefined;
}

/** Directories that are remembered as lasting, at most. */
const MAX_REMEMBERED = 10_000;

/** Syncs of directories, shared: all who ask while one of the same directory runs get the next one. */
export class DirectorySyncs {
  readonly #tree: Tree;
  readonly #syncing = new Map<string, Syncing>();
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
  async sync(path: TreePath): Promise<void> {
    try {
      await this.#syncWay(path);
    } catch (error) {
      if (!isNotFound(error) || path.length === 0 || this.#tree.stat(path) !== undefined) throw error;
      await this.sync(path.slice(0, -1));
    }
  }

  /** Several at once. */
  async syncAll(paths: readonly TreePath[]): Promise<void> {
    await Promise.all(paths.map((path) => this.sync(path)));
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
    const key = path.join("/");
    const syncing = this.#syncing.get(key);
    if (syncing === undefined) return this.#start(key, path);
    const start = (): Promise<void> => this.#start(key, path);
    syncing.next ??= syncing.running.then(start, start);
    return syncing.next;
  }

  #start(key: string, path: TreePath): Promise<void> {
    const syncing: Syncing = { running: this.#tree.syncDirectory(path), next: undefined };
    this.#syncing.set(key, syncing);
    const done = (): void => {
      if (syncing.next === undefined && this.#syncing.get(key) === syncing) this.#syncing.delete(key);
    };
    syncing.running.then(done, done);
    return syncing.running;
  }

  #remember(key: string, inode: bigint): void {
    if (this.#lasting.size >= MAX_REMEMBERED) this.#lasting.clear();
    this.#lasting.set(key, inode);
  }
}
