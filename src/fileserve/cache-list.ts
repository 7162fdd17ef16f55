import type { FillResult, OutBuffer, Responder } from "../transfer/responder.ts";
import { type CachedEntry, cachedEntryBytes } from "../wire/cached-entries.ts";
import { MAX_ENTRIES_BYTES, type Message } from "../wire/messages.ts";
import type { CacheEntry } from "./cache-entry.ts";
import type { FileCache } from "./file-cache.ts";

/** Entries of one message. */
const BATCH_ENTRIES = 512;
/** What a batch may take in bytes: the limit of the message, less the longest entry. */
const BATCH_BYTES = MAX_ENTRIES_BYTES - 8 * 1024;

/** Tells what is in the cache: the files of one moment, less those that left while they were being told. */
export class CacheList implements Responder {
  readonly #cache: FileCache;
  readonly #requestId: number;
  #entries: CacheEntry[] | undefined;
  #next = 0;
  #count = 0;
  /** Made, but found no room yet. */
  #message: Message | undefined;

  constructor(cache: FileCache, requestId: number) {
    this.#cache = cache;
    this.#requestId = requestId;
  }

  fill(out: OutBuffer): FillResult {
    this.#entries ??= this.#cache.entries();
    this.#message ??= this.#gather(this.#entries);
    if (!out.fits(this.#message)) return "more";
    const isLast = this.#message.type === "done";
    out.put(this.#message, this.#requestId);
    this.#message = undefined;
    return isLast ? "done" : "more";
  }

  release(): void {
    this.#entries = [];
  }

  #gather(all: readonly CacheEntry[]): Message {
    const entries: CachedEntry[] = [];
    let bytes = 0;
    while (this.#next < all.length && entries.length < BATCH_ENTRIES && bytes < BATCH_BYTES) {
      const { name, facts, hits, pins, isListed } = all[this.#next++]!;
      if (!isListed) continue;
      const entry = { path: name, size: facts.sizeBytes, hits, pins };
      entries.push(entry);
      bytes += cachedEntryBytes(entry);
    }
    this.#count += entries.length;
    return entries.length > 0 ? { type: "cached", entries } : { type: "done", count: this.#count };
  }
}
