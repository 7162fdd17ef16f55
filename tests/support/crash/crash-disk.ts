import type { Clock } from "../../../src/sync/ports.ts";
import type { Random } from "../random.ts";
import { SimulatedDisk } from "../simulated-disk.ts";
import type { Content, Inode } from "../simulated-inode.ts";
import type { StartEntry } from "./disk-entries.ts";
import type { InodeNumber, Operation } from "./operations.ts";

/** What lies under one path of a disk after a crash. */
export interface DiskEntry {
  kind: "file" | "directory" | "symlink";
  bytes: Uint8Array;
  mode: number;
  target: string;
  mtimeNs: bigint;
  ctimeMs: number;
  /** The same for names of the same file. */
  inode: bigint;
}

/** A simulated disk on which recorded operations are done again, up to a crash. */
export class CrashDisk {
  /** Whether a power failure keeps the order of changes of names. */
  readonly isOrdered: boolean;
  readonly #disk: SimulatedDisk;
  readonly #inodes = new Map<InodeNumber, Inode>();
  readonly #targets = new Map<Inode, string>();
  readonly #syncs = new Map<number, { contents: Map<Inode, Content>; names: number; directory?: Inode }>();
  #nowMs = 0;

  /** @param random decides what a power failure leaves */
  constructor(start: readonly StartEntry[], random: Random) {
    const clock: Clock = {
      monotonicMs: () => this.#nowMs,
      wallMs: () => this.#nowMs,
      wake: () => {
        throw new Error("time does not pass on this disk");
      },
    };
    this.isOrdered = random.next() < 0.5;
    this.#disk = new SimulatedDisk(clock, random, { nameLoss: this.isOrdered ? "ordered" : "any" });
    for (const entry of start) this.#inodes.set(entry.inode, this.#standing(entry));
    for (const { inode, names } of start) {
      const directory = this.#inode(inode);
      for (const [name, number] of names) {
        directory.entries.set(name, this.#inode(number));
        directory.durableEntries.set(name, this.#inode(number));
      }
    }
  }

  do(operation: Operation): void {
    this.#nowMs = operation.atMs;
    const nowNs = this.#disk.nowNs();
    switch (operation.kind) {
      case "names": {
        const { made, parts } = operation;
        if (made !== undefined) {
          const inode = this.#disk.newInode(made.kind);
          inode.mode = made.mode;
          this.#inodes.set(made.inode, inode);
          this.#targets.set(inode, made.target);
        }
        for (const { directory, name } of parts) {
          const replaced = this.#inode(directory).entries.get(name);
          if (replaced !== undefined) replaced.ctimeNs = nowNs;
        }
        this.#disk.setNames(
          ...parts.map(({ directory, name, inode }) => ({
            directory: this.#inode(directory),
            name,
            inode: inode === undefined ? undefined : this.#inode(inode),
          })),
        );
        for (const { inode } of parts) if (inode !== undefined) this.#inode(inode).ctimeNs = nowNs;
        break;
      }
      case "write": {
        const inode = this.#inode(operation.inode);
        inode.write(operation.bytes, operation.offset);
        inode.mtimeNs = inode.ctimeNs = nowNs;
        break;
      }
      case "truncate": {
        const inode = this.#inode(operation.inode);
        inode.truncate(operation.sizeBytes);
        inode.mtimeNs = inode.ctimeNs = nowNs;
        break;
      }
      case "mode": {
        const inode = this.#inode(operation.inode);
        inode.mode = operation.mode;
        inode.ctimeNs = nowNs;
        break;
      }
      case "time": {
        const inode = this.#inode(operation.inode);
        inode.mtimeNs = operation.mtimeNs;
        inode.ctimeNs = nowNs;
        break;
      }
      case "sync-begins":
        this.#syncs.set(operation.sync, this.#covered(operation.of));
        break;
      case "sync-ends": {
        const covered = this.#syncs.get(operation.sync);
        if (covered === undefined) break; // it did not begin: a plant
        for (const [inode, content] of covered.contents) inode.harden(content);
        // Where names keep their order, nothing gets there before what came before it.
        this.#disk.hardenNames(covered.names, this.isOrdered ? undefined : covered.directory);
        break;
      }
      case "said":
        break;
    }
  }

  losePower(): void {
    this.#disk.losePower();
  }

  /** All that has a path, by path: parents first. */
  entries(): Map<string, DiskEntry> {
    const found = new Map<string, DiskEntry>();
    const visit = (directory: Inode, prefix: string): void => {
      for (const [name, inode] of directory.entries) {
        const { kind, mode, ctimeNs, id } = inode;
        if (kind === "special") throw new Error(`${name} is a special file`);
        const { bytes, mtimeNs } = inode.content();
        const target = this.#targets.get(inode) ?? "";
        const ctimeMs = Number(ctimeNs / 1000n) / 1000;
        found.set(prefix + name, { kind, bytes, mode, target, mtimeNs, ctimeMs, inode: id });
        if (kind === "directory") visit(inode, `${prefix + name}/`);
      }
    };
    visit(this.#disk.root!, "");
    return found;
  }

  #standing({ inode: number, kind, mode, target, mtimeNs, ctimeNs, bytes }: StartEntry): Inode {
    if (number === 0) return this.#disk.root!;
    const inode = this.#disk.newInode(kind);
    inode.mode = mode;
    if (kind === "file") inode.write(bytes, 0);
    inode.mtimeNs = mtimeNs;
    inode.ctimeNs = ctimeNs;
    inode.harden(inode.content());
    this.#targets.set(inode, target);
    return inode;
  }

  #covered(of: InodeNumber | "everything"): {
    contents: Map<Inode, Content>;
    names: number;
    directory?: Inode;
  } {
    const inodes = of === "everything" ? [...this.#inodes.values()] : [this.#inode(of)];
    const contents = new Map<Inode, Content>();
    for (const inode of inodes) if (inode.isUnsynced) contents.set(inode, inode.content());
    if (of === "everything") return { contents, names: this.#disk.nameChanges };
    const directory = this.#inode(of);
    return { contents, names: this.#disk.nameChanges, directory };
  }

  #inode(number: InodeNumber): Inode {
    const inode = this.#inodes.get(number);
    if (inode === undefined) throw new Error(`there is no inode ${number}`);
    return inode;
  }
}
