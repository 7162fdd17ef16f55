/**
 * Everything through which the sync cores touch the world. The real ones are in `real-*.ts`; in a simulation
 * others stand in, so nothing else below src/sync may use a clock, a timer, randomness, files or sockets.
 */

/** Where something is below a root: its components, none for the root itself. */
export type TreePath = readonly string[];

/** An MD5 digest, 16 bytes. */
export type Md5 = Uint8Array;

export interface Ports {
  readonly clock: Clock;
  readonly network: Network;
  readonly tree: Tree;
  readonly ledger: Ledger;
  readonly hasher: Hasher;
  readonly watcher: Watcher;
  readonly random: Random;
}

export interface Clock {
  /** Milliseconds since some moment; never goes backwards. For durations and deadlines. */
  monotonicMs(): number;
  /** Milliseconds since 1970, as the system believes; may jump. For names and stamps only. */
  wallMs(): number;
  /**
   * Calls back once, at `atMs` of monotonicMs() or a little later, never during this call.
   * @returns takes it back; harmless afterwards
   */
  wake(atMs: number, callback: () => void): () => void;
}

export interface Random {
  /** Bytes that nobody can guess. @param count from 0 to 65,536 */
  bytes(count: number): Uint8Array;
}

/** What the owner of a link is told. A throw from any of them ends the link with that error. */
export interface LinkEvents {
  /** Bytes as they came; valid only during the call. */
  data(bytes: Uint8Array): void;
  /** All that was written has been taken: there is room for more. May come without need. */
  drained(): void;
  /** The peer will send nothing more, but may still read. */
  ended(): void;
  /** Exactly once, last. `error` is undefined after an orderly end. */
  closed(error: Error | undefined): void;
}

/** One connection: bytes in order, both ways. */
export interface Link {
  /** For messages: "127.0.0.1:9000". */
  readonly peer: string;
  /** The peer's IP address, without the port. */
  readonly address: string;
  /** False from the moment on in which we end it or it is closed. */
  readonly isOpen: boolean;
  /** Bytes that the system did not take yet. */
  readonly pendingBytes: number;
  /** Whether who has more to send waits for `drained`. What is written in spite of that is kept. */
  readonly isFull: boolean;
  /** To be called in the tick in which the link was handed out, before the first byte can come. */
  attach(events: LinkEvents): void;
  /** Sends or keeps a copy: the caller may reuse `bytes`. Does nothing once the link is not open. */
  write(bytes: Uint8Array): void;
  /** No `data` until resume(), but for what is being delivered. */
  pause(): void;
  resume(): void;
  /** Sends what is pending, then ends our side and waits a while for the peer to end its own. */
  end(): void;
  /** Ends at once; what is pending is lost. */
  terminate(error?: Error): void;
}

export interface Network {
  /**
   * @param ready called in the tick in which the link opens; it attaches the events
   * @throws DrayError "unreachable", "timeout", "closed"
   */
  dial<T>(target: { host: string; port: number }, timeoutMs: number, ready: (link: Link) => T): Promise<T>;
  /**
   * @param port 0 picks a free one
   * @param accept called in the tick in which a link opens; it attaches the events
   * @throws DrayError "usage" when the address cannot be bound
   */
  listen(address: string, port: number, accept: (link: Link) => void): PortListener;
}

export interface PortListener {
  readonly address: string;
  readonly port: number;
  /** Takes no new link; those that are open stay. */
  stop(): void;
}

export type EntryKind = "file" | "directory" | "symlink" | "special";

/** What the file system says about one entry; symbolic links are not followed. */
export interface Stat {
  readonly kind: EntryKind;
  /** 0 for what is no file. */
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  /** Moves with every write and every change of names or modes; no program can set it. */
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  /** Permission bits. */
  readonly mode: number;
}

/** A name in a directory. */
export interface ListedName {
  /** As text; of a name that is not UTF-8, escaped for people, and not to be used as a path. */
  readonly name: string;
  readonly isNameable: boolean;
}

/**
 * The file system below one root, at its lowest: what is written is in the page cache until sync(), a name is where it is until
 * syncDirectory(). Publication, versions, staging and scans are above it.
 *
 * All methods throw system errors (`code`: "ENOENT", "ENOSPC"…, which asDrayError reads), and DrayError
 * "refused" where a symbolic link or a file stands where a directory is to be, "name" for a component that is none.
 * No component is ever followed if it is a symbolic link.
 */
export interface Tree {
  /** Undefined when it, or a directory on the way, is not there. */
  stat(path: TreePath): Stat | undefined;
  /** In no particular order, without `.` and `..`. @throws ENOENT, ENOTDIR */
  list(path: TreePath): ListedName[];
  /** @throws EEXIST, ENOENT when the parent is not there */
  makeDirectory(path: TreePath): void;
  /** @throws ENOTEMPTY, ENOENT */
  removeDirectory(path: TreePath): void;
  /** Replaces a file that has the name. */
  rename(from: TreePath, to: TreePath): void;
  /** A second name of a file. @throws EEXIST, and where there is no such thing: EPERM, ENOTSUP, EMLINK… */
  link(from: TreePath, to: TreePath): void;
  unlink(path: TreePath): void;
  /** For reading. @throws DrayError "refused" for what is no regular file */
  open(path: TreePath): OpenFile;
  /** A new file, for reading and writing. @throws EEXIST */
  create(path: TreePath): OpenFile;
  /** Makes the names in a directory durable, off this thread. */
  syncDirectory(path: TreePath): Promise<void>;
  /** Whether the path that the user named still leads to the directory that was opened. */
  rootState(): "there" | "missing" | "replaced";
}

/** An open file. It stays the same one, whatever happens to its name. */
export interface OpenFile {
  stat(): Stat;
  /** Fewer bytes than there is room for only at the end of the file. @returns how many */
  read(into: Uint8Array, positionBytes: number): number;
  /** All of it, or it throws; what is between the end and `positionBytes` reads as zeros. */
  write(bytes: Uint8Array, positionBytes: number): void;
  truncate(sizeBytes: number): void;
  setMtime(mtimeNs: bigint): void;
  /** @param mode permission bits */
  setMode(mode: number): void;
  /** Makes content, size and times durable, off this thread. Not its name. */
  sync(): Promise<void>;
  /** Harmless when called again. What was asked of a Hasher or sync() before still ends as it should. */
  close(): void;
}

/** A row of a ledger; `value` undefined removes it. */
export interface LedgerChange {
  readonly table: string;
  readonly key: string;
  readonly value: string | undefined;
}

/**
 * Small rows, in named tables. Reads see what was put at once; after a crash all of a put() is there or nothing
 * of it, and never a later one without an earlier one. A killed process loses at most the puts of its last turn.
 */
export interface Ledger {
  get(table: string, key: string): string | undefined;
  /** All rows of a table, by key; those that are changed meanwhile come as they were or as they are. */
  rows(table: string): Iterable<readonly [key: string, value: string]>;
  /**
   * @returns when it is durable; calls of one tick and of the time that a sync takes share the next sync
   * @throws (the promise) DrayError "no-space", "storage"
   */
  put(changes: readonly LedgerChange[]): Promise<void>;
  /** Whether the one of an earlier run was damaged and set aside: this one began empty. */
  readonly isSetAside: boolean;
  close(): void;
}

export interface Hasher {
  /** At once, on this thread: for what is small. */
  md5(bytes: Uint8Array): Md5;
  /** Begins a digest of its own: large ones run on threads, several at a time. */
  begin(): RunningDigest;
}

/** A digest of all that is added to it, in order. */
export interface RunningDigest {
  /** The caller may reuse `bytes` after the call. */
  add(bytes: Uint8Array): void;
  /** A range of an open file as it is when it is read, which may be later; the file may be closed meanwhile. */
  addRange(file: OpenFile, fromBytes: number, lengthBytes: number): void;
  /** Bytes that were added and not hashed yet. Who gets them from a peer waits while this is high. */
  readonly pendingBytes: number;
  /**
   * Of all that was added so far; more may be added behind it. Answers come in the order of the calls.
   * @throws (the promise) DrayError "changed" when a file was shorter than its range; what the disk says
   */
  digest(): Promise<Md5>;
  /** Lets go of what it holds; digests still awaited fail as "interrupted". Harmless when called again. */
  close(): void;
}

export interface WatchEvents {
  /** Something at or below `path` may have changed; undefined: anywhere. Never a promise that it did. */
  changed(path: TreePath | undefined): void;
  /** Watching is not possible (any more): only rescans tell. */
  failed(error: Error): void;
}

export interface Watcher {
  /** Watches the whole tree until it is closed; arms itself anew after an overflow or a new root. */
  watch(events: WatchEvents): { close(): void };
}
