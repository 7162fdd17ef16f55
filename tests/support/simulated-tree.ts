import { DrayError } from "../../src/errors/dray-error.ts";
import type { ListedName, OpenFile, Stat, Tree, TreePath } from "../../src/sync/ports.ts";
import type { DiskOperation, SimulatedDisk } from "./simulated-disk.ts";
import type { Inode } from "./simulated-inode.ts";

/** A process's view of a simulated disk. */
export class SimulatedTree implements Tree {
  readonly disk: SimulatedDisk;
  readonly #root: Inode;
  readonly #generation: number;
  #isRevoked = false;
  /** Files that are open, to find leaks. */
  openFiles = 0;

  constructor(disk: SimulatedDisk) {
    if (disk.root === undefined) throw systemError("ENOENT");
    this.disk = disk;
    this.#root = disk.root;
    this.#generation = disk.generation;
  }

  /** The process is dead: whatever its leftovers try fails, and what they wait for never comes. */
  revoke(): void {
    this.#isRevoked = true;
  }

  get isDead(): boolean {
    return this.#isRevoked || this.disk.generation !== this.#generation;
  }

  stat(path: TreePath): Stat | undefined {
    this.#check();
    const inode = this.#find(path);
    return inode === undefined ? undefined : statOf(inode);
  }

  list(path: TreePath): ListedName[] {
    this.#check();
    this.disk.before({ kind: "read", path });
    return [...this.#directory(path).entries.keys()].map((name) => ({ name, isNameable: true }));
  }

  makeDirectory(path: TreePath): void {
    this.#start("mkdir", path);
    const { directory, name } = this.#place(path);
    if (directory.entries.has(name)) throw systemError("EEXIST");
    this.disk.setNames({ directory, name, inode: this.disk.newInode("directory") });
    this.disk.emit(path);
  }

  removeDirectory(path: TreePath): void {
    this.#start("rmdir", path);
    if (this.#directory(path).entries.size > 0) throw systemError("ENOTEMPTY");
    this.disk.setNames({ ...this.#place(path), inode: undefined });
    this.disk.emit(path);
  }

  rename(from: TreePath, to: TreePath): void {
    this.#start("rename", to);
    const source = this.#place(from);
    const target = this.#place(to);
    const inode = source.directory.entries.get(source.name);
    const replaced = target.directory.entries.get(target.name);
    if (inode === undefined) throw systemError("ENOENT");
    if (replaced === inode) return;
    if (replaced?.kind === "directory") {
      if (inode.kind !== "directory") throw systemError("EISDIR");
      if (replaced.entries.size > 0) throw systemError("ENOTEMPTY");
    } else if (replaced !== undefined && inode.kind === "directory") throw systemError("ENOTDIR");
    inode.ctimeNs = this.disk.nowNs();
    this.disk.setNames({ ...source, inode: undefined }, { ...target, inode });
    this.disk.emit(from);
    this.disk.emit(to);
  }

  link(from: TreePath, to: TreePath): void {
    this.#start("link", to);
    const inode = this.#existing(from);
    const target = this.#place(to);
    if (target.directory.entries.has(target.name)) throw systemError("EEXIST");
    if (!this.disk.settings.hasHardLinks || inode.kind === "directory") throw systemError("EPERM");
    inode.ctimeNs = this.disk.nowNs();
    this.disk.setNames({ ...target, inode });
    this.disk.emit(to);
  }

  unlink(path: TreePath): void {
    this.#start("unlink", path);
    const inode = this.#existing(path);
    if (inode.kind === "directory") throw systemError("EISDIR");
    inode.ctimeNs = this.disk.nowNs();
    this.disk.setNames({ ...this.#place(path), inode: undefined });
    this.disk.emit(path);
  }

  open(path: TreePath): OpenFile {
    this.#check();
    this.disk.before({ kind: "read", path });
    return this.#opened(this.#regular(path), path, false);
  }

  create(path: TreePath): OpenFile {
    this.#start("create", path);
    const { directory, name } = this.#place(path);
    if (directory.entries.has(name)) throw systemError("EEXIST");
    const inode = this.disk.newInode("file");
    this.disk.setNames({ directory, name, inode });
    this.disk.emit(path);
    return this.#opened(inode, path, true);
  }

  /** What programs of users do to existing files, and dray never does. */
  openToWrite(path: TreePath): OpenFile {
    this.#check();
    return this.#opened(this.#regular(path), path, true);
  }

  /** A symbolic link, for those who have to leave it alone. */
  makeLink(path: TreePath): void {
    this.#check();
    this.disk.setNames({ ...this.#place(path), inode: this.disk.newInode("symlink") });
    this.disk.emit(path);
  }

  async syncDirectory(path: TreePath): Promise<void> {
    this.#start("sync-directory", path);
    await this.#alive(this.disk.syncNames(this.#directory(path)));
  }

  rootState(): "there" | "missing" | "replaced" {
    this.#check();
    if (this.disk.root === undefined) return "missing";
    return this.disk.root === this.#root ? "there" : "replaced";
  }

  #opened(inode: Inode, path: TreePath, isWritable: boolean): OpenFile {
    this.openFiles++;
    return new SimulatedFile(inode, this.disk, isWritable, {
      check: () => this.#check(),
      start: (kind) => this.#start(kind, path),
      changed: () => this.disk.emit(path),
      alive: (promise) => this.#alive(promise),
      closed: () => this.openFiles--,
    });
  }

  #check(): void {
    if (this.isDead) throw new ProcessDied();
  }

  #start(kind: DiskOperation["kind"], path: TreePath): void {
    this.#check();
    this.disk.before({ kind, path });
    this.#check();
  }

  /** A dead process is told nothing. */
  #alive<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.isDead || resolve(value),
        (error: unknown) => this.isDead || reject(error as Error),
      );
    });
  }

  #find(path: TreePath): Inode | undefined {
    let inode: Inode | undefined = this.#root;
    for (const [depth, name] of path.entries()) {
      if (inode === undefined) return undefined;
      if (inode.kind !== "directory") {
        if (inode.kind === "symlink") throw obstacle(path.slice(0, depth));
        return undefined;
      }
      inode = inode.entries.get(checkedComponent(name));
    }
    return inode;
  }

  #existing(path: TreePath): Inode {
    const inode = this.#find(path);
    if (inode === undefined) throw systemError("ENOENT");
    return inode;
  }

  #regular(path: TreePath): Inode {
    const inode = this.#existing(path);
    if (inode.kind !== "file") throw new DrayError("refused", `it is no regular file but a ${inode.kind}`);
    return inode;
  }

  #directory(path: TreePath): Inode {
    const inode = this.#existing(path);
    if (inode.kind === "symlink") throw obstacle(path);
    if (inode.kind !== "directory") throw systemError("ENOTDIR");
    return inode;
  }

  #place(path: TreePath): { directory: Inode; name: string } {
    const name = path.at(-1);
    if (name === undefined) throw new DrayError("name", "the root itself cannot be used so");
    return { directory: this.#directory(path.slice(0, -1)), name: checkedComponent(name) };
  }
}

interface FileHost {
  check(): void;
  start(kind: DiskOperation["kind"]): void;
  changed(): void;
  alive<T>(promise: Promise<T>): Promise<T>;
  closed(): void;
}

class SimulatedFile implements OpenFile {
  readonly #inode: Inode;
  readonly #disk: SimulatedDisk;
  readonly #isWritable: boolean;
  readonly #host: FileHost;
  #isClosed = false;

  constructor(inode: Inode, disk: SimulatedDisk, isWritable: boolean, host: FileHost) {
    this.#inode = inode;
    this.#disk = disk;
    this.#isWritable = isWritable;
    this.#host = host;
  }

  stat(): Stat {
    this.#check(false);
    return statOf(this.#inode);
  }

  read(into: Uint8Array, positionBytes: number): number {
    this.#check(false);
    this.#host.start("read");
    return this.#inode.read(into, positionBytes);
  }

  write(bytes: Uint8Array, positionBytes: number): void {
    this.#check(true);
    this.#host.start("write");
    const { capacityBytes } = this.#disk.settings;
    const grownBytes = Math.max(0, positionBytes + bytes.length - this.#inode.sizeBytes);
    if (capacityBytes !== Infinity && this.#disk.usedBytes() + grownBytes > capacityBytes)
      throw systemError("ENOSPC");
    this.#inode.write(bytes, positionBytes);
    this.#touched();
  }

  truncate(sizeBytes: number): void {
    this.#check(true);
    this.#host.start("truncate");
    this.#inode.truncate(sizeBytes);
    this.#touched();
  }

  setMtime(mtimeNs: bigint): void {
    this.#check(true);
    this.#host.start("set-time");
    this.#inode.mtimeNs = mtimeNs;
    this.#inode.ctimeNs = this.#disk.nowNs();
    this.#host.changed();
  }

  setMode(mode: number): void {
    this.#check(true);
    this.#host.start("set-mode");
    this.#inode.mode = mode;
    this.#inode.ctimeNs = this.#disk.nowNs();
    this.#host.changed();
  }

  async sync(): Promise<void> {
    this.#check(false);
    this.#host.start("sync");
    const content = this.#inode.content();
    await this.#host.alive(this.#disk.syncing(() => this.#inode.harden(content)));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#host.closed();
  }

  #touched(): void {
    this.#inode.mtimeNs = this.#inode.ctimeNs = this.#disk.nowNs();
    this.#host.changed();
  }

  #check(isWrite: boolean): void {
    this.#host.check();
    if (this.#isClosed) throw systemError("EBADF");
    if (isWrite && !this.#isWritable) throw systemError("EBADF");
  }
}

/** What the leftovers of a dead process run into. */
export class ProcessDied extends Error {}

export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function obstacle(path: TreePath): DrayError {
  return new DrayError(
    "refused",
    `${JSON.stringify(path.join("/"))} is a symbolic link, and links are not followed`,
  );
}

function checkedComponent(name: string): string {
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0"))
    throw new DrayError("name", `the name ${JSON.stringify(name)} may not be used`);
  if (Buffer.byteLength(name) > 255) throw systemError("ENAMETOOLONG");
  return name;
}

function statOf(inode: Inode): Stat {
  return {
    kind: inode.kind,
    sizeBytes: inode.kind === "file" ? inode.sizeBytes : 0,
    mtimeNs: inode.mtimeNs,
    ctimeNs: inode.ctimeNs,
    inode: inode.id,
    mode: inode.mode,
  };
}
