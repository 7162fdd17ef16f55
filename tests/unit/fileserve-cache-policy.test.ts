import { expect, test } from "bun:test";
import { CacheItem, CachePolicy, type EvictionQueue } from "../../src/fileserve/cache-policy.ts";
import { LruQueue } from "../../src/fileserve/lru-queue.ts";
import { S3FifoQueue } from "../../src/fileserve/s3-fifo-queue.ts";

const LIMIT_BYTES = 10_000_000;

/** A cache of files of 100,000 bytes, told which are asked for. */
class Asked {
  readonly policy: CachePolicy;
  readonly items = new Map<string, CacheItem>();

  constructor(queue: EvictionQueue) {
    this.policy = new CachePolicy(LIMIT_BYTES, queue);
  }

  /** @returns whether it was there */
  for(name: string, bytes = 100_000): boolean {
    const known = this.items.get(name);
    if (known !== undefined) {
      this.policy.touch(known);
      return true;
    }
    const item = new CacheItem(name, bytes);
    for (const gone of this.policy.admit(item) ?? []) this.items.delete(gone.name);
    this.policy.unpin(item);
    this.items.set(name, item);
    return false;
  }

  forMany(count: number, prefix: string): void {
    for (let index = 0; index < count; index++) this.for(`${prefix}-${index}`);
  }
}

test("LRU lets go of what was used longest ago", () => {
  const asked = new Asked(new LruQueue());
  asked.forMany(100, "a");
  asked.for("a-0");
  asked.for("b");
  expect([asked.items.has("a-0"), asked.items.has("a-1"), asked.items.has("a-2")]).toEqual([
    true,
    false,
    true,
  ]);
});

test("S3-FIFO: what is asked for once does not push out what is used", () => {
  const asked = new Asked(new S3FifoQueue(LIMIT_BYTES));
  for (let round = 0; round < 3; round++) asked.forMany(50, "used");
  asked.forMany(1_000, "once");
  expect([...asked.items.keys()].filter((name) => name.startsWith("used"))).toHaveLength(50);
  // With LRU none of them is left.
  const lru = new Asked(new LruQueue());
  for (let round = 0; round < 3; round++) lru.forMany(50, "used");
  lru.forMany(1_000, "once");
  expect([...lru.items.keys()].filter((name) => name.startsWith("used"))).toHaveLength(0);
});

test("S3-FIFO: what comes back soon after it went stays longer than what is new", () => {
  const asked = new Asked(new S3FifoQueue(LIMIT_BYTES));
  for (let round = 0; round < 2; round++) asked.forMany(50, "used");
  asked.for("returning");
  asked.forMany(60, "first");
  expect(asked.items.has("returning")).toBeFalse();
  expect(asked.for("returning")).toBeFalse();
  asked.forMany(60, "second");
  expect(asked.items.has("returning")).toBeTrue();
});

test("S3-FIFO: what is not used any more goes in the end, and its names are forgotten", () => {
  const asked = new Asked(new S3FifoQueue(LIMIT_BYTES));
  for (let round = 0; round < 5; round++) asked.forMany(80, "old");
  for (let round = 0; round < 10; round++) asked.forMany(80, "new");
  expect([...asked.items.keys()].filter((name) => name.startsWith("new")).length).toBeGreaterThan(75);
  expect(asked.for("old-0")).toBeFalse();
});

test("an item that finds no room, because all is in use or it is too large, pushes nothing out", () => {
  for (const queue of [new LruQueue(), new S3FifoQueue(LIMIT_BYTES)]) {
    const policy = new CachePolicy(LIMIT_BYTES, queue);
    const [kept, used] = [new CacheItem("kept", 2_000_000), new CacheItem("used", 7000_000)];
    for (const item of [kept, used]) expect(policy.admit(item)).toEqual([]);
    policy.unpin(kept);
    expect(policy.admit(new CacheItem("too large", LIMIT_BYTES + 1))).toBeUndefined();
    expect(policy.admit(new CacheItem("no room", 4_000_000))).toBeUndefined();
    expect(kept.isListed).toBeTrue();
    expect(policy.admit(new CacheItem("fits", 2_500_000))).toEqual([kept]);
  }
});

test("an item that is discarded in use counts until its last user has ended", () => {
  const policy = new CachePolicy(LIMIT_BYTES, new LruQueue());
  const item = new CacheItem("a", 6_000_000);
  policy.admit(item);
  policy.pin(item);
  expect(policy.discard(item)).toBeFalse();
  expect(policy.admit(new CacheItem("b", 6_000_000))).toBeUndefined();
  expect(policy.unpin(item)).toBeFalse();
  expect(policy.unpin(item)).toBeTrue();
  expect(policy.usedBytes).toBe(0);
  expect(policy.admit(new CacheItem("b", 6_000_000))).toEqual([]);
});
