import * as fs from "node:fs";
import type { ContainedDirectory } from "../disk/contained-root.ts";
import { type FileFacts, factsAt } from "../disk/file-facts.ts";
import { DrayError, systemErrorCode } from "../errors/dray-error.ts";
import type { Change, ChangedDirectories } from "./change-queue.ts";
import { type OwnedTree, versionOf } from "./owned-tree.ts";
import { type FileVersion, type OwnedChange, isSame } from "./owner-journal.ts";
import type { PartFile } from "./part-file.ts";
import type { Quota } from "./quota.ts";
import type { TrashBin } from "./trash-bin.ts";

/** What changes of the tree work with. */
export interface TreeContext {
  tree: OwnedTree;
  bin: TrashBin;
  quota: Quota;
  nowMs: () => number;
}

/** A sealed upload takes its name; what had it goes to the trash. */
export class PutChange implements Change {
  readonly #context: TreeContext;
  readonly #components: readonly string[];
  readonly #owner: string;
  readonly #part: PartFile;
  readonly #version: FileVersion;
  #replaced: FileVersion | undefined;
  /** What is replaced is in the trash, and still there as well. */
  #isKept = false;

  constructor(
    context: TreeContext,
    components: readonly string[],
    owner: string,
    part: PartFile,
    sealed: FileFacts,
  ) {
    this.#context = context;
    this.#components = components;
    this.#owner = owner;
    this.#part = part;
    this.#version = versionOf(components, sealed);
  }

  prepare(): OwnedChange {
    this.#replaced = this.#context.tree.find(this.#components, this.#owner);
    return { version: this.#version, owner: this.#owner, replaces: this.#replaced };
  }

  apply(changed: ChangedDirectories): void {
    const { tree, bin, nowMs } = this.#context;
    using directory = holdMaking(tree, this.#components, changed);
    const name = this.#components.at(-1)!;
    assertStill(this.#replaced, this.#components, directory.entry(name));
    if (this.#replaced !== undefined) {
      changed.addAll(bin.keep(tree.root, this.#components, this.#replaced.sizeBytes, nowMs()));
      this.#isKept = factsAt(directory.entry(name)) !== undefined;
    }
    if (!this.#isKept) this.#moveTo(directory);
  }

  /** Over the old one only when that is durable in the trash: a power loss could take both. */
  finish(changed: ChangedDirectories): void {
    if (!this.#isKept) return;
    using directory = this.#context.tree.root.hold(this.#components.slice(0, -1));
    assertStill(this.#replaced, this.#components, directory.entry(this.#components.at(-1)!));
    changed.addHeld(directory);
    this.#moveTo(directory);
  }

  #moveTo(directory: ContainedDirectory): void {
    this.#part.moveTo(directory, this.#components.at(-1)!);
    this.#context.quota.fileBytes += this.#version.sizeBytes - (this.#replaced?.sizeBytes ?? 0);
  }

  outcome(): { there: FileVersion } {
    return { there: this.#version };
  }
}

/** A file that is there already stays, and becomes durable if it was not. */
export class KeepChange implements Change {
  readonly #context: TreeContext;
  readonly #components: readonly string[];
  readonly #owner: string;
  #version: FileVersion | undefined;

  constructor(context: TreeContext, components: readonly string[], owner: string) {
    this.#context = context;
    this.#components = components;
    this.#owner = owner;
  }

  prepare(): undefined {
    this.#version = findThere(this.#context.tree, this.#components, this.#owner);
  }

  apply(changed: ChangedDirectories): void {
    using directory = this.#context.tree.root.hold(this.#components.slice(0, -1));
    changed.addHeld(directory);
    changed.add(`file ${this.#version!.path}`, directory.entry(this.#components.at(-1)!));
  }

  outcome(): { there: FileVersion } {
    return { there: this.#version! };
  }
}

/** A file goes to the trash. */
export class RemoveChange implements Change {
  readonly #context: TreeContext;
  readonly #components: readonly string[];
  readonly #owner: string;
  #version: FileVersion | undefined;
  /** It is in the trash, and still there as well. */
  #isKept = false;

  constructor(context: TreeContext, components: readonly string[], owner: string) {
    this.#context = context;
    this.#components = components;
    this.#owner = owner;
  }

  prepare(): undefined {
    this.#version = findThere(this.#context.tree, this.#components, this.#owner);
  }

  apply(changed: ChangedDirectories): void {
    const { tree, bin, quota, nowMs } = this.#context;
    const { sizeBytes } = this.#version!;
    using directory = tree.root.hold(this.#components.slice(0, -1));
    const at = directory.entry(this.#components.at(-1)!);
    assertStill(this.#version, this.#components, at);
    changed.addAll(bin.keep(tree.root, this.#components, sizeBytes, nowMs()));
    this.#isKept = factsAt(at) !== undefined;
    if (!this.#isKept) changed.addHeld(directory);
    quota.fileBytes -= sizeBytes;
  }

  /** It goes only when it is durable in the trash: a power loss could take both. */
  finish(changed: ChangedDirectories): void {
    if (!this.#isKept) return;
    using directory = this.#context.tree.root.hold(this.#components.slice(0, -1));
    const at = directory.entry(this.#components.at(-1)!);
    assertStill(this.#version, this.#components, at);
    changed.addHeld(directory);
    fs.unlinkSync(at);
  }

  outcome(): { gone: string } {
    return { gone: this.#components.join("/") };
  }
}

/** A file takes a name that nothing has. */
export class RenameChange implements Change {
  readonly #context: TreeContext;
  readonly #from: readonly string[];
  readonly #to: readonly string[];
  readonly #owner: string;
  #version: FileVersion | undefined;
  /** The file has both names. */
  #isLinked = false;

  constructor(context: TreeContext, from: readonly string[], to: readonly string[], owner: string) {
    this.#context = context;
    this.#from = from;
    this.#to = to;
    this.#owner = owner;
  }

  prepare(): OwnedChange {
    const { tree } = this.#context;
    this.#version = findThere(tree, this.#from, this.#owner);
    if (tree.look(this.#to) !== undefined) throw taken();
    return { version: this.#renamed, owner: this.#owner, replaces: undefined };
  }

  apply(changed: ChangedDirectories): void {
    const { tree } = this.#context;
    using fromDirectory = tree.root.hold(this.#from.slice(0, -1));
    using toDirectory = holdMaking(tree, this.#to, changed);
    const from = fromDirectory.entry(this.#from.at(-1)!);
    assertStill(this.#version, this.#from, from);
    this.#isLinked = linkToFree(from, toDirectory.entry(this.#to.at(-1)!));
    if (!this.#isLinked) changed.addHeld(fromDirectory);
  }

  /** The old name goes when the new one is durable: a power loss could take both. */
  finish(changed: ChangedDirectories): void {
    if (!this.#isLinked) return;
    const { tree } = this.#context;
    using directory = tree.root.hold(this.#from.slice(0, -1));
    const from = directory.entry(this.#from.at(-1)!);
    const facts = factsAt(from);
    // Somebody at the server's own machine may have put another file there meanwhile: that is theirs.
    if (facts === undefined || !isSame(versionOf(this.#from, facts), this.#version!)) return;
    fs.unlinkSync(from);
    changed.addHeld(directory);
  }

  outcome(): { there: FileVersion; gone: string } {
    return { there: this.#renamed, gone: this.#from.join("/") };
  }

  get #renamed(): FileVersion {
    return { ...this.#version!, path: this.#to.join("/") };
  }
}

function findThere(tree: OwnedTree, components: readonly string[], owner: string): FileVersion {
  const version = tree.find(components, owner);
  if (version === undefined) throw new DrayError("not-found", "no such file or directory");
  return version;
}

/** Somebody at the server's own machine may be faster than we are: then nothing of theirs is lost. */
function assertStill(expected: FileVersion | undefined, components: readonly string[], at: string): void {
  const facts = factsAt(at);
  const isStill =
    facts === undefined || expected === undefined
      ? facts === undefined && expected === undefined
      : isSame(versionOf(components, facts), expected);
  if (!isStill) throw new DrayError("changed", "it was changed on the server just now");
}

/** Opens a file's directory, making what is missing of it, and has everything synced that changes by that. */
function holdMaking(
  tree: OwnedTree,
  components: readonly string[],
  changed: ChangedDirectories,
): ContainedDirectory {
  using nearest = tree.holdNearest(components);
  const parent = components.slice(0, -1);
  const directory = tree.root.hold(parent, true);
  try {
    changed.addHeld(directory);
    if (directory.shownPath === nearest.shownPath) return directory;
    changed.addHeld(nearest);
    for (let depth = parent.length - 1; depth > 0; depth--) {
      using ancestor = tree.root.hold(parent.slice(0, depth));
      if (ancestor.shownPath === nearest.shownPath) break;
      changed.addHeld(ancestor);
    }
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
  return directory;
}

/**
 * A link cannot replace anything, other than a rename. Killed before the first name goes, the file has both.
 * @returns whether it has both names now; otherwise, without hard links, it was renamed
 */
function linkToFree(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to);
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") throw taken();
    if (systemErrorCode(error) === "EXDEV") throw otherFileSystem();
    if (fs.lstatSync(to, { throwIfNoEntry: false }) !== undefined) throw taken();
    fs.renameSync(from, to); // no hard links here
    return false;
  }
  return true;
}

function taken(): DrayError {
  return new DrayError("refused", "there is something of the new name already");
}

export function otherFileSystem(): DrayError {
  return new DrayError("refused", "its directory is on another file system than the one that is served");
}
