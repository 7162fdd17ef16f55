import type { OpenFile } from "../../../src/sync/ports.ts";
import type { SimulatedTree } from "../simulated-tree.ts";
import type { SimulatedNode } from "./node.ts";
import type { Oracle } from "./oracle.ts";
import type { Step } from "./story.ts";

/** What the user of a machine does to its files, and tells the oracle. */
export class User {
  readonly #node: SimulatedNode;
  readonly #oracle: Oracle;
  #count = 0;

  constructor(node: SimulatedNode, oracle: Oracle) {
    this.#node = node;
    this.#oracle = oracle;
  }

  /** @returns whether it could be done */
  take(step: Step): boolean {
    if (this.#node.disk.root === undefined || this.#node.unmounted !== undefined) return false;
    return this.#acting(() => this.#do(step));
  }

  #do(step: Step): boolean {
    switch (step.do) {
      case "write":
        return this.#write(step.name, step.bytes, step.synced === true);
      case "append":
        return this.#append(step);
      case "atomic-save":
        return this.#atomicSave(step.name, step.bytes);
      case "backup-save":
        if (this.#isFile(step.name)) this.#rename(step.name, `${step.name}~`);
        return this.#write(step.name, step.bytes, false);
      case "stealth":
        return this.#stealth(step.name);
      case "delete":
        if (!this.#isFile(step.name)) return false;
        this.#oracle.removes(this.#node, step.name, "deletes");
        this.#tree.unlink(step.name.split("/"));
        return true;
      case "rename":
        if (!this.#isFile(step.name) || step.name === step.to) return false;
        return this.#rename(step.name, step.to);
      default:
        throw new Error(`no user does "${step.do}"`);
    }
  }

  #write(name: string, sizeBytes: number, isSynced: boolean): boolean {
    const file = this.#openFresh(name);
    if (file === undefined) return false;
    const bytes = this.#bytes(sizeBytes);
    const durable = this.#oracle.wrote(this.#node, bytes, this.#label(name));
    file.truncate(0);
    file.write(bytes, 0);
    this.#dirty(name);
    if (isSynced) this.#sync(name, file, durable);
    file.close();
    return true;
  }

  #append({ name, parts, pause, held }: Step & { do: "append" }): boolean {
    const file = this.#openFresh(name);
    if (file === undefined) return false;
    const bytes = this.#bytes(parts * 40);
    const path = name.split("/");
    const inode = this.#node.inodeAt(path);
    file.truncate(0);
    this.#dirty(name);
    const { world } = this.#node.machine;
    const { generation } = this.#node.disk;
    const part = (number: number): void => {
      if (this.#node.disk.generation !== generation || this.#node.unmounted !== undefined) return;
      this.#acting(() => {
        // Who opens it anew finds another one, or none: this one was replaced, and is left alone.
        if (!held && this.#node.inodeAt(path) !== inode) return file.close();
        if (inode !== undefined) this.#oracle.overwrites(inode);
        file.write(bytes.subarray(number * 40, (number + 1) * 40), number * 40);
        // Two who write through the same file leave a mixture.
        const now = inode?.content().bytes ?? bytes;
        this.#oracle.contents.learn(
          now,
          `a state of ${JSON.stringify(name)} on the ${this.#node.name}`,
          false,
        );
        if (number < parts - 1)
          return void world.clock.wake(world.clock.monotonicMs() + pause, () => part(number + 1));
        if (this.#node.inodeAt(path) === inode && bytes.equals(now))
          this.#oracle.wrote(this.#node, bytes, this.#label(name));
        file.close();
      });
    };
    part(0);
    return true;
  }

  #atomicSave(name: string, sizeBytes: number): boolean {
    const temporary = `${name}.saving`;
    if (!this.#write(temporary, sizeBytes, false)) return false;
    return this.#rename(temporary, name);
  }

  #stealth(name: string): boolean {
    // A literal client compares times, and nothing else.
    if (!this.#isFile(name) || this.#node.kind === "literal") return false;
    const inode = this.#node.inodeAt(name.split("/"))!;
    if (inode.sizeBytes < 8) return false;
    // In the tick of the file system's clock in which dray put it there: nothing would tell the two apart.
    const isRacy = inode.ctimeNs === this.#node.disk.nowNs();
    if (isRacy && !this.#node.userDirty.has(inode)) return false;
    const { mtimeNs } = inode;
    this.#oracle.removes(this.#node, name, "overwrites");
    const bytes = this.#bytes(inode.sizeBytes);
    this.#oracle.wrote(this.#node, bytes, this.#label(name));
    const file = this.#tree.openToWrite(name.split("/"));
    file.write(bytes, 0);
    file.setMtime(mtimeNs);
    file.close();
    this.#dirty(name);
    return true;
  }

  #rename(from: string, to: string): boolean {
    const path = to.split("/");
    if (!this.#makeParents(path) || this.#tree.stat(path)?.kind === "directory") return false;
    this.#oracle.removes(this.#node, to, "overwrites");
    this.#oracle.revives(to, this.#node.contentAt(from));
    this.#oracle.removes(this.#node, from, "renames");
    this.#tree.rename(from.split("/"), path);
    return true;
  }

  /** For writing from the start, with the directories above it. */
  #openFresh(name: string): OpenFile | undefined {
    const path = name.split("/");
    if (!this.#makeParents(path)) return undefined;
    const stat = this.#tree.stat(path);
    if (stat === undefined) return this.#tree.create(path);
    if (stat.kind !== "file") return undefined;
    this.#oracle.removes(this.#node, name, "overwrites");
    return this.#tree.openToWrite(path);
  }

  #makeParents(path: readonly string[]): boolean {
    for (let depth = 1; depth < path.length; depth++) {
      const stat = this.#tree.stat(path.slice(0, depth));
      if (stat === undefined) this.#tree.makeDirectory(path.slice(0, depth));
      else if (stat.kind !== "directory") return false;
    }
    return true;
  }

  #isFile(name: string): boolean {
    return this.#tree.stat(name.split("/"))?.kind === "file";
  }

  /** Makes a file last, as a careful program does, with all directories above it. */
  #sync(name: string, file: OpenFile, durable: () => void): void {
    const path = name.split("/");
    const inode = this.#node.inodeAt(path)!;
    const tree = this.#tree;
    const size = inode.sizeBytes;
    const syncs = [file.sync(), ...path.map((_, depth) => tree.syncDirectory(path.slice(0, depth)))];
    Promise.all(syncs).then(
      () => {
        if (inode.sizeBytes !== size) return;
        this.#node.userDirty.delete(inode);
        durable();
      },
      () => {},
    );
  }

  #dirty(name: string): void {
    const inode = this.#node.inodeAt(name.split("/"));
    if (inode !== undefined) this.#node.userDirty.add(inode);
  }

  #bytes(sizeBytes: number): Buffer {
    return this.#oracle.contents.make(sizeBytes, this.#node.number + 3);
  }

  #label(name: string): string {
    return `content ${++this.#count} of the ${this.#node.name}'s user for ${JSON.stringify(name)}`;
  }

  get #tree(): SimulatedTree {
    return this.#node.machine.user();
  }

  /** Users are not concerned by the faults of the disk, which are there for dray. */
  #acting<T>(work: () => T): T {
    const { disk } = this.#node;
    const before = this.#oracle.acting;
    const { settings } = disk;
    this.#oracle.acting = this.#node;
    disk.settings = { ...settings, capacityBytes: Infinity };
    try {
      return work();
    } finally {
      disk.settings = settings;
      this.#oracle.acting = before;
    }
  }
}
