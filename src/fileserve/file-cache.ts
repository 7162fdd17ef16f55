import type { ContainedRoot } from "../disk/contained-root.ts";
import { type FileFacts, factsAt, isSameVersion } from "../disk/file-facts.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { DigestKind } from "../wire/digest.ts";
import { CacheEntry } from "./cache-entry.ts";
import { CachePolicy, type EvictionQueue } from "./cache-policy.ts";
import { EntryMemory } from "./entry-memory.ts";
import { EntryReader } from "./entry-reader.ts";
import { restNeededMs } from "../disk/file-rest.ts";

/** What happened since the start, and what is in the cache now. */
export interface CacheStatistics {
  /** Files that were asked for and found, also while they were still being read. */
  hits: number;
  /** Files that were asked for and taken into the cache. */
  misses: number;
  /** Files that were asked for and sent from the disk, past the cache: too large, or no room. */
  streamed: number;
  /** Files that made room for others. */
  evictions: number;
  /** What was read from the disk into the cache. */
  bytesRead: number;
  files: number;
  /** What they take, bookkeeping included. */
  bytes: number;
  /** Of these, what is being sent or read right now. */
  pinnedBytes: number;
  limitBytes: number;
}

/** What a look into the cache gives: a way to the contents, a while to wait, or word to go to the disk. */
export type Found =
  | { readonly use: CacheUse }
  | { readonly restMs: number; readonly seen: FileFacts }
  | { readonly use: undefined };

/** A larger one is sent from the disk, however large the cache is: a buffer takes no more than 4 GiB. */
const MAX_FILE_BYTES = 2 ** 31;

const PAST_THE_CACHE: Found = { use: undefined };

/**
 * Whole files in memory, by name. Each use looks at the disk whether the file is still the same one.
 * Nothing waits for anything but the disk: whoever needs a piece first has it read, all get it as it
 * comes, and the memory of a file that is being sent stays, whatever happens to its name.
 */
export class FileCache {
  readonly #root: ContainedRoot;
  readonly #policy: CachePolicy;
  readonly #now: () => number;
  readonly #entries = new Map<string, CacheEntry>();
  readonly #memory = new EntryMemory();
  readonly #keeper: Keeper = {
    reader: (entry) => (entry.reader ??= this.#readerOf(entry)),
    release: (entry) => this.#unpin(entry),
  };
  #hits = 0;
  #misses = 0;
  #streamed = 0;
  #evictions = 0;
  #bytesRead = 0;

  /**
   * @param limitBytes hard bound of all that is kept, bookkeeping included
   * @param now wall clock in milliseconds, as the file system's
   */
  constructor(root: ContainedRoot, limitBytes: number, queue: EvictionQueue, now = Date.now) {
    this.#root = root;
    this.#policy = new CachePolicy(limitBytes, queue);
    this.#now = now;
  }

  get statistics(): CacheStatistics {
    return {
      hits: this.#hits,
      misses: this.#misses,
      streamed: this.#streamed,
      evictions: this.#evictions,
      bytesRead: this.#bytesRead,
      files: this.#entries.size,
      bytes: this.#policy.usedBytes,
      pinnedBytes: this.#policy.pinnedBytes,
      limitBytes: this.#policy.limitBytes,
    };
  }

  /** The entries as they are now; one that has left meanwhile has an item that is not listed. */
  entries(): CacheEntry[] {
    return [...this.#entries.values()];
  }

  /** What is kept under a name, as nobody has looked yet whether it is still the same on the disk. */
  peek(path: string): CacheEntry | undefined {
    // Nothing but canonical names of files that may be seen are in there.
    return this.#entries.get(path);
  }

  /**
   * Looks whether what peek gave is still the same on the disk, and counts it as found. Nothing is pinned:
   * what is taken from the entry must be taken at once.
   * @returns false when `open` has to look closer
   */
  confirm(entry: CacheEntry): boolean {
    if (!this.#root.isStill(entry.name, entry.facts)) return false;
    this.#count(entry);
    return true;
  }

  /**
   * The file as it is on the disk now.
   * @param seen from the last call, when it told to wait
   * @throws DrayError "not-found", "refused"…; a system error
   */
  open(components: readonly string[], seen?: FileFacts): Found {
    const name = components.join("/");
    const known = this.#entries.get(name);
    if (known !== undefined && this.#root.isStill(name, known.facts)) return this.#hit(known);
    let facts: FileFacts | undefined;
    try {
      facts = this.#look(components);
    } finally {
      if (known !== undefined && !this.#isCurrent(known, facts)) this.#discard(known);
    }
    if (known?.isListed === true) return this.#hit(known);
    if (facts === undefined) throw new DrayError("not-found", "no such file or directory");
    if (facts.kind !== "file") return PAST_THE_CACHE;
    return this.#miss(name, facts, seen);
  }

  #isCurrent(entry: CacheEntry, facts: FileFacts | undefined): boolean {
    return facts !== undefined && facts.kind === "file" && isSameVersion(entry.facts, facts);
  }

  /** From descriptor to descriptor, and none of them from before. */
  #look(components: readonly string[]): FileFacts | undefined {
    this.#root.forget();
    using directory = this.#root.hold(components.slice(0, -1));
    return factsAt(directory.entry(components.at(-1)!));
  }

  #count(entry: CacheEntry): void {
    this.#hits++;
    entry.hits++;
    this.#policy.touch(entry);
  }

  #hit(entry: CacheEntry): Found {
    this.#count(entry);
    this.#policy.pin(entry);
    return { use: new CacheUse(entry, this.#keeper) };
  }

  #miss(name: string, facts: FileFacts, seen: FileFacts | undefined): Found {
    const entry = new CacheEntry(name, facts);
    if (entry.bytes > this.#policy.limitBytes || facts.sizeBytes > MAX_FILE_BYTES) return this.#goPast();
    if (seen === undefined) {
      const restMs = restNeededMs(facts, this.#now());
      if (restMs > 0) return { restMs, seen: facts };
    } else if (!isSameVersion(seen, facts)) {
      return this.#goPast(); // somebody keeps writing to it
    }
    const evicted = this.#policy.admit(entry);
    if (evicted === undefined) return this.#goPast();
    for (const { name: gone } of evicted) {
      this.#entries.get(gone)!.free();
      this.#entries.delete(gone);
    }
    this.#evictions += evicted.length;
    this.#misses++;
    entry.allocate(this.#memory);
    this.#trim();
    this.#entries.set(name, entry);
    return { use: new CacheUse(entry, this.#keeper) };
  }

  #goPast(): Found {
    this.#streamed++;
    return PAST_THE_CACHE;
  }

  #readerOf(entry: CacheEntry): EntryReader {
    return new EntryReader(entry, this.#root, {
      begun: () => this.#policy.pin(entry),
      ended: () => this.#unpin(entry),
      read: (bytes) => (this.#bytesRead += bytes),
      failed: () => this.#discard(entry),
    });
  }

  #unpin(entry: CacheEntry): void {
    const isGone = this.#policy.unpin(entry);
    if (entry.pins === 0 || entry.isWhole) {
      entry.reader?.rest();
      entry.reader = undefined;
    }
    if (!isGone) return;
    entry.free();
    this.#trim();
  }

  #discard(entry: CacheEntry): void {
    if (this.#entries.get(entry.name) === entry) this.#entries.delete(entry.name);
    if (!this.#policy.discard(entry)) return;
    entry.free();
    this.#trim();
  }

  /** What is kept for the next file is within the bound as well. */
  #trim(): void {
    this.#memory.keepAtMost(this.#policy.limitBytes - this.#policy.usedBytes);
  }
}

/** What a hold on an entry needs of its cache. */
interface Keeper {
  reader(entry: CacheEntry): EntryReader;
  release(entry: CacheEntry): void;
}

/** One answer's hold on an entry: pinned from the beginning to `release`. */
export class CacheUse {
  readonly #entry: CacheEntry;
  readonly #keeper: Keeper;

  constructor(entry: CacheEntry, keeper: Keeper) {
    this.#entry = entry;
    this.#keeper = keeper;
  }

  get facts(): FileFacts {
    return this.#entry.facts;
  }

  /**
   * The entry, if it is there whole; a small one is read for that if need be.
   * @throws DrayError when it will never be there
   */
  whole(): CacheEntry | undefined {
    const entry = this.#entry;
    if (entry.isSmall && !entry.isWhole && entry.failure === undefined) {
      this.#keeper.reader(entry).need(0, entry.facts.sizeBytes, entry.facts.sizeBytes);
    }
    if (entry.failure !== undefined) throw entry.failure;
    return entry.isWhole ? entry : undefined;
  }

  /**
   * A range of at most a piece's length, or undefined when it is not there yet: it is being read then, and `wake` is called
   * when it is worth asking again.
   * @param end how far the answer will go on, for reading ahead
   * @throws DrayError when it will never be there: "changed", or what the disk says
   */
  bytes(offset: number, length: number, end: number, wake: () => void): Uint8Array | undefined {
    const entry = this.#entry;
    if (!entry.isWhole && entry.failure === undefined) this.#keeper.reader(entry).need(offset, length, end);
    if (entry.has(offset, length)) return entry.view(offset, length);
    if (entry.failure !== undefined) throw entry.failure;
    entry.wait(wake);
    return undefined;
  }

  /** The digest of a range that is there. */
  digest(kind: DigestKind, offset: number, length: number): Uint8Array {
    return this.#entry.digest(kind, offset, length);
  }

  release(wake: () => void): void {
    this.#entry.stopWaiting(wake);
    this.#keeper.release(this.#entry);
  }
}
