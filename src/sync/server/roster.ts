import { DrayError } from "../../errors/dray-error.ts";
import { TwinIndex } from "../names.ts";

/** A committed state of a file. */
export interface FileEntry {
  readonly kind: "file";
  /** Grows with every change of any file; no two changes share one. */
  readonly sequence: number;
  readonly sizeBytes: number;
  /** Of the file on this server, nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  readonly inode: bigint;
  /** 32 hexadecimal digits, of the whole file. */
  readonly md5: string;
}

/** That a file was deleted. */
export interface Tombstone {
  readonly kind: "deleted";
  readonly sequence: number;
  /** Of what was deleted. */
  readonly md5: string;
  /** Milliseconds since 1970. */
  readonly deletedMs: number;
}

export type Entry = FileEntry | Tombstone;

/** Who writes a file, as the numbers of connections. */
export interface Lock {
  readonly session: number;
  readonly sinceMs: number;
  /** When the writer last got further. */
  progressMs: number;
  /** One connection may begin the next upload of a file while the last one is being committed. */
  holds: number;
}

export type LockAnswer =
  /** `evicted`: the connection whose lease was over; its upload is to be dropped. */
  | { readonly granted: true; readonly evicted: number | undefined }
  | { readonly granted: false; readonly why: string };

export interface RosterSettings {
  /** A lock without progress for this long ends when somebody else wants it (decision 11). */
  readonly leaseMs: number;
  /** Files and tombstones together. */
  readonly maxNames: number;
}

/**
 * All files that the server knows, with their locks. Pure: told the time, touches nothing. Finding or making an
 * entry and locking it is one step.
 */
export class Roster {
  readonly #settings: RosterSettings;
  readonly #entries = new Map<string, Entry>();
  readonly #locks = new Map<string, Lock>();
  /** Live names and names that are being uploaded: what would be one file on other file systems is refused. */
  readonly #twins = new TwinIndex();
  #sequence = 0;
  #fileCount = 0;

  constructor(settings: RosterSettings) {
    this.#settings = settings;
  }

  /** Of the latest change; 0 before the first. */
  get sequence(): number {
    return this.#sequence;
  }

  get fileCount(): number {
    return this.#fileCount;
  }

  get lockCount(): number {
    return this.#locks.size;
  }

  get(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  /** The committed version; undefined for what is deleted or was never there. */
  file(name: string): FileEntry | undefined {
    const entry = this.#entries.get(name);
    return entry?.kind === "file" ? entry : undefined;
  }

  /** In the order in which they came; those that are changed meanwhile come as they were or as they are. */
  entries(): IterableIterator<[string, Entry]> {
    return this.#entries.entries();
  }

  locks(): IterableIterator<[string, Readonly<Lock>]> {
    return this.#locks.entries();
  }

  lockOf(name: string): Readonly<Lock> | undefined {
    return this.#locks.get(name);
  }

  isLockedByOther(name: string, session: number): boolean {
    const lock = this.#locks.get(name);
    return lock !== undefined && lock.session !== session;
  }

  /** Takes the lock on a file, which may not exist yet. */
  lock(name: string, session: number, nowMs: number): LockAnswer {
    const lock = this.#locks.get(name);
    if (lock?.session === session) {
      lock.holds++;
      lock.progressMs = nowMs;
      return { granted: true, evicted: undefined };
    }
    if (lock !== undefined) {
      if (nowMs - lock.progressMs < this.#settings.leaseMs)
        return { granted: false, why: "another client is writing it" };
      this.#locks.set(name, newLock(session, nowMs));
      return { granted: true, evicted: lock.session };
    }
    if (!this.#entries.has(name) && this.#entries.size + this.#locks.size >= this.#settings.maxNames)
      return { granted: false, why: `the server keeps at most ${this.#settings.maxNames} names` };
    const twin = this.#twins.add(name);
    if (twin !== undefined)
      return {
        granted: false,
        why: `it differs from ${JSON.stringify(twin)} only in case or in Unicode spelling`,
      };
    this.#locks.set(name, newLock(session, nowMs));
    return { granted: true, evicted: undefined };
  }

  /** The writer got further. */
  progress(name: string, session: number, nowMs: number): void {
    const lock = this.#locks.get(name);
    if (lock?.session === session) lock.progressMs = nowMs;
  }

  /**
   * Lets go of one hold on a lock.
   * @returns whether the file is free now; false for a lock that somebody else has
   */
  unlock(name: string, session: number): boolean {
    const lock = this.#locks.get(name);
    if (lock?.session !== session || --lock.holds > 0) return false;
    this.#locks.delete(name);
    this.#twins.remove(name);
    return true;
  }

  /** A new state of a file. @returns its entry, with the next sequence */
  commit(name: string, state: Omit<FileEntry, "kind" | "sequence">): FileEntry {
    const entry: FileEntry = { kind: "file", sequence: this.#sequence + 1, ...state };
    this.restore(name, entry);
    return entry;
  }

  /** A file is gone. @returns its tombstone, with the next sequence */
  bury(name: string, md5: string, nowWallMs: number): Tombstone {
    const entry: Tombstone = { kind: "deleted", sequence: this.#sequence + 1, md5, deletedMs: nowWallMs };
    this.restore(name, entry);
    return entry;
  }

  /** An entry as it was written down earlier. */
  restore(name: string, entry: Entry): void {
    const wasFile = this.file(name) !== undefined;
    const isFile = entry.kind === "file";
    this.#entries.set(name, entry);
    this.#sequence = Math.max(this.#sequence, entry.sequence);
    if (isFile === wasFile) return;
    this.#fileCount += isFile ? 1 : -1;
    // A twin that stands in the folder already is served as it is; only new ones are refused.
    if (isFile) this.#twins.add(name);
    else this.#twins.remove(name);
  }

  /** Numbers up to this one were given out earlier, also for entries that are forgotten. */
  raiseSequence(sequence: number): void {
    this.#sequence = Math.max(this.#sequence, sequence);
  }

  /** Forgets a tombstone. @throws DrayError "internal" for a file */
  forget(name: string): void {
    if (this.file(name) !== undefined) throw new DrayError("internal", "a file cannot be forgotten");
    this.#entries.delete(name);
  }
}

function newLock(session: number, nowMs: number): Lock {
  return { session, sinceMs: nowMs, progressMs: nowMs, holds: 1 };
}
