import type { ContainedRoot } from "../disk/contained-root.ts";
import { isSameVersion } from "../disk/file-facts.ts";
import { FileRead } from "../disk/file-read.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { CacheEntry } from "./cache-entry.ts";

/** How much is read in advance of what is sent. */
const READ_AHEAD_BYTES = 1024 * 1024;

export interface ReaderEvents {
  /** A read begins, and the entry's memory must stay until `ended`. */
  begun(): void;
  ended(): void;
  /** So many bytes came from the disk. */
  read(bytes: number): void;
  failed(error: DrayError): void;
}

/**
 * Reads an entry's file into it: each piece at most once, whoever needs it first, and each one checked to
 * be of the entry's version when it is there.
 */
export class EntryReader {
  readonly #entry: CacheEntry;
  readonly #root: ContainedRoot;
  readonly #events: ReaderEvents;
  #file: FileRead | undefined;
  #reads = 0;

  constructor(entry: CacheEntry, root: ContainedRoot, events: ReaderEvents) {
    this.#entry = entry;
    this.#root = root;
    this.#events = events;
  }

  /**
   * Sees to it that a range comes, and what follows up to `end`.
   * @throws DrayError "changed" for a file that is not the entry's version any more, or a system error
   */
  need(offset: number, length: number, end: number): void {
    const entry = this.#entry;
    if (entry.isWhole) return;
    if (entry.isSmall) {
      const next = entry.take(offset, length);
      if (next !== undefined) this.#readNow(next.target, next.offset);
      return;
    }
    const ahead = Math.min(Math.max(length, READ_AHEAD_BYTES), end - offset);
    for (let next = entry.take(offset, ahead); next !== undefined; next = entry.take(offset, ahead)) {
      void this.#readLater(next.target, next.offset);
    }
  }

  /** Nobody needs more for now: the descriptor is given back. */
  rest(): void {
    if (this.#reads > 0) return;
    this.#file?.close();
    this.#file = undefined;
  }

  #readNow(target: Uint8Array, offset: number): void {
    try {
      const file = this.#opened();
      file.readFully(target, offset);
      this.#finish(file, target.length, offset);
    } catch (error) {
      this.#fail(error);
    }
    if (this.#entry.isWhole) this.rest();
  }

  async #readLater(target: Uint8Array, offset: number): Promise<void> {
    this.#reads++;
    this.#events.begun();
    try {
      const file = this.#opened();
      await file.readFullyLater(target, offset);
      this.#finish(file, target.length, offset);
    } catch (error) {
      this.#fail(error);
    }
    this.#reads--;
    if (this.#entry.isWhole || this.#entry.failure !== undefined) this.rest();
    this.#events.ended();
  }

  #opened(): FileRead {
    if (this.#file !== undefined) return this.#file;
    const { name, facts } = this.#entry;
    const components = name.split("/");
    using directory = this.#root.hold(components.slice(0, -1));
    const file = new FileRead(directory, components.at(-1)!);
    if (!isSameVersion(file.facts, facts)) {
      file.close();
      throw new DrayError("changed", "the file changed while it was being sent: somebody replaced it");
    }
    this.#file = file;
    return file;
  }

  #finish(file: FileRead, bytes: number, offset: number): void {
    this.#events.read(bytes);
    file.assertUnchanged();
    this.#entry.arrived(offset);
  }

  #fail(error: unknown): void {
    const known = asDrayError(error);
    this.#entry.fail(known);
    this.#events.failed(known);
  }
}
