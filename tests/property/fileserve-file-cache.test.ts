import { describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import fc from "fast-check";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import type { EvictionQueue } from "../../src/fileserve/cache-policy.ts";
import { CachedFetch } from "../../src/fileserve/cached-fetch.ts";
import { FileCache } from "../../src/fileserve/file-cache.ts";
import { hidesState } from "../../src/disk/own-state.ts";
import { asDrayError } from "../../src/errors/dray-error.ts";
import { LruQueue } from "../../src/fileserve/lru-queue.ts";
import { S3FifoQueue } from "../../src/fileserve/s3-fifo-queue.ts";
import { TO_END } from "../../src/wire/messages.ts";
import { Answering, failureOf } from "../support/responder-answer.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { runs } from "./runs.ts";

setDefaultTimeout(60_000);

const LIMIT_BYTES = 5_000_000;
const NAMES = ["a", "b", "c", "sub/d", "sub/e"] as const;
type Name = (typeof NAMES)[number];

/** An answer that is being sent, and what it may say. */
interface Running {
  readonly name: Name;
  readonly answering: Answering;
  readonly offset: number;
  readonly length: number;
  /** The file when it was first looked at; nothing else may come, but an error if it changed since. */
  version: Buffer | undefined;
  hasBegun: boolean;
}

class World {
  readonly folder: TempFolder = tempFolder();
  readonly root: ContainedRoot;
  readonly cache: FileCache;
  readonly files = new Map<Name, Buffer>();
  readonly running: Running[] = [];
  #versions = 0;

  constructor(queue: EvictionQueue) {
    fs.mkdirSync(this.folder.join("sub"));
    this.root = new ContainedRoot(this.folder.path);
    this.cache = new FileCache(this.root, LIMIT_BYTES, queue, () => Date.now() + 60_000);
  }

  /** Contents that no other version has anywhere, and a time of its own, as if it were written seconds later. */
  write(name: Name, sizeBytes: number, isInPlace: boolean): void {
    const version = ++this.#versions;
    const bytes = Buffer.alloc(sizeBytes, `${version}:${name} `);
    const at = this.folder.join(name);
    const written = isInPlace ? at : this.folder.join("new");
    fs.writeFileSync(written, bytes);
    fs.utimesSync(written, 1_000_000_000 + version, 1_000_000_000 + version);
    if (!isInPlace) fs.renameSync(written, at);
    this.files.set(name, bytes);
  }

  remove(name: Name): void {
    fs.rmSync(this.folder.join(name), { force: true });
    this.files.delete(name);
  }

  start(name: Name, offset: number, length: number): void {
    const tree = { root: this.root, cache: this.cache, hides: hidesState };
    const order = { path: name, offset, length, digest: "xxh3" } as const;
    const answering = new Answering((wake) => new CachedFetch(tree, order, 1, wake));
    this.running.push({ name, answering, offset, length, version: undefined, hasBegun: false });
  }

  async step(one: Running): Promise<void> {
    if (!one.hasBegun) {
      one.hasBegun = true;
      one.version = this.files.get(one.name);
    }
    const { answering, version, name } = one;
    const step = async (): Promise<void> => {
      if (answering.step() === "waiting") await answering.woken();
    };
    if (version === undefined) {
      expect(await failureOf(step())).toBe("not-found");
      this.end(one);
    } else if (this.files.get(name) !== version) {
      const code = await step().then(
        () => undefined,
        (error: unknown) => asDrayError(error).code,
      );
      if (code !== undefined) {
        expect(["changed", "not-found"]).toContain(code);
        this.end(one);
      }
    } else {
      await step(); // an error for a file that nobody touched fails the test
    }
    if (answering.isDone) this.#finish(one);
  }

  end(one: Running): void {
    one.answering.release();
    this.running.splice(this.running.indexOf(one), 1);
  }

  /** Old or new, never mixed, and not older than when it was asked for. */
  #finish(one: Running): void {
    const { version, offset, length } = one;
    const expected = version!.subarray(offset, Math.min(offset + length, version!.length));
    expect(contentsOf(one.answering.bytes).equals(expected)).toBeTrue();
    this.end(one);
  }

  check(): void {
    const { bytes, limitBytes } = this.cache.statistics;
    expect(bytes).toBeLessThanOrEqual(limitBytes);
  }

  close(): void {
    this.root.close();
    this.folder[Symbol.dispose]();
  }
}

/** The pieces in an answer's frames. */
function contentsOf(frames: Buffer): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < frames.length;) {
    const end = at + 16 + frames.readUInt32LE(at + 4);
    if (frames[at + 8] === 22) pieces.push(frames.subarray(at + 16 + 8, end));
    at = end;
  }
  return Buffer.concat(pieces);
}

class Command implements fc.AsyncCommand<World, World> {
  readonly #shown: string;
  readonly #act: (world: World) => Promise<void> | void;

  constructor(shown: string, act: (world: World) => Promise<void> | void) {
    this.#shown = shown;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(_: World, world: World): Promise<void> {
    await this.#act(world);
    world.check();
  }

  toString(): string {
    return this.#shown;
  }
}

const name = fc.constantFrom(...NAMES);
// Up to three times as much as is read ahead.
const sizeBytes = fc.oneof(...[70_000, 900_000, 3_000_000].map((max) => fc.integer({ min: 0, max })));
const offset = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2_000_000 }));
const length = fc.oneof(fc.constant(TO_END), fc.integer({ min: 0, max: 2_000_000 }));
const write = fc
  .tuple(name, sizeBytes, fc.boolean())
  .map((args) => new Command(`write ${args.join()}`, (world) => world.write(...args)));
const ask = fc
  .tuple(name, offset, length)
  .map((args) => new Command(`ask ${args.join()}`, (world) => world.start(...args)));
const one = fc.nat(20);
const step = one.map(
  (which) =>
    new Command(`step ${which}`, async (world) => {
      const running = world.running[which % world.running.length];
      if (running !== undefined) await world.step(running);
    }),
);
const leave = one.map(
  (which) =>
    new Command(`leave ${which}`, (world) => {
      const running = world.running[which % world.running.length];
      if (running !== undefined) world.end(running);
    }),
);
const remove = name.map((file) => new Command(`remove ${file}`, (world) => world.remove(file)));
const commands = fc.commands<World, World, false>([write, ask, ask, step, step, step, leave, remove], {
  size: "+1",
  maxCommands: 80,
});

const QUEUES: [string, () => EvictionQueue][] = [
  ["LRU", () => new LruQueue()],
  ["S3-FIFO", () => new S3FifoQueue(LIMIT_BYTES)],
];

describe.each(QUEUES)("with %s", (_, queue) => {
  test("files that change all the time come old or new, whole, from bounded memory that is all let go", async () => {
    const property = fc.asyncProperty(commands, async (chosen) => {
      const world = new World(queue());
      try {
        for (const file of NAMES) world.write(file, file === "a" ? 2_500_000 : 300_000, false);
        await fc.asyncModelRun(() => ({ model: world, real: world }), chosen);
        while (world.running.length > 0) await world.step(world.running[0]!);
        await settled(world.cache);
        expect(world.cache.statistics.pinnedBytes).toBe(0);
      } finally {
        world.close();
      }
    });
    await fc.assert(property, runs(40));
  });
});

/** Until reads that nobody waits for any more have ended; they tell nobody. */
async function settled(cache: FileCache): Promise<void> {
  const giveUpMs = performance.now() + 10_000;
  while (cache.statistics.pinnedBytes > 0 && performance.now() < giveUpMs) await Bun.sleep(1);
}
