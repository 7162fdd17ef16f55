import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Assignment, type Restriction, WorkQueue } from "../../src/mirror/work-queue.ts";
import { seededRandom } from "../support/random.ts";
import { runs } from "./runs.ts";

const BATCH_BYTES = 8 * 1024 * 1024;

interface Item {
  sizeBytes: number;
  feedId: string;
  number: number;
}

interface ModelFeed {
  endpoint: string;
  isDelayed: boolean;
  restriction: Restriction;
  waiting: Item[];
  offered: number;
}

/** What the queue promises, kept the naive way, and checked after every step. */
class Model {
  readonly queue: WorkQueue<Item>;
  readonly feeds = new Map<string, ModelFeed>();
  /** Assignments that are not done, the oldest first, by lane. */
  readonly lanes: Assignment<Item>[][];
  /** The server that each lane is connected to. */
  readonly connectedTo: (string | undefined)[] = [];
  /** Where the oldest assignment of each lane leads, even when its feed is gone. */
  readonly #leadsTo: string[] = [];
  readonly #capacity: number;

  constructor(laneCount: number, capacity: number) {
    this.queue = new WorkQueue(laneCount, capacity);
    this.lanes = Array.from({ length: laneCount }, () => []);
    this.#capacity = capacity;
  }

  open(feedId: string, isDelayed: boolean, endpoint = "server"): void {
    this.feeds.set(feedId, { endpoint, isDelayed, restriction: "none", waiting: [], offered: 0 });
    this.queue.open(feedId, endpoint, isDelayed);
    this.assign();
  }

  offer(feedId: string, sizes: readonly number[]): void {
    const feed = this.feeds.get(feedId)!;
    const items = sizes.map((sizeBytes) => ({ sizeBytes, feedId, number: feed.offered++ }));
    feed.waiting.push(...items);
    this.queue.offer(feedId, items);
    this.assign();
  }

  restrict(feedId: string, restriction: Restriction): void {
    this.feeds.get(feedId)!.restriction = restriction;
    this.queue.restrict(feedId, restriction);
    this.assign();
  }

  /** Gives a feed up, whatever lanes still do for it. */
  remove(feedId: string): void {
    this.feeds.delete(feedId);
    this.queue.remove(feedId);
    this.assign();
  }

  withdraw(feedId: string): void {
    expect(this.queue.withdraw(feedId)).toEqual(this.feeds.get(feedId)!.waiting.splice(0));
    this.assign();
  }

  done(lane: number, isConnected?: boolean): void {
    this.lanes[lane]!.shift();
    this.queue.done(lane, isConnected);
    if (isConnected !== undefined) this.connectedTo[lane] = isConnected ? this.#leadsTo[lane] : undefined;
    this.assign();
  }

  release(endpoint: string): void {
    const idle = [...this.lanes.keys()].filter((lane) => this.lanes[lane]!.length === 0);
    const released = idle.filter((lane) => this.connectedTo[lane] === endpoint);
    expect(this.queue.release(endpoint)).toEqual(released);
    for (const lane of released) this.connectedTo[lane] = undefined;
    this.assign();
  }

  connectedLanes(endpoint: string): number[] {
    return [...this.lanes.keys()].filter((lane) => this.connectedTo[lane] === endpoint);
  }

  runningOf(feedId: string): number {
    return this.lanes.flat().filter((assignment) => assignment.feedId === feedId).length;
  }

  lanesOf(feedId: string): number {
    return this.lanes.filter((assignments) => assignments[0]?.feedId === feedId).length;
  }

  get share(): number {
    return Math.ceil(this.lanes.length / this.feeds.size);
  }

  /** How many lanes may begin something for a feed. */
  allowed({ restriction, endpoint }: ModelFeed): number {
    const connected = Math.min(this.share, this.connectedLanes(endpoint).length);
    return { none: this.share, connected, probe: 1, pause: 0 }[restriction];
  }

  assign(): Assignment<Item>[] {
    const assignments = this.queue.assign();
    for (const assignment of assignments) this.#take(assignment);
    expect(this.queue.assign()).toEqual([]);
    for (const [feedId, feed] of this.feeds) {
      const isIdle = feed.waiting.length === 0 && this.runningOf(feedId) === 0;
      expect(this.queue.isIdle(feedId)).toBe(isIdle);
    }
    const idleLanes = [...this.lanes.keys()].filter((lane) => this.lanes[lane]!.length === 0);
    for (const [feedId, feed] of this.feeds) {
      const room = Math.max(64, Math.floor(this.#capacity / this.feeds.size));
      expect(this.queue.hasRoom(feedId)).toBe(feed.waiting.length < room);
      // No lane is idle while a feed under its share has work.
      const mayServe = (lane: number): boolean =>
        feed.restriction !== "connected" || this.connectedTo[lane] === feed.endpoint;
      if (idleLanes.some(mayServe) && feed.waiting.length > 0)
        expect(this.lanesOf(feedId)).toBeGreaterThanOrEqual(this.allowed(feed));
    }
    return assignments;
  }

  #take(assignment: Assignment<Item>): void {
    const { lane, feedId, items } = assignment;
    const feed = this.feeds.get(feedId)!;
    // FIFO: nothing lost, nothing twice, nothing of another feed.
    expect(items).toEqual(feed.waiting.splice(0, items.length));
    expect(items.length).toBeGreaterThan(0);
    expect(items.length).toBeLessThanOrEqual(feed.isDelayed || feed.restriction === "probe" ? 1 : 64);
    if (items.length > 1) expect(bytesOf(items)).toBeLessThanOrEqual(BATCH_BYTES);
    const before = this.lanes[lane]!;
    if (before.length > 0) {
      // Ahead of time: one batch, of the same feed, within its share, behind nothing large.
      expect(before).toHaveLength(1);
      expect(before[0]!.feedId).toBe(feedId);
      expect(feed.isDelayed).toBe(false);
      expect(["none", "connected"]).toContain(feed.restriction);
      expect(bytesOf(before[0]!.items)).toBeLessThanOrEqual(BATCH_BYTES);
    }
    if (feed.restriction === "connected") expect(this.connectedTo[lane]).toBe(feed.endpoint);
    if (before.length === 0 && this.connectedTo[lane] !== feed.endpoint) {
      // No lane dials while another one has a connection there and nothing to do.
      const isIdle = (other: number): boolean => this.lanes[other]!.length === 0;
      expect(this.connectedLanes(feed.endpoint).filter(isIdle)).toEqual([]);
    }
    this.#leadsTo[lane] = feed.endpoint;
    before.push(assignment);
    if (before.length === 1 || feed.restriction === "none")
      expect(this.lanesOf(feedId)).toBeLessThanOrEqual(this.allowed(feed));
  }
}

function bytesOf(items: readonly Item[]): number {
  return items.reduce((sum, item) => sum + item.sizeBytes, 0);
}

const sizeBytes = fc.oneof(
  { weight: 6, arbitrary: fc.nat(10_000) },
  { weight: 2, arbitrary: fc.constantFrom(0, 1, BATCH_BYTES / 2, BATCH_BYTES, BATCH_BYTES + 1) },
  { weight: 1, arbitrary: fc.constant(3 * 1024 ** 3) },
);

const step = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("open" as const),
      isDelayed: fc.boolean(),
      endpoint: fc.constantFrom("one", "other"),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("offer" as const),
      feed: fc.nat(),
      sizes: fc.oneof(
        fc.array(sizeBytes, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 50, max: 400 }).map((count) => repeated(count, 100)),
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("restrict" as const),
      feed: fc.nat(),
      restriction: fc.constantFrom<Restriction[]>("none", "none", "connected", "probe", "pause"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), feed: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("withdraw" as const), feed: fc.nat() }) },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("done" as const),
      lane: fc.nat(),
      isConnected: fc.constantFrom(true, true, false, undefined),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("release" as const), endpoint: fc.constantFrom("one", "other") }),
  },
);

describe("the work queue", () => {
  test("keeps its promises whatever happens in whatever order, and gives out everything in the end", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 2000 }),
        fc.array(step, { minLength: 10, maxLength: 120 }),
        (laneCount, capacity, steps) => {
          const model = new Model(laneCount, capacity);
          let opened = 0;
          const open = (): string[] => [...model.feeds.keys()];
          for (const one of steps) {
            if (one.do === "open") {
              if (model.feeds.size < 15) model.open(`feed ${opened++}`, one.isDelayed, one.endpoint);
            } else if (one.do === "release") {
              model.release(one.endpoint);
            } else if (one.do === "done") {
              const busy = [...model.lanes.keys()].filter((lane) => model.lanes[lane]!.length > 0);
              if (busy.length > 0) model.done(busy[one.lane % busy.length]!, one.isConnected);
            } else if (open().length > 0) {
              const feedId = open()[one.feed % open().length]!;
              if (one.do === "offer") model.offer(feedId, one.sizes);
              else if (one.do === "restrict") model.restrict(feedId, one.restriction);
              else if (one.do === "remove") model.remove(feedId);
              else model.withdraw(feedId);
            }
          }
          for (const feedId of open()) model.restrict(feedId, "none");
          for (let rounds = 0; model.lanes.some((assignments) => assignments.length > 0); rounds++) {
            expect(rounds).toBeLessThan(10_000);
            model.done([...model.lanes.keys()].find((lane) => model.lanes[lane]!.length > 0)!);
          }
          for (const [feedId, feed] of model.feeds) {
            expect(feed.waiting).toEqual([]);
            expect(model.queue.isIdle(feedId)).toBe(true);
          }
        },
      ),
      runs(250),
    );
  });

  test("every feed with work is served again and again, however few the lanes are", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
        (laneCount, feedCount, areDelayed) => {
          const model = new Model(laneCount, 1000);
          for (let feed = 0; feed < feedCount; feed++) {
            model.open(String(feed), areDelayed[feed]!);
            model.offer(String(feed), repeated(3000, 10));
          }
          const before = new Map([...model.feeds].map(([feedId, feed]) => [feedId, feed.waiting.length]));
          // Each lane ends its oldest assignment in turn: nobody is slow, so everybody's turn has to come.
          const rounds = 3 * Math.ceil(feedCount / laneCount) + 3;
          for (let round = 0; round < rounds; round++) {
            for (let lane = 0; lane < laneCount; lane++) if (model.lanes[lane]!.length > 0) model.done(lane);
          }
          for (const [feedId, feed] of model.feeds)
            expect(feed.waiting.length).toBeLessThan(before.get(feedId)!);
        },
      ),
      runs(60),
    );
  });

  test("a feed that comes later soon gets its share of the lanes", () => {
    const model = new Model(4, 1000);
    model.open("first", false);
    model.offer("first", repeated(5000, 10));
    expect(model.lanesOf("first")).toBe(4);
    model.open("second", false);
    model.offer("second", repeated(5000, 10));
    for (let round = 0; round < 4; round++) for (let lane = 0; lane < 4; lane++) model.done(lane);
    expect([model.lanesOf("first"), model.lanesOf("second")]).toEqual([2, 2]);
  });

  test("a slow feed keeps its share and no more: the others go on", () => {
    const model = new Model(4, 1000);
    model.open("slow", true);
    model.offer("slow", repeated(100, 10));
    model.open("quick", false);
    model.offer("quick", repeated(500, 10));
    // The slow one had all lanes to itself; two of them come free, and no more.
    for (const lane of [0, 1]) model.done(lane);
    for (let step = 0; step < 1000 && model.feeds.get("quick")!.waiting.length > 0; step++) {
      model.done([...model.lanes.keys()].find((lane) => model.lanes[lane]![0]?.feedId === "quick")!);
    }
    expect(model.feeds.get("quick")!.waiting).toEqual([]);
    expect(model.lanesOf("slow")).toBe(2);
  });

  test("a source that is down is left alone, is asked for one file to see whether it is back, and goes on", () => {
    const model = new Model(4, 1000);
    model.open("feed", false);
    model.restrict("feed", "pause");
    model.offer("feed", repeated(1000, 10));
    expect(model.lanesOf("feed")).toBe(0);
    model.restrict("feed", "probe");
    expect(model.lanes.map((assignments) => assignments.map(({ items }) => items.length))).toEqual([
      [1],
      [],
      [],
      [],
    ]);
    model.restrict("feed", "none");
    expect(model.lanesOf("feed")).toBe(4);
  });

  test("a source that is full is asked by the lanes that have a connection, and by no other", () => {
    const model = new Model(4, 1000);
    model.open("feed", false);
    model.offer("feed", [1, 1, 1, 1]);
    for (const lane of [0, 1, 2, 3]) model.done(lane, lane === 1 || lane === 3);
    model.offer("feed", [1]);
    expect(model.lanes.map(({ length }) => length)).toEqual([0, 1, 0, 0]);
    model.restrict("feed", "connected");
    model.offer("feed", repeated(1000, 10));
    expect(model.lanes.map(({ length }) => length)).toEqual([0, 2, 0, 2]);
    for (const lane of [1, 1, 3]) model.done(lane, false);
    expect(model.lanes.map(({ length }) => length)).toEqual([0, 0, 0, 1]);
    model.restrict("feed", "none");
    expect(model.lanesOf("feed")).toBe(4);
  });

  test("a probe goes over a connection that there is", () => {
    const model = new Model(4, 1000);
    model.open("feed", false);
    model.offer("feed", [1, 1, 1]);
    for (const lane of [0, 1, 2]) model.done(lane, lane === 2);
    model.restrict("feed", "probe");
    model.offer("feed", [1, 1]);
    expect(model.lanes.map(({ length }) => length)).toEqual([0, 0, 1, 0]);
  });

  test("a few small files are spread over the lanes instead of filling one", () => {
    const model = new Model(4, 1000);
    model.open("feed", false);
    model.offer("feed", [1, 1, 1, 1]);
    expect(model.lanes.map((assignments) => bytesOf(assignments.flatMap(({ items }) => items)))).toEqual([
      1, 1, 1, 1,
    ]);
  });

  test("lets go of the items that were given out", () => {
    const random = seededRandom(1);
    const queue = new WorkQueue<Item>(2, 1000);
    const given: WeakRef<Item>[] = [];
    queue.open("feed", "server", false);
    for (let round = 0; round < 200; round++) {
      queue.offer(
        "feed",
        Array.from({ length: 64 }, (_, number) => ({
          sizeBytes: random.integer(0, 9),
          feedId: "feed",
          number,
        })),
      );
      for (const { lane, items } of drain(queue)) {
        for (const item of items) given.push(new WeakRef(item));
        queue.done(lane, true);
      }
    }
    Bun.gc(true);
    const kept = given.filter((reference) => reference.deref() !== undefined).length;
    expect(given.length).toBeGreaterThan(10_000);
    expect(kept).toBeLessThan(3000);
  });
});

function* drain(queue: WorkQueue<Item>): Generator<Assignment<Item>> {
  for (let assignments = queue.assign(); assignments.length > 0; assignments = queue.assign())
    yield* assignments;
}

function repeated(count: number, sizeBytes: number): number[] {
  return Array.from({ length: count }, () => sizeBytes);
}
