/** Something to do for a feed; `sizeBytes` decides how much goes into one batch. */
export interface QueuedItem {
  sizeBytes: number;
}

/** What one lane is to do next. */
export interface Assignment<Item> {
  lane: number;
  feedId: string;
  items: Item[];
}

/**
 * - `connected`: only lanes that are connected to the source, which has no room for more
 * - `probe`: one item in one lane, to find out whether a source is back
 */
export type Restriction = "none" | "connected" | "probe" | "pause";

interface Feed<Item> {
  id: string;
  /** The server that its lanes connect to. */
  endpoint: string;
  /** The source waits before each file: then one file at a time is what a worker takes. */
  isDelayed: boolean;
  restriction: Restriction;
  items: Item[];
  /** Where the first waiting item is: shifting an array for each one would cost its length. */
  head: number;
  /** Assignments that are not done. */
  running: number;
  /** Lanes that work for it. */
  lanes: number;
}

interface Lane {
  feedId: string | undefined;
  /** Where its assignments lead; kept when its feed is removed. */
  endpoint: string;
  /** The server that it has a connection to, as far as is known. */
  connectedTo: string | undefined;
  /** Sizes of its assignments in bytes, the oldest first. */
  assignedBytes: number[];
}

/** One batch of small files: enough to hide a round trip, little enough to spread over the lanes. */
const BATCH_ITEMS = 64;
const BATCH_BYTES = 8 * 1024 * 1024;
/** A feed may have this many waiting even when many feeds share the queue. */
const MIN_FEED_CAPACITY = 64;

/**
 * The bounded queue between managers, which fill it, and workers ("lanes"), which drain it
 * (seed 000, "Shared Queue"). Pure: told what happened, it says what to do.
 *
 * Fair between feeds (one feed is one source of one order): lanes go round the feeds, and no feed
 * is given more than its share of them, rounded up, so a slow source keeps the others' lanes free. A
 * lane with a batch of small files is given the next one ahead of time, to keep its connection busy,
 * but only while no other feed wants a lane, and its own is not above its share. A lane that is connected
 * to a feed's server is taken before one that would have to dial: the server may have no room for another.
 */
export class WorkQueue<Item extends QueuedItem> {
  readonly #lanes: Lane[];
  readonly #capacity: number;
  readonly #feeds = new Map<string, Feed<Item>>();
  /** Feed ids in the order in which they are served next. */
  #turn: string[] = [];

  /** @param capacity items that may wait in all, apart from the last batch of each feed */
  constructor(laneCount: number, capacity: number) {
    this.#lanes = Array.from({ length: laneCount }, () => ({
      feedId: undefined,
      endpoint: "",
      connectedTo: undefined,
      assignedBytes: [],
    }));
    this.#capacity = capacity;
  }

  open(feedId: string, endpoint: string, isDelayed: boolean): void {
    this.#feeds.set(feedId, {
      id: feedId,
      endpoint,
      isDelayed,
      restriction: "none",
      items: [],
      head: 0,
      running: 0,
      lanes: 0,
    });
    this.#turn.push(feedId);
  }

  /** Takes a batch whole; who fills the queue asks hasRoom before the next one. */
  offer(feedId: string, items: readonly Item[]): void {
    const feed = this.#feed(feedId);
    for (const item of items) feed.items.push(item);
  }

  hasRoom(feedId: string): boolean {
    const share = Math.max(MIN_FEED_CAPACITY, Math.floor(this.#capacity / this.#feeds.size));
    return waiting(this.#feed(feedId)) < share;
  }

  /** How the feed may be served from now on: all of its share, one item at a time, or not at all. */
  restrict(feedId: string, restriction: Restriction): void {
    this.#feed(feedId).restriction = restriction;
  }

  /** Takes back what no lane has yet. */
  withdraw(feedId: string): Item[] {
    const feed = this.#feed(feedId);
    const withdrawn = feed.items.slice(feed.head);
    feed.items = [];
    feed.head = 0;
    return withdrawn;
  }

  /** Whether a feed has nothing waiting and nothing running. */
  isIdle(feedId: string): boolean {
    const feed = this.#feed(feedId);
    return waiting(feed) === 0 && feed.running === 0;
  }

  remove(feedId: string): void {
    this.#feeds.delete(feedId);
    this.#turn = this.#turn.filter((id) => id !== feedId);
  }

  /**
   * The lane's oldest assignment is done.
   * @param isConnected whether the lane is connected to the feed's server now; undefined: as before
   */
  done(lane: number, isConnected: boolean | undefined): void {
    const state = this.#lanes[lane]!;
    state.assignedBytes.shift();
    if (isConnected !== undefined) state.connectedTo = isConnected ? state.endpoint : undefined;
    const feed = state.feedId === undefined ? undefined : this.#feeds.get(state.feedId);
    if (feed !== undefined) feed.running--;
    if (state.assignedBytes.length > 0) return;
    state.feedId = undefined;
    if (feed !== undefined) feed.lanes--;
  }

  /** How many lanes are connected to a server. */
  connectedLanes(endpoint: string): number {
    return this.#lanes.filter(({ connectedTo }) => connectedTo === endpoint).length;
  }

  /** Takes the lanes that are connected to a server and have nothing to do: they are to hang up. */
  release(endpoint: string): number[] {
    const released: number[] = [];
    for (const [number, lane] of this.#lanes.entries()) {
      if (lane.feedId !== undefined || lane.connectedTo !== endpoint) continue;
      lane.connectedTo = undefined;
      released.push(number);
    }
    return released;
  }

  /** What the lanes are to do now. To be called after every change. */
  assign(): Assignment<Item>[] {
    const assignments: Assignment<Item>[] = [];
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      assignments.push(this.#assignTo(next.lane, next.feed));
    }
    for (let lane = 0; lane < this.#lanes.length; lane++) {
      const feed = this.#feedToPrefetch(this.#lanes[lane]!);
      if (feed !== undefined) assignments.push(this.#assignTo(lane, feed));
    }
    return assignments;
  }

  #feed(feedId: string): Feed<Item> {
    const feed = this.#feeds.get(feedId);
    if (feed === undefined) throw new RangeError(`no feed ${feedId} in the queue`);
    return feed;
  }

  /** The first feed in turn that has work and is under its share, with a lane for it; it goes to the end of the line. */
  #next(): { feed: Feed<Item>; lane: number } | undefined {
    if (this.#lanes.every(({ feedId }) => feedId !== undefined)) return undefined;
    for (const [index, id] of this.#turn.entries()) {
      const feed = this.#feed(id);
      const lane = this.#isUnderShare(feed) ? this.#laneFor(feed) : undefined;
      if (lane === undefined) continue;
      this.#turn.splice(index, 1);
      this.#turn.push(id);
      return { feed, lane };
    }
    return undefined;
  }

  /** Of the lanes that have nothing to do: one that is connected to the feed's server, or else to none, or else any. */
  #laneFor(feed: Feed<Item>): number | undefined {
    let best: number | undefined;
    for (const [number, { feedId, connectedTo }] of this.#lanes.entries()) {
      if (feedId !== undefined) continue;
      if (connectedTo === feed.endpoint) return number;
      if (feed.restriction === "connected") continue;
      if (best === undefined || (connectedTo === undefined && this.#lanes[best]!.connectedTo !== undefined))
        best = number;
    }
    return best;
  }

  #feedToPrefetch(lane: Lane): Feed<Item> | undefined {
    if (lane.feedId === undefined || lane.assignedBytes.length !== 1) return undefined;
    if (lane.assignedBytes[0]! > BATCH_BYTES) return undefined;
    const feed = this.#feeds.get(lane.feedId);
    if (feed === undefined || feed.isDelayed || waiting(feed) === 0) return undefined;
    const isServed =
      feed.restriction === "none" || (feed.restriction === "connected" && lane.connectedTo === feed.endpoint);
    if (!isServed) return undefined;
    const isOtherStarved = this.#turn.some((id) => id !== feed.id && this.#isUnderShare(this.#feed(id)));
    return isOtherStarved || feed.lanes > this.#laneShare ? undefined : feed;
  }

  /** Whether the feed has work and may take another lane. */
  #isUnderShare(feed: Feed<Item>): boolean {
    if (waiting(feed) === 0 || feed.lanes >= this.#laneShare) return false;
    switch (feed.restriction) {
      case "none":
        return true;
      case "connected":
        return feed.lanes < this.connectedLanes(feed.endpoint);
      case "probe":
        return feed.lanes === 0;
      case "pause":
        return false;
    }
  }

  get #laneShare(): number {
    return Math.ceil(this.#lanes.length / this.#turn.length);
  }

  #assignTo(lane: number, feed: Feed<Item>): Assignment<Item> {
    const { items, bytes } = this.#takeBatch(feed);
    const state = this.#lanes[lane]!;
    if (state.feedId === undefined) feed.lanes++;
    state.feedId = feed.id;
    state.endpoint = feed.endpoint;
    state.assignedBytes.push(bytes);
    feed.running++;
    return { lane, feedId: feed.id, items };
  }

  #takeBatch(feed: Feed<Item>): { items: Item[]; bytes: number } {
    const fairItems = Math.ceil(waiting(feed) / this.#lanes.length);
    const maxItems = feed.isDelayed || feed.restriction === "probe" ? 1 : Math.min(BATCH_ITEMS, fairItems);
    const items: Item[] = [];
    let bytes = 0;
    while (items.length < maxItems && waiting(feed) > 0) {
      const item = feed.items[feed.head]!;
      if (items.length > 0 && bytes + item.sizeBytes > BATCH_BYTES) break;
      items.push(item);
      bytes += item.sizeBytes;
      feed.head++;
    }
    if (feed.head > 1024 && feed.head * 2 > feed.items.length) {
      feed.items = feed.items.slice(feed.head);
      feed.head = 0;
    }
    return { items, bytes };
  }
}

function waiting<Item>(feed: Feed<Item>): number {
  return feed.items.length - feed.head;
}
