import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CacheItem, CachePolicy, type EvictionQueue } from "../../src/fileserve/cache-policy.ts";
import { LruQueue } from "../../src/fileserve/lru-queue.ts";
import { S3FifoQueue } from "../../src/fileserve/s3-fifo-queue.ts";
import { runs } from "./runs.ts";

const LIMIT_BYTES = 100_000;

const QUEUES: [string, () => EvictionQueue][] = [
  ["LRU", () => new LruQueue()],
  ["S3-FIFO", () => new S3FifoQueue(LIMIT_BYTES)],
];

/** The policy, and what it promises kept the naive way. */
class Stage {
  readonly policy: CachePolicy;
  /** Listed items by name, and those that were discarded while somebody used them. */
  readonly listed = new Map<string, CacheItem>();
  readonly leaving = new Set<CacheItem>();

  constructor(queue: EvictionQueue) {
    this.policy = new CachePolicy(LIMIT_BYTES, queue);
  }

  check(): void {
    const kept = [...this.listed.values(), ...this.leaving];
    const sum = (items: readonly CacheItem[]): number => items.reduce((bytes, item) => bytes + item.bytes, 0);
    expect(this.policy.usedBytes).toBe(sum(kept));
    expect(this.policy.pinnedBytes).toBe(sum(kept.filter(({ pins }) => pins > 0)));
    expect(this.policy.usedBytes).toBeLessThanOrEqual(this.policy.limitBytes);
  }
}

type Step = fc.Command<Stage, Stage>;

class Ask implements Step {
  readonly name: string;
  readonly bytes: number;

  constructor(name: string, bytes: number) {
    this.name = name;
    this.bytes = bytes;
  }

  check(): boolean {
    return true;
  }

  run(_: Stage, stage: Stage): void {
    const { policy, listed } = stage;
    const known = listed.get(this.name);
    if (known !== undefined) {
      policy.touch(known);
      policy.pin(known);
    } else {
      const item = new CacheItem(this.name, this.bytes);
      const before = [...listed.values()];
      const usedBytes = policy.usedBytes;
      const hasRoom = policy.pinnedBytes + item.bytes <= policy.limitBytes;
      const evicted = policy.admit(item);
      expect(evicted !== undefined).toBe(hasRoom);
      const gone = evicted ?? [];
      for (const victim of gone) {
        expect(victim.pins).toBe(0);
        expect(victim.isListed).toBeFalse();
        expect(before).toContain(victim);
        listed.delete(victim.name);
      }
      // Just enough: without the last one there would not have been room.
      const freed = gone.slice(0, -1).reduce((bytes, victim) => bytes + victim.bytes, 0);
      if (gone.length > 0) expect(usedBytes - freed + item.bytes).toBeGreaterThan(policy.limitBytes);
      if (evicted !== undefined) listed.set(this.name, item);
    }
    stage.check();
  }

  toString(): string {
    return `ask ${this.name} (${this.bytes})`;
  }
}

class End implements Step {
  readonly which: number;

  constructor(which: number) {
    this.which = which;
  }

  check(): boolean {
    return true;
  }

  run(_: Stage, stage: Stage): void {
    const used = [...stage.listed.values(), ...stage.leaving].filter(({ pins }) => pins > 0);
    const item = used[this.which % used.length];
    if (item === undefined) return;
    const isLast = item.pins === 1;
    expect(stage.policy.unpin(item)).toBe(isLast && !item.isListed);
    if (isLast) stage.leaving.delete(item);
    stage.check();
  }

  toString(): string {
    return `end ${this.which}`;
  }
}

class Discard implements Step {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  check(): boolean {
    return true;
  }

  run(_: Stage, stage: Stage): void {
    const item = stage.listed.get(this.name);
    if (item === undefined) return;
    stage.listed.delete(this.name);
    if (item.pins > 0) stage.leaving.add(item);
    expect(stage.policy.discard(item)).toBe(item.pins === 0);
    expect(stage.policy.discard(item)).toBeFalse();
    stage.check();
  }

  toString(): string {
    return `discard ${this.name}`;
  }
}

const name = fc.integer({ min: 0, max: 40 }).map(String);
const steps = fc.commands<Stage, Stage>(
  [
    fc.tuple(name, fc.integer({ min: 1, max: 30_000 })).map(([file, bytes]) => new Ask(file, bytes)),
    fc.tuple(name, fc.integer({ min: 1, max: 2_000 })).map(([file, bytes]) => new Ask(file, bytes)),
    fc.constantFrom(1, LIMIT_BYTES, LIMIT_BYTES + 1).map((bytes) => new Ask("large", bytes)),
    fc.nat().map((which) => new End(which)),
    fc.nat().map((which) => new End(which)),
    name.map((file) => new Discard(file)),
  ],
  { size: "+2" },
);

describe.each(QUEUES)("with %s", (_, queue) => {
  test("the bound holds, pins stay, no more goes than must, and in the end nothing is pinned", () => {
    const property = fc.property(steps, (commands) => {
      const stage = new Stage(queue());
      fc.modelRun(() => ({ model: stage, real: stage }), commands);
      for (let used = true; used;) {
        used = stage.policy.pinnedBytes > 0;
        new End(0).run(stage, stage);
      }
      expect(stage.policy.pinnedBytes).toBe(0);
      expect(stage.leaving.size).toBe(0);
      // Nothing was lost on the way: what is left can be had back, all of it.
      const whole = new CacheItem("all", stage.policy.limitBytes);
      const left = [...stage.listed.values()].filter(({ bytes }) => bytes > 0);
      expect(new Set(stage.policy.admit(whole))).toEqual(new Set(left));
    });
    fc.assert(property, runs(150));
  });
});
