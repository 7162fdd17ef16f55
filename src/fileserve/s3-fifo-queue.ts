import type { CacheItem, EvictionQueue } from "./cache-policy.ts";

/** Share of the cache in which new items have to prove themselves. */
const PROBATION_SHARE = 0.1;
/** Uses beyond this make no difference. */
const MAX_USES = 3;
/** Share of the cache that the names of evicted items may take, and what one costs beside its characters. */
const GHOST_SHARE = 1 / 64;
const GHOST_BYTES = 96;

/** The items of one queue, the oldest first, and what they cost. */
class Fifo {
  readonly items = new Set<CacheItem>();
  bytes = 0;

  add(item: CacheItem): void {
    this.items.add(item);
    this.bytes += item.bytes;
  }

  delete(item: CacheItem): boolean {
    if (!this.items.delete(item)) return false;
    this.bytes -= item.bytes;
    return true;
  }
}

/**
 * S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache eviction", SOSP 2023),
 * counted in bytes. New items wait on probation in a tenth of the cache: what is asked for only once
 * leaves from there and pushes out nothing that is used. What was used moves to the main queue, which
 * gives every item one more round for each use. What left probation too early is remembered by its name,
 * and goes straight to the main queue when it comes back.
 */
export class S3FifoQueue implements EvictionQueue {
  readonly bookkeepingBytes: number;
  readonly #probation = new Fifo();
  readonly #main = new Fifo();
  /** Names that left probation unused, the oldest first, and the bytes that they had. */
  readonly #ghosts = new Map<string, number>();
  #ghostItemBytes = 0;
  #ghostNameBytes = 0;
  readonly #limitBytes: number;

  constructor(limitBytes: number) {
    this.bookkeepingBytes = Math.floor(limitBytes * GHOST_SHARE);
    this.#limitBytes = limitBytes - this.bookkeepingBytes;
  }

  add(item: CacheItem): void {
    (this.#forgetGhost(item.name) ? this.#main : this.#probation).add(item);
  }

  used(item: CacheItem): void {
    item.uses = Math.min(MAX_USES, item.uses + 1);
  }

  remove(item: CacheItem): void {
    if (!this.#probation.delete(item)) this.#main.delete(item);
  }

  evict(): CacheItem | undefined {
    const isProbationFull = this.#probation.bytes > this.#limitBytes * PROBATION_SHARE;
    const fromMain = isProbationFull ? undefined : this.#evictFromMain();
    // Probation may move all that it has to the main queue.
    return fromMain ?? this.#evictFromProbation() ?? this.#evictFromMain();
  }

  #evictFromProbation(): CacheItem | undefined {
    for (const item of this.#probation.items) {
      if (item.pins > 0) continue;
      this.#probation.delete(item);
      if (item.uses === 0) {
        this.#rememberGhost(item);
        return item;
      }
      item.uses = 0;
      this.#main.add(item);
    }
    return undefined;
  }

  #evictFromMain(): CacheItem | undefined {
    // A set's iteration comes by what is added during it: this is a ring, and every round takes one use.
    for (const item of this.#main.items) {
      if (item.pins > 0) continue;
      this.#main.delete(item);
      if (item.uses === 0) return item;
      item.uses--;
      this.#main.add(item);
    }
    return undefined;
  }

  #rememberGhost({ name, bytes }: CacheItem): void {
    this.#ghosts.set(name, bytes);
    this.#ghostItemBytes += bytes;
    this.#ghostNameBytes += ghostNameBytes(name);
    for (const oldest of this.#ghosts.keys()) {
      const fits =
        this.#ghostItemBytes <= this.#limitBytes * (1 - PROBATION_SHARE) &&
        this.#ghostNameBytes <= this.bookkeepingBytes;
      if (fits) return;
      this.#forgetGhost(oldest);
    }
  }

  #forgetGhost(name: string): boolean {
    const bytes = this.#ghosts.get(name);
    if (bytes === undefined) return false;
    this.#ghosts.delete(name);
    this.#ghostItemBytes -= bytes;
    this.#ghostNameBytes -= ghostNameBytes(name);
    return true;
  }
}

function ghostNameBytes(name: string): number {
  return GHOST_BYTES + 2 * name.length;
}
