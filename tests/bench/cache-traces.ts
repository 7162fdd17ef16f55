/**
 * `npm run bench:cache`: which files a cache of 64 MiB keeps under either policy, on requests made up from
 * fixed seeds. Nothing is read or sent: only the policies run. The figures in docs/CACHE.md are from here.
 */
import { CacheItem, CachePolicy, type EvictionQueue } from "../../src/fileserve/cache-policy.ts";
import { LruQueue } from "../../src/fileserve/lru-queue.ts";
import { S3FifoQueue } from "../../src/fileserve/s3-fifo-queue.ts";
import { seededRandom } from "../support/random.ts";

const MIB = 1024 ** 2;
const CACHE_BYTES = 64 * MIB;
const BOOKKEEPING_BYTES = 4096;
const REQUESTS = 400_000;

interface Trace {
  readonly name: string;
  /** One request after the other: a file's number. */
  requests(random: () => number): Generator<number, void>;
}

/** Files 0, 1, 2… from the most to the least popular, the n-th asked for in proportion to 1/n^skew. */
function zipf(files: number, skew: number, random: () => number): () => number {
  const sums = new Float64Array(files);
  let sum = 0;
  for (let rank = 0; rank < files; rank++) sums[rank] = sum += (rank + 1) ** -skew;
  return () => {
    const point = random() * sum;
    let low = 0;
    for (let high = files - 1; low < high;) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < point) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

const TRACES: readonly Trace[] = [
  {
    name: "Zipf 1.0 over 20,000 files",
    *requests(random) {
      const next = zipf(20_000, 1, random);
      for (let made = 0; made < REQUESTS; made++) yield next();
    },
  },
  {
    name: "Zipf 0.7 over 20,000 files",
    *requests(random) {
      const next = zipf(20_000, 0.7, random);
      for (let made = 0; made < REQUESTS; made++) yield next();
    },
  },
  {
    name: "Zipf 1.0, and somebody reads 50,000 other files once, in order, every other request",
    *requests(random) {
      const next = zipf(20_000, 1, random);
      for (let made = 0; made < REQUESTS; made++)
        yield made % 2 === 0 ? next() : 20_000 + ((made >> 1) % 50_000);
    },
  },
  {
    name: "Zipf 1.0, whose popular files change every 20,000 requests",
    *requests(random) {
      const next = zipf(20_000, 1, random);
      for (let made = 0; made < REQUESTS; made++) yield (next() + 997 * Math.floor(made / 20_000)) % 20_000;
    },
  },
  {
    name: "new files all the time, each asked for once more when a third of the cache has gone by",
    *requests() {
      for (let made = 0; made < REQUESTS; made++) {
        const step = made >> 1;
        yield made % 2 === 0 ? step % 70_000 : Math.max(0, step - 270) % 70_000;
      }
    },
  },
  {
    name: "a loop over a quarter more than fits",
    *requests() {
      for (let made = 0; made < REQUESTS; made++) yield made % 1_000;
    },
  },
  {
    name: "a loop over twice what fits",
    *requests() {
      for (let made = 0; made < REQUESTS; made++) yield made % 1_650;
    },
  },
];

const POLICIES: Readonly<Record<string, () => EvictionQueue>> = {
  lru: () => new LruQueue(),
  "s3-fifo": () => new S3FifoQueue(CACHE_BYTES),
};

/** Mostly some KiB, a few of some MiB: log-normal, with a median of 16 KiB and a mean of about 75 KiB. */
function fileSizes(files: number): Uint32Array {
  const random = seededRandom(7);
  return Uint32Array.from({ length: files }, () => {
    const normal = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
    return Math.min(32 * MIB, Math.round(16 * 1024 * Math.exp(1.75 * normal)));
  });
}

function replay(trace: Trace, queue: EvictionQueue, sizes: Uint32Array): { requests: number; bytes: number } {
  const policy = new CachePolicy(CACHE_BYTES, queue);
  const cached = new Map<string, CacheItem>();
  const hits = { requests: 0, bytes: 0 };
  let askedBytes = 0;
  const random = seededRandom(1);
  for (const file of trace.requests(() => random.next())) {
    const name = String(file);
    const sizeBytes = sizes[file]!;
    askedBytes += sizeBytes;
    const known = cached.get(name);
    if (known !== undefined) {
      hits.requests++;
      hits.bytes += sizeBytes;
      policy.touch(known);
      continue;
    }
    const item = new CacheItem(name, sizeBytes + BOOKKEEPING_BYTES);
    for (const { name: gone } of policy.admit(item) ?? []) cached.delete(gone);
    policy.unpin(item);
    cached.set(name, item);
  }
  return { requests: hits.requests / REQUESTS, bytes: hits.bytes / askedBytes };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const sizes = fileSizes(70_000);
console.log("| requests | files found: lru | s3-fifo | bytes found: lru | s3-fifo |");
console.log("| --- | --- | --- | --- | --- |");
for (const trace of TRACES) {
  const results = Object.values(POLICIES).map((queue) => replay(trace, queue(), sizes));
  const cells = [
    ...results.map(({ requests }) => percent(requests)),
    ...results.map(({ bytes }) => percent(bytes)),
  ];
  console.log(`| ${[trace.name, ...cells].join(" | ")} |`);
}
