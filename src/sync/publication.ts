import { DrayError, isNotFound, systemErrorCode } from "../errors/dray-error.ts";
import { quoteName } from "../wire/names.ts";
import type { DirectorySyncs } from "./directory-syncs.ts";
import type { Clock, Stat, Tree, TreePath } from "./ports.ts";
import { giveSecondName, isLinkImpossible } from "./second-name.ts";
import type { StagedFile } from "./staging.ts";
import { isSameContent, isUntouched } from "./stat-comparison.ts";
import { makeDirectories, removeEmptyParents } from "./state-folder.ts";
import type { VersionReason } from "./version-name.ts";
import type { Versions } from "./versions.ts";

/** Somebody changed what stands there after `expected` was looked at: nothing was replaced or removed. */
export interface Changed {
  readonly outcome: "changed";
  readonly found: Stat | undefined;
}

export type PublishOutcome =
  /** It is there and durable; `stat` is that of the new file. */
  { readonly outcome: "published"; readonly stat: Stat } | Changed;

export interface PublishOrder {
  readonly path: TreePath;
  /** What stands there now, as it was when the decision to replace it was made; undefined: nothing. */
  readonly expected: Stat | undefined;
  /** The modification time that it gets; undefined: that of its last write. */
  readonly mtimeNs?: bigint | undefined;
  /** Where what is replaced goes. */
  readonly keep: Keep;
}

export type Keep =
  /** To the versions; `md5` of the old content if it is known. */
  | { readonly as: "version"; readonly reason: VersionReason; readonly md5: Uint8Array | undefined }
  /** To a name of its own in the tree that nothing has yet, in the same directory: a conflict copy. */
  | { readonly as: "copy"; readonly path: TreePath };

/**
 * Makes staged files visible, and removes files, so that neither a crash nor somebody's write at the wrong
 * moment loses a content: what is replaced or removed is elsewhere, durably, before its name goes.
 *
 * The order is: content synced; the old content gets its second name, synced; a last look; rename; directories
 * synced. Between the last look and the rename there is nothing, and no waiting. Syncs are shared among all that
 * run at the same time.
 */
export class Publisher {
  readonly #tree: Tree;
  readonly #clock: Clock;
  readonly #syncs: DirectorySyncs;
  readonly #versions: Versions;

  constructor(ports: { tree: Tree; clock: Clock }, syncs: DirectorySyncs, versions: Versions) {
    this.#tree = ports.tree;
    this.#clock = ports.clock;
    this.#syncs = syncs;
    this.#versions = versions;
  }

  /**
   * Publishes and ends the staged file. After "changed" and errors it is still staged, for another try.
   * @throws a system error or DrayError ("refused": a directory, a link or something else is in the way); what stood
   *   there stands there still, unless the directory could not be synced after all else was done
   */
  async publish(staged: StagedFile, order: PublishOrder): Promise<PublishOutcome> {
    const { path, expected } = order;
    if (expected !== undefined && expected.kind !== "file")
      throw new DrayError("refused", `${quoteName(path.join("/"))} is in the way: it is no regular file`);
    if (staged.file.stat().sizeBytes !== staged.sizeBytes) staged.cutBack(staged.sizeBytes);
    // Who may execute it may do so afterwards: the wire knows nothing of modes.
    if (expected !== undefined) staged.file.setMode(expected.mode);
    if (order.mtimeNs !== undefined) staged.file.setMtime(order.mtimeNs);
    await staged.sync();
    const isPlaced =
      expected === undefined
        ? this.#moveToFree(staged.path, path)
        : await this.#replace(staged, path, expected, order.keep);
    if (!isPlaced) return { outcome: "changed", found: this.#tree.stat(path) };
    const stat = staged.file.stat();
    staged.published();
    await this.#syncs.sync(path.slice(0, -1));
    return { outcome: "published", stat };
  }

  /** @returns false when something else stands there than `expected` */
  async #replace(staged: StagedFile, path: TreePath, expected: Stat, keep: Keep): Promise<boolean> {
    if (!isUntouched(expected, this.#tree.stat(path))) return false;
    const kept = await this.#keep(path, expected, keep);
    if (kept === undefined) return false;
    let isPlaced = false;
    try {
      // Between this look and the rename nobody else has a turn.
      if (!isUntouched(kept.stat, this.#tree.stat(path))) return false;
      this.#tree.rename(staged.path, path);
      isPlaced = true;
    } finally {
      if (!isPlaced) kept.undo();
    }
    return true;
  }

  /**
   * Moves a file to the versions, and removes the directories above it that are empty then.
   * @throws a system error or DrayError: it is where it was then
   */
  async remove(
    path: TreePath,
    expected: Stat,
    reason: VersionReason,
    md5: Uint8Array | undefined,
  ): Promise<{ readonly outcome: "removed" } | Changed> {
    const found = this.#tree.stat(path);
    if (!isUntouched(expected, found)) return { outcome: "changed", found };
    const version = await this.#versions.take(path, expected, reason, md5);
    if (version === undefined) return { outcome: "changed", found: this.#tree.stat(path) };
    removeEmptyParents(this.#tree, path);
    return { outcome: "removed" };
  }

  /**
   * Gives a file another name of the same tree; its own is free then.
   * @returns how it is there; undefined when it is not `expected` any more
   * @throws a system error: EEXIST when something has the other name
   */
  async moveAside(path: TreePath, expected: Stat, to: TreePath): Promise<Stat | undefined> {
    if (!isUntouched(expected, this.#tree.stat(path))) return undefined;
    makeDirectories(this.#tree, to.slice(0, -1));
    const kept = await this.#keep(path, expected, { as: "copy", path: to });
    if (kept === undefined) return undefined;
    if (!isUntouched(kept.stat, this.#tree.stat(path))) {
      kept.undo();
      return undefined;
    }
    this.#tree.unlink(path);
    const stat = this.#tree.stat(to);
    await this.#syncs.sync(path.slice(0, -1));
    return stat;
  }

  /** @returns undefined when it is not `expected` any more */
  async #keep(path: TreePath, expected: Stat, keep: Keep): Promise<KeptOld | undefined> {
    if (keep.as === "version") {
      const kept = await this.#versions.keep(path, expected, keep.reason, keep.md5);
      return kept && { stat: kept.stat, undo: () => this.#versions.dropIfNeedless(path, kept.version) };
    }
    await giveSecondName(this.#tree, this.#clock, path, keep.path);
    const stat = this.#tree.stat(path);
    const undo = (): void => this.#removeCopy(path, keep.path);
    if (stat === undefined || !isSameContent(expected, stat)) {
      undo();
      return undefined;
    }
    const copy = this.#tree.open(keep.path);
    try {
      await Promise.all([copy.sync(), this.#syncs.sync(keep.path.slice(0, -1))]);
    } finally {
      copy.close();
    }
    return { stat, undo };
  }

  /** A second name that is not needed is taken back; if it has become the only one, it stays. */
  #removeCopy(path: TreePath, copy: TreePath): void {
    const own = this.#tree.stat(path)?.inode;
    if (own !== undefined && own === this.#tree.stat(copy)?.inode) this.#tree.unlink(copy);
  }

  /** Never replaces anything: a link fails where a rename would not. @returns whether the name was free */
  #moveToFree(from: TreePath, to: TreePath, mayLackDirectory = true): boolean {
    try {
      this.#tree.link(from, to);
    } catch (error) {
      if (systemErrorCode(error) === "EEXIST") return false;
      // The directory is mostly there: it is made only where it turns out not to be.
      if (isNotFound(error) && mayLackDirectory) {
        makeDirectories(this.#tree, to.slice(0, -1));
        return this.#moveToFree(from, to, false);
      }
      if (!isLinkImpossible(error)) throw error;
      if (this.#tree.stat(to) !== undefined) return false;
      this.#tree.rename(from, to);
      return true;
    }
    try {
      this.#tree.unlink(from);
    } catch {
      // The file is there all the same. Its staged name is out of sight, and the next start removes it.
    }
    return true;
  }
}

interface KeptOld {
  /** What the file is like now that it has a second name, which moved the time of its last change. */
  readonly stat: Stat;
  undo(): void;
}
