import type { StartEntry } from "./disk-entries.ts";
import type { InodeNumber, NamePart } from "./operations.ts";
import { type LoggedCall, descriptorOf, textOf } from "./system-calls-log.ts";

/** An open file of the recorded disk. */
export interface Opened {
  inode: InodeNumber;
  position: number;
  appends: boolean;
}

/** Where a path leads. */
export interface Place {
  directory: InodeNumber;
  name: string;
  /** Undefined: nothing has the name. */
  inode: InodeNumber | undefined;
  shown: string;
}

/** The names of a recorded disk as the recorded processes see them, and what they have open. */
export class RecordedPaths {
  readonly #root: string;
  readonly #directory: string;
  readonly #names = new Map<InodeNumber, Map<string, InodeNumber>>();
  readonly #tables = new Map<number, Map<string, Opened>>();
  /** Processes of their own; all others are threads of the first one. */
  readonly #programs = new Set<number>();

  /**
   * @param root absolute, without links in it
   * @param directory where the program was started
   */
  constructor(root: string, directory: string, start: readonly StartEntry[]) {
    this.#root = root;
    this.#directory = directory;
    for (const { inode, kind, names } of start) {
      if (kind === "directory") this.#names.set(inode, new Map(names));
    }
  }

  /** A process runs another program from here on: it has descriptors of its own. */
  started(pid: number): void {
    if (this.#tables.size > 0) this.#programs.add(pid);
    this.#table(pid);
  }

  /** A call has returned a descriptor. @param opened undefined for what is not on the recorded disk */
  hold(call: LoggedCall, opened: Opened | undefined): void {
    const descriptor = String(call.returned);
    if (opened === undefined) this.#table(call.pid).delete(descriptor);
    else this.#table(call.pid).set(descriptor, opened);
  }

  addDirectory(inode: InodeNumber): void {
    this.#names.set(inode, new Map());
  }

  rename(parts: readonly NamePart[]): void {
    for (const { directory, name, inode } of parts) {
      const names = this.#names.get(directory)!;
      if (inode === undefined) names.delete(name);
      else names.set(name, inode);
    }
  }

  /** What a descriptor argument stands for, if that is on the recorded disk. */
  opened(call: LoggedCall, index: number): Opened | undefined {
    const { descriptor, path } = descriptorOf(call.args[index]!);
    if (!this.isHere(path)) return undefined;
    const opened = this.#table(call.pid).get(descriptor);
    if (opened === undefined) throw new Error(`${call.name} on ${path}, which nobody opened`);
    return opened;
  }

  /** The path of the first argument, a descriptor, from the root. */
  shown(call: LoggedCall): string {
    return descriptorOf(call.args[0]!).path.slice(this.#root.length + 1);
  }

  #table(pid: number): Map<string, Opened> {
    const program = this.#programs.has(pid) ? pid : 0;
    const table = this.#tables.get(program) ?? new Map<string, Opened>();
    this.#tables.set(program, table);
    return table;
  }

  /** Where a path argument leads that follows a descriptor. */
  at(call: LoggedCall, index: number): Place | undefined {
    const { descriptor } = descriptorOf(call.args[index - 1]!);
    if (descriptor !== "AT_FDCWD" && !textOf(call.args[index]!).startsWith("/")) throw notSimulated(call);
    return this.find(call, call.args[index]!);
  }

  /** Where a path leads, if that is on the recorded disk. */
  find(call: LoggedCall, argument: string): Place | undefined {
    const text = textOf(argument);
    const path = text.startsWith("/") ? text : `${this.#directory}/${text}`;
    const [, descriptor, rest] = /^\/proc\/self\/fd\/(\d+)(?:\/(.*))?$/.exec(path) ?? [];
    if (descriptor !== undefined) {
      const opened = this.#table(call.pid).get(descriptor);
      return opened === undefined ? undefined : this.#walk(opened.inode, rest ?? "", path);
    }
    return this.isHere(path) ? this.#walk(0, path.slice(this.#root.length), path) : undefined;
  }

  #walk(from: InodeNumber, rest: string, shown: string): Place | undefined {
    const components = rest.split("/").filter((component) => component !== "" && component !== ".");
    let place: Place = { directory: from, name: ".", inode: from, shown };
    for (const name of components) {
      const names = place.inode === undefined ? undefined : this.#names.get(place.inode);
      if (names === undefined || name === "..") throw new Error(`not a path of the recorded disk: ${shown}`);
      place = { directory: place.inode!, name, inode: names.get(name), shown: components.join("/") };
    }
    return place;
  }

  isHere(path: string): boolean {
    return path === this.#root || path.startsWith(`${this.#root}/`);
  }

  mentions(call: LoggedCall, argument: string): boolean {
    if (/^\w+</.test(argument)) return this.isHere(descriptorOf(argument).path);
    return argument.startsWith('"') && this.find(call, argument) !== undefined;
  }
}

export function notSimulated(call: LoggedCall): Error {
  return new Error(`${call.name}(${call.args.join(", ").slice(0, 300)}) is not simulated`);
}
