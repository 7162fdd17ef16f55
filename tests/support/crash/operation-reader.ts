import type { StartEntry } from "./disk-entries.ts";
import type { Change, InodeNumber, Made, NamePart, Operation } from "./operations.ts";
import { type Place, RecordedPaths, notSimulated } from "./recorded-paths.ts";
import { type LogEvent, type LoggedCall, bytesOf, descriptorOf, textOf } from "./system-calls-log.ts";

/** Those that change files, make them durable, or say which process does. */
export const TRACED_CALLS = (
  "openat open creat write pwrite64 writev pwritev pwritev2 ftruncate truncate fallocate copy_file_range sendfile " +
  "splice rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat mkdir mkdirat rmdir utimensat " +
  "chmod fchmod fchmodat fsync fdatasync syncfs sync_file_range sync msync mmap sendto sendmsg execve lseek " +
  "io_uring_setup"
).split(" ");

/**
 * Makes operations out of system calls. A call takes effect when it ends; a sync covers what had ended when it
 * began. Anything that would change files in a way it does not know is an error, never overlooked.
 */
export class OperationReader {
  readonly operations: Operation[] = [];
  readonly #paths: RecordedPaths;
  readonly #saying: (bytes: Buffer) => string | undefined;
  readonly #sizes = new Map<InodeNumber, number>();
  #nextInode: InodeNumber;

  /**
   * @param root absolute, without links in it
   * @param directory where the program was started
   * @param saying what bytes that it sends or prints tell its user; undefined for nothing
   */
  constructor(
    root: string,
    directory: string,
    start: readonly StartEntry[],
    saying: (bytes: Buffer) => string | undefined,
  ) {
    this.#paths = new RecordedPaths(root, directory, start);
    this.#saying = saying;
    this.#nextInode = start.length;
    for (const { inode, bytes } of start) this.#sizes.set(inode, bytes.length);
  }

  take({ type, number, call }: LogEvent): void {
    if (call.returned < 0) return;
    const { name } = call;
    if (name === "fsync" || name === "fdatasync" || name === "syncfs") return this.#sync(type, number, call);
    if (type === "begins") return;
    switch (name) {
      case "execve":
        return this.#paths.started(call.pid);
      case "openat":
        return this.#open(call, this.#paths.at(call, 1), call.args[2]!, call.args[3]);
      case "open":
        return this.#open(call, this.#paths.find(call, call.args[0]!), call.args[1]!, call.args[2]);
      case "lseek": {
        const opened = this.#paths.opened(call, 0);
        if (opened !== undefined) opened.position = call.returned;
        return;
      }
      case "write":
        return this.#write(call, undefined);
      case "pwrite64":
        return this.#write(call, Number(call.args[3]));
      case "sendto":
      case "sendmsg":
        return this.#sent(call);
      case "ftruncate":
        return this.#truncate(call);
      case "rename":
        return this.#rename(
          call,
          this.#paths.find(call, call.args[0]!),
          this.#paths.find(call, call.args[1]!),
        );
      case "renameat":
      case "renameat2":
        return this.#rename(call, this.#paths.at(call, 1), this.#paths.at(call, 3));
      case "link":
        return this.#link(call, this.#paths.find(call, call.args[0]!), this.#paths.find(call, call.args[1]!));
      case "linkat":
        return this.#link(call, this.#paths.at(call, 1), this.#paths.at(call, 3));
      case "symlink":
        return this.#make(
          call,
          this.#paths.find(call, call.args[1]!),
          "symlink",
          0o777,
          textOf(call.args[0]!),
        );
      case "symlinkat":
        return this.#make(call, this.#paths.at(call, 2), "symlink", 0o777, textOf(call.args[0]!));
      case "mkdir":
        return this.#make(call, this.#paths.find(call, call.args[0]!), "directory", 0o755);
      case "mkdirat":
        return this.#make(call, this.#paths.at(call, 1), "directory", 0o755);
      case "unlink":
      case "rmdir":
        return this.#remove(call, this.#paths.find(call, call.args[0]!));
      case "unlinkat":
        return this.#remove(call, this.#paths.at(call, 1));
      case "fchmod": {
        const opened = this.#paths.opened(call, 0);
        const mode = Number.parseInt(call.args[1]!, 8);
        if (opened !== undefined) this.#add(call, { kind: "mode", inode: opened.inode, mode });
        return;
      }
      case "utimensat":
        return this.#times(call);
      case "mmap": {
        const isShared = call.args[3]!.includes("MAP_SHARED") && call.args[2]!.includes("PROT_WRITE");
        if (isShared && call.args[4] !== "-1" && this.#paths.isHere(descriptorOf(call.args[4]!).path))
          this.#unknown(call);
        return;
      }
      case "io_uring_setup":
        return this.#unknown(call);
      default:
        if (call.args.some((argument) => this.#paths.mentions(call, argument))) this.#unknown(call);
    }
  }

  #open(call: LoggedCall, place: Place | undefined, flags: string, mode: string | undefined): void {
    if (place === undefined) return this.#paths.hold(call, undefined);
    if (flags.includes("O_TMPFILE")) this.#unknown(call);
    let { inode } = place;
    if (inode === undefined) {
      if (!flags.includes("O_CREAT"))
        throw new Error(`what ${call.name} opened is not known: ${place.shown}`);
      this.#make(call, place, "file", Number.parseInt(mode ?? "644", 8) & ~0o022);
      inode = this.#nextInode - 1;
    } else if (flags.includes("O_TRUNC") && this.#sizes.get(inode) !== 0) {
      this.#sizes.set(inode, 0);
      this.#add(call, { kind: "truncate", inode, sizeBytes: 0 }, place.shown);
    }
    this.#paths.hold(call, { inode, position: 0, appends: flags.includes("O_APPEND") });
  }

  #write(call: LoggedCall, offset: number | undefined): void {
    const opened = this.#paths.opened(call, 0);
    if (opened === undefined) return this.#sent(call);
    const bytes = bytesOf(call.args[1]!).subarray(0, call.returned);
    const size = this.#sizes.get(opened.inode)!;
    const at = offset ?? (opened.appends ? size : opened.position);
    if (offset === undefined) opened.position = at + bytes.length;
    this.#sizes.set(opened.inode, Math.max(size, at + bytes.length));
    this.#add(call, { kind: "write", inode: opened.inode, offset: at, bytes }, this.#paths.shown(call));
  }

  #sent(call: LoggedCall): void {
    if (call.args[1]?.startsWith('"') !== true) return;
    const text = this.#saying(bytesOf(call.args[1]));
    if (text !== undefined) this.#add(call, { kind: "said", text });
  }

  #truncate(call: LoggedCall): void {
    const opened = this.#paths.opened(call, 0);
    if (opened === undefined) return;
    const { inode } = opened;
    const sizeBytes = Number(call.args[1]);
    if (this.#sizes.get(inode) === sizeBytes) return;
    this.#sizes.set(inode, sizeBytes);
    this.#add(call, { kind: "truncate", inode, sizeBytes }, this.#paths.shown(call));
  }

  #rename(call: LoggedCall, from: Place | undefined, to: Place | undefined): void {
    if (from === undefined && to === undefined) return;
    if (from?.inode === undefined || to === undefined) return this.#unknown(call);
    if (from.inode === to.inode) return;
    this.#rewire(
      call,
      [
        { directory: from.directory, name: from.name, inode: undefined },
        { directory: to.directory, name: to.name, inode: from.inode },
      ],
      `${from.shown} to ${to.shown}`,
    );
  }

  #link(call: LoggedCall, from: Place | undefined, to: Place | undefined): void {
    if (from === undefined && to === undefined) return;
    if (from?.inode === undefined || to === undefined) return this.#unknown(call);
    const { directory, name, shown } = to;
    this.#rewire(call, [{ directory, name, inode: from.inode }], `${from.shown} as ${shown}`);
  }

  #remove(call: LoggedCall, place: Place | undefined): void {
    if (place === undefined) return;
    const { directory, name, shown } = place;
    this.#rewire(call, [{ directory, name, inode: undefined }], shown);
  }

  #make(
    call: LoggedCall,
    place: Place | undefined,
    kind: "file" | "directory" | "symlink",
    mode: number,
    target = "",
  ): void {
    if (place === undefined) return;
    const inode = this.#nextInode++;
    this.#sizes.set(inode, 0);
    if (kind === "directory") this.#paths.addDirectory(inode);
    const { directory, name, shown } = place;
    this.#rewire(call, [{ directory, name, inode }], shown, { inode, kind, mode, target });
  }

  #rewire(call: LoggedCall, parts: NamePart[], shown: string, made?: Made): void {
    this.#paths.rename(parts);
    this.#add(call, { kind: "names", parts, made }, shown);
  }

  #times(call: LoggedCall): void {
    if (call.args[1] !== "NULL") {
      if (call.args.some((argument) => this.#paths.mentions(call, argument))) this.#unknown(call);
      return;
    }
    const opened = this.#paths.opened(call, 0);
    if (opened === undefined) return;
    const [, seconds, nanoseconds] = /\{.*\}.*\{tv_sec=(-?\d+), tv_nsec=(\d+)\}/.exec(call.args[2]!) ?? [];
    if (seconds === undefined) return this.#unknown(call);
    const mtimeNs = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds!);
    this.#add(call, { kind: "time", inode: opened.inode, mtimeNs }, this.#paths.shown(call));
  }

  #sync(type: LogEvent["type"], number: number, call: LoggedCall): void {
    const opened = this.#paths.opened(call, 0);
    if (opened === undefined) return;
    const of = call.name === "syncfs" ? "everything" : opened.inode;
    const change: Change =
      type === "begins" ? { kind: "sync-begins", sync: number, of } : { kind: "sync-ends", sync: number };
    this.#add(call, change, this.#paths.shown(call));
  }

  #add(call: LoggedCall, change: Change, shown = ""): void {
    this.operations.push({ ...change, atMs: call.atMs, shown: `${call.name} ${shown}` });
  }

  #unknown(call: LoggedCall): never {
    throw notSimulated(call);
  }
}
