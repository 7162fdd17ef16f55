import type { CacheItem, EvictionQueue } from "./cache-policy.ts";

/** Least recently used goes first. */
export class LruQueue implements EvictionQueue {
  readonly bookkeepingBytes = 0;
  /** From the least to the most recently used. */
  readonly #items = new Set<CacheItem>();
  #newest: CacheItem | undefined;

  add(item: CacheItem): void {
    this.#items.add(item);
    this.#newest = item;
  }

  used(item: CacheItem): void {
    if (item === this.#newest) return;
    this.#items.delete(item);
    this.add(item);
  }

  remove(item: CacheItem): void {
    this.#items.delete(item);
    if (item === this.#newest) this.#newest = undefined;
  }

  evict(): CacheItem | undefined {
    for (const item of this.#items) {
      if (item.pins > 0) continue;
      this.remove(item);
      return item;
    }
    return undefined;
  }
}
