import * as fs from "node:fs";
import * as path from "node:path";
import { type ContainedDirectory, ContainedRoot } from "../disk/contained-root.ts";
import { foreignNames } from "../disk/walk.ts";
import { DrayError, isNotFound } from "../errors/dray-error.ts";
import type { ListedName, OpenFile, Stat, Tree, TreePath } from "./ports.ts";
import { RealFile, statOf } from "./real-file.ts";
import { RealSyncs } from "./real-syncs.ts";

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** A FIFO must not hold us up, nor a link be followed. */
const READ_FLAGS = O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0);
const CREATE_FLAGS = O_RDWR | O_CREAT | O_EXCL | (O_NOFOLLOW ?? 0);

/** The file system below a directory, by names that ContainedRoot checks and walks. */
export class RealTree implements Tree {
  readonly #root: ContainedRoot;
  readonly #rootPath: string;
  readonly #device: bigint;
  readonly #inode: bigint;
  readonly #syncs: RealSyncs;
  #isFresh = false;

  /** @param rootPath an existing directory. @throws a system error */
  constructor(rootPath: string) {
    this.#rootPath = path.resolve(rootPath);
    this.#root = new ContainedRoot(this.#rootPath);
    this.#syncs = new RealSyncs(this.#rootPath);
    using root = this.#root.hold([]);
    const { dev, ino } = fs.statSync(root.path, { bigint: true });
    this.#device = dev;
    this.#inode = ino;
  }

  stat(path: TreePath): Stat | undefined {
    try {
      using place = this.#place(path);
      // The root's descriptor looks like a link to where it leads.
      const look = path.length === 0 ? fs.statSync : fs.lstatSync;
      const stats = look(place.at, { bigint: true, throwIfNoEntry: false });
      return stats === undefined ? undefined : statOf(stats);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  list(path: TreePath): ListedName[] {
    using directory = this.#hold(path);
    const names = fs.readdirSync(directory.path);
    const isSuspect = (name: string): boolean => name.includes("\u{FFFD}");
    const listed = names.filter((name) => !isSuspect(name)).map((name) => ({ name, isNameable: true }));
    if (listed.length === names.length) return listed;
    const foreign = foreignNames(directory.path);
    return [
      ...listed,
      ...foreign.readable.map((name) => ({ name, isNameable: true })),
      ...foreign.unnameable.map((name) => ({ name, isNameable: false })),
    ];
  }

  makeDirectory(path: TreePath): void {
    using place = this.#place(path);
    fs.mkdirSync(place.at);
  }

  removeDirectory(path: TreePath): void {
    this.#forget();
    using place = this.#place(path);
    fs.rmdirSync(place.at);
  }

  rename(from: TreePath, to: TreePath): void {
    using source = this.#place(from);
    using target = this.#place(to);
    fs.renameSync(source.at, target.at);
    this.#forget();
  }

  link(from: TreePath, to: TreePath): void {
    using source = this.#place(from);
    using target = this.#place(to);
    fs.linkSync(source.at, target.at);
  }

  unlink(path: TreePath): void {
    using place = this.#place(path);
    fs.unlinkSync(place.at);
  }

  open(path: TreePath): OpenFile {
    using place = this.#place(path);
    const descriptor = fs.openSync(place.at, READ_FLAGS);
    const stats = fs.fstatSync(descriptor);
    if (stats.isFile()) return new RealFile(descriptor, this.#syncs, stats.dev);
    fs.closeSync(descriptor);
    throw new DrayError("refused", "it is no regular file");
  }

  create(path: TreePath): OpenFile {
    using place = this.#place(path);
    return new RealFile(fs.openSync(place.at, CREATE_FLAGS, 0o666), this.#syncs);
  }

  async syncDirectory(path: TreePath): Promise<void> {
    const descriptor = this.#openDirectory(path);
    try {
      await this.#syncs.sync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  }

  rootState(): "there" | "missing" | "replaced" {
    const stats = fs.statSync(this.#rootPath, { bigint: true, throwIfNoEntry: false });
    if (stats === undefined || !stats.isDirectory()) return "missing";
    return stats.ino === this.#inode && stats.dev === this.#device ? "there" : "replaced";
  }

  close(): void {
    this.#root.close();
  }

  #openDirectory(path: TreePath): number {
    using directory = this.#hold(path);
    return fs.openSync(directory.path, O_RDONLY);
  }

  #place(path: TreePath): Place {
    const name = path.at(-1);
    const directory = this.#hold(path.slice(0, -1));
    return new Place(directory, name === undefined ? directory.path : directory.entry(name));
  }

  /** Directories stay open within one turn of the event loop: users rename them meanwhile. */
  #hold(path: TreePath): ContainedDirectory {
    if (!this.#isFresh) {
      this.#forget();
      this.#isFresh = true;
      setImmediate(() => (this.#isFresh = false));
    }
    return this.#root.hold(path);
  }

  #forget(): void {
    this.#root.forget();
  }
}

/** A path for system calls on one entry, as long as its directory is held. */
class Place implements Disposable {
  readonly at: string;
  readonly #directory: ContainedDirectory;

  constructor(directory: ContainedDirectory, at: string) {
    this.#directory = directory;
    this.at = at;
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}
