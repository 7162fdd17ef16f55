/** One file in the cache, as the policy sees it. The policy alone changes it. */
export class CacheItem {
  readonly name: string;
  /** What it costs in memory: contents and bookkeeping. */
  readonly bytes: number;
  /** How often it was used lately, as far as the queue counts that. */
  uses = 0;
  /** How many are using it right now. */
  pins = 0;
  /** Whether it can be found by its name; one that was discarded while in use only waits for its last user. */
  isListed = true;

  constructor(name: string, bytes: number) {
    this.name = name;
    this.bytes = bytes;
  }
}

/** Which item goes first: the half of the policy that comes in several kinds. Pinned items stay where they are. */
export interface EvictionQueue {
  /** What the queue itself may take beside the items, in bytes. */
  readonly bookkeepingBytes: number;
  add(item: CacheItem): void;
  used(item: CacheItem): void;
  /** For an item that goes for another reason than to make room. */
  remove(item: CacheItem): void;
  /** Takes out the item that is missed least, among those that nobody has pinned; undefined if there is none. */
  evict(): CacheItem | undefined;
}

/**
 * What is in the cache and what must go, by bytes. Pure: it is told what happens, and says which items
 * to free.
 *
 * Its promises: the items' bytes, discarded ones in use included, never exceed the limit; a pinned item
 * is never evicted; no more is evicted than is needed; nothing is evicted for an item that finds no room
 * anyway.
 */
export class CachePolicy {
  readonly limitBytes: number;
  readonly #queue: EvictionQueue;
  #usedBytes = 0;
  #pinnedBytes = 0;

  /** @param limitBytes for items and the queue's own bookkeeping together */
  constructor(limitBytes: number, queue: EvictionQueue) {
    this.limitBytes = Math.max(0, limitBytes - queue.bookkeepingBytes);
    this.#queue = queue;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Of the bytes in use, those that cannot be had back right now. */
  get pinnedBytes(): number {
    return this.#pinnedBytes;
  }

  /**
   * Takes in a new item, pinned once.
   * @returns the items that made room for it and are gone, or undefined when there is no room for it
   */
  admit(item: CacheItem): CacheItem[] | undefined {
    if (this.#pinnedBytes + item.bytes > this.limitBytes) return undefined;
    const evicted: CacheItem[] = [];
    while (this.#usedBytes + item.bytes > this.limitBytes) {
      const victim = this.#queue.evict();
      if (victim === undefined) throw new Error("the queue has lost items");
      victim.isListed = false;
      this.#usedBytes -= victim.bytes;
      evicted.push(victim);
    }
    this.#usedBytes += item.bytes;
    this.#queue.add(item);
    this.pin(item);
    return evicted;
  }

  /** Somebody found what he wanted in the cache. */
  touch(item: CacheItem): void {
    this.#queue.used(item);
  }

  pin(item: CacheItem): void {
    if (item.pins++ === 0) this.#pinnedBytes += item.bytes;
  }

  /** @returns whether the item is gone with this and is to be freed */
  unpin(item: CacheItem): boolean {
    if (--item.pins > 0) return false;
    this.#pinnedBytes -= item.bytes;
    if (item.isListed) return false;
    this.#usedBytes -= item.bytes;
    return true;
  }

  /**
   * The item must not be found any more: the file is another one by now, or cannot be read.
   * @returns whether it is gone and is to be freed; otherwise the last unpin says so
   */
  discard(item: CacheItem): boolean {
    if (!item.isListed) return false;
    item.isListed = false;
    this.#queue.remove(item);
    if (item.pins > 0) return false;
    this.#usedBytes -= item.bytes;
    return true;
  }
}
