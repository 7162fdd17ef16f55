/** How many bytes a job may ask its source for now; undefined: as many as it wants. */
export interface Grant {
  jobId: number;
  bytes: number | undefined;
}

interface Ask {
  jobId: number;
  bytes: number;
}

interface Feed {
  bucket: Bucket | undefined;
  /** Where it stands in the order of service: what it has been granted, and as far as the others while it had no need. */
  servedBytes: number;
  /** One for each of its jobs that waits, the oldest first. */
  asks: Ask[];
}

/** What may come at once after a pause, in seconds of the limit: hides how late a timer fires. */
const BURST_S = 0.2;
/** What one turn brings, in seconds of the limit, within bounds. */
const TURN_S = 0.05;
const MIN_TURN_BYTES = 2 * 1024;
const MAX_TURN_BYTES = 4 * 1024 * 1024;

/** The most that a limit lets through at once, beyond what it allows for the time that has passed. */
export function burstBytes(bytesPerSecond: number): number {
  return Math.max(MIN_TURN_BYTES, bytesPerSecond * BURST_S);
}

function turnBytes(bytesPerSecond: number): number {
  return Math.min(MAX_TURN_BYTES, Math.max(MIN_TURN_BYTES, Math.floor(bytesPerSecond * TURN_S)));
}

/** A token bucket: fills at the limit's rate, up to the burst. It begins empty, and is never overdrawn. */
class Bucket {
  #bytesPerSecond: number;
  #bytes = 0;
  #atMs: number;

  constructor(bytesPerSecond: number, nowMs: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#atMs = nowMs;
  }

  get turnBytes(): number {
    return turnBytes(this.#bytesPerSecond);
  }

  change(bytesPerSecond: number, nowMs: number): void {
    this.#fill(nowMs);
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** How long until so many bytes are there; 0 when they are. */
  waitMs(bytes: number, nowMs: number): number {
    this.#fill(nowMs);
    return Math.max(0, ((bytes - this.#bytes) * 1000) / this.#bytesPerSecond);
  }

  take(bytes: number): void {
    this.#bytes -= bytes;
  }

  #fill(nowMs: number): void {
    const filledBytes = this.#bytes + (this.#bytesPerSecond * Math.max(0, nowMs - this.#atMs)) / 1000;
    this.#bytes = Math.min(burstBytes(this.#bytesPerSecond), filledBytes);
    this.#atMs = Math.max(this.#atMs, nowMs);
  }
}

/**
 * Shares out the mirror's bandwidth. Jobs ask before they request bytes from their source, and are
 * granted them in turns: next is the source (feed) that has had the least, and the jobs of one source go
 * round, so that all get the same, whatever they ask for at once. What is granted over any span never exceeds the limit times the span plus one burst,
 * neither that of all together nor that of one source. Pure: told the time, it says what to do.
 */
export class Bandwidth {
  #global: Bucket | undefined;
  readonly #feeds = new Map<string, Feed>();
  /** Those with jobs that wait. */
  readonly #waiting = new Set<Feed>();
  /** How much whoever was served last had been granted before. */
  #servedBytes = 0;

  /** @param bytesPerSecond undefined for no limit */
  open(feedId: string, bytesPerSecond: number | undefined, nowMs: number): void {
    const bucket = bytesPerSecond === undefined ? undefined : new Bucket(bytesPerSecond, nowMs);
    this.#feeds.set(feedId, { bucket, servedBytes: 0, asks: [] });
  }

  close(feedId: string): void {
    const feed = this.#feeds.get(feedId);
    if (feed !== undefined) this.#waiting.delete(feed);
    this.#feeds.delete(feedId);
  }

  isOpen(feedId: string): boolean {
    return this.#feeds.has(feedId);
  }

  /** Changes the limit of all feeds together. */
  limitAll(bytesPerSecond: number | undefined, nowMs: number): void {
    this.#global = changed(this.#global, bytesPerSecond, nowMs);
  }

  /** Changes the limit of one feed. */
  limit(feedId: string, bytesPerSecond: number | undefined, nowMs: number): void {
    const feed = this.#feeds.get(feedId);
    if (feed !== undefined) feed.bucket = changed(feed.bucket, bytesPerSecond, nowMs);
  }

  isLimited(feedId: string): boolean {
    return this.#global !== undefined || this.#feeds.get(feedId)?.bucket !== undefined;
  }

  /** A job wants to request bytes. Answered by a grant of some of them, at least one. */
  ask(feedId: string, jobId: number, bytes: number): void {
    const feed = this.#feeds.get(feedId);
    if (feed === undefined) throw new RangeError(`no feed ${feedId} has bandwidth`);
    feed.asks.push({ jobId, bytes });
    this.#waiting.add(feed);
  }

  /**
   * What is to be granted now, and in how many milliseconds to call again, if not asked before. To be
   * called after every change.
   */
  grants(nowMs: number): { grants: Grant[]; waitMs: number | undefined } {
    const grants: Grant[] = [];
    for (;;) {
      const { feed, waitMs } = this.#next(nowMs);
      if (feed === undefined) return { grants, waitMs };
      const { jobId, bytes: askedBytes } = feed.asks[0]!;
      const bytes = this.#turnOf(feed, askedBytes);
      if (bytes !== undefined) {
        const globalMs = this.#global?.waitMs(bytes, nowMs) ?? 0;
        // Whose turn it is among all is not overtaken by somebody who wants less.
        if (globalMs > 0) return { grants, waitMs: globalMs };
        this.#global?.take(bytes);
        feed.bucket?.take(bytes);
        this.#servedBytes = Math.max(this.#servedBytes, feed.servedBytes);
        feed.servedBytes = this.#servedBytes + bytes;
      }
      grants.push({ jobId, bytes });
      feed.asks.shift();
      if (feed.asks.length === 0) this.#waiting.delete(feed);
    }
  }

  /** The feed whose turn it is, of those that are within their own limit; or when there will be one. */
  #next(nowMs: number): { feed: Feed | undefined; waitMs: number | undefined } {
    let next: Feed | undefined;
    let leastWaitMs: number | undefined;
    for (const feed of this.#waiting) {
      const bytes = this.#turnOf(feed, feed.asks[0]!.bytes);
      const waitMs = bytes === undefined ? 0 : (feed.bucket?.waitMs(bytes, nowMs) ?? 0);
      if (waitMs > 0) leastWaitMs = Math.min(leastWaitMs ?? waitMs, waitMs);
      else if (next === undefined || this.#startOf(feed) < this.#startOf(next)) next = feed;
    }
    return { feed: next, waitMs: leastWaitMs };
  }

  /** A feed that had no need for a while gains nothing over the others by that. */
  #startOf(feed: Feed): number {
    return Math.max(feed.servedBytes, this.#servedBytes);
  }

  /** What one turn brings; undefined without a limit. */
  #turnOf(feed: Feed, askedBytes: number): number | undefined {
    if (this.#global === undefined && feed.bucket === undefined) return undefined;
    return Math.min(
      askedBytes,
      this.#global?.turnBytes ?? MAX_TURN_BYTES,
      feed.bucket?.turnBytes ?? MAX_TURN_BYTES,
    );
  }
}

function changed(
  bucket: Bucket | undefined,
  bytesPerSecond: number | undefined,
  nowMs: number,
): Bucket | undefined {
  if (bytesPerSecond === undefined) return undefined;
  if (bucket === undefined) return new Bucket(bytesPerSecond, nowMs);
  bucket.change(bytesPerSecond, nowMs);
  return bucket;
}
