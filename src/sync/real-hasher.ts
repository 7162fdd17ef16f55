import { DrayError } from "../errors/dray-error.ts";
import type { FromHashThread, ToHashThread } from "./hash-messages.ts";
import type { Hasher, Md5, OpenFile, RunningDigest } from "./ports.ts";
import { RealFile } from "./real-file.ts";

/** Up to this, hashing here is cheaper than asking a thread. */
const INLINE_BYTES = 64 * 1024;

/** MD5 on pool threads that are started when they are first needed. */
export class RealHasher implements Hasher {
  readonly #threadUrl: string;
  readonly #maxThreads: number;
  readonly #threads: HashWorker[] = [];

  /** @param threadUrl entry of a pool thread. @param maxThreads from 1 */
  constructor(threadUrl: string, maxThreads: number) {
    this.#threadUrl = threadUrl;
    this.#maxThreads = maxThreads;
  }

  md5(bytes: Uint8Array): Md5 {
    return new Uint8Array(new Bun.CryptoHasher("md5").update(bytes).digest());
  }

  begin(): RunningDigest {
    return new RealDigest(() => this.#worker());
  }

  /** Ends the threads. */
  close(): void {
    for (const thread of this.#threads.splice(0)) thread.close();
  }

  #worker(): HashWorker {
    const idlest = this.#threads.toSorted((a, b) => a.jobs - b.jobs)[0];
    if (idlest !== undefined && (idlest.jobs === 0 || this.#threads.length >= this.#maxThreads))
      return idlest;
    const thread = new HashWorker(this.#threadUrl, () => {
      const at = this.#threads.indexOf(thread);
      if (at >= 0) this.#threads.splice(at, 1);
    });
    this.#threads.push(thread);
    return thread;
  }
}

/** A digest's connection to its thread. */
interface ThreadJob {
  progress(bytes: number, ranges: number): void;
  done(md5: Md5): void;
  failed(error: DrayError): void;
  closed(): void;
}

class HashWorker {
  readonly #thread: Worker;
  readonly #jobs = new Map<number, ThreadJob>();
  #lastJob = 0;

  /** @param broken told when it cannot be used any more */
  constructor(threadUrl: string, broken: () => void) {
    this.#thread = new Worker(threadUrl);
    this.#thread.onmessage = ({ data }: MessageEvent<FromHashThread>) => this.#take(data);
    this.#thread.onerror = (event) => {
      broken();
      this.#end(new DrayError("internal", `a worker thread failed: ${event.message}`));
    };
  }

  get jobs(): number {
    return this.#jobs.size;
  }

  open(job: ThreadJob): number {
    this.#jobs.set(++this.#lastJob, job);
    return this.#lastJob;
  }

  tell(message: ToHashThread): void {
    this.#thread.postMessage(message);
  }

  close(): void {
    this.#end(new DrayError("interrupted", "the hashing threads were ended"));
  }

  #end(error: DrayError): void {
    this.#thread.terminate();
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const job of jobs) {
      job.failed(error);
      job.closed();
    }
  }

  #take(message: FromHashThread): void {
    const job = this.#jobs.get(message.job);
    if (message.type === "md5-progress") job?.progress(message.bytes, message.ranges);
    else if (message.type === "md5-done") job?.done(message.md5);
    else if (message.type === "md5-failed") job?.failed(new DrayError(message.code, message.message));
    else {
      this.#jobs.delete(message.job);
      job?.closed();
    }
  }
}

/** Begins here, and moves to a thread when it becomes large. */
class RealDigest implements RunningDigest, ThreadJob {
  readonly #findWorker: () => HashWorker;
  #inline: { hasher: Bun.CryptoHasher; bytes: Uint8Array[]; sizeBytes: number } | undefined;
  #worker: HashWorker | undefined;
  #job = 0;
  #pendingBytes = 0;
  #waiting: PromiseWithResolvers<Md5>[] = [];
  /** Of the files whose ranges the thread has not read yet, in order. */
  #releases: (() => void)[] = [];
  #error: DrayError | undefined;
  #isClosed = false;

  constructor(findWorker: () => HashWorker) {
    this.#findWorker = findWorker;
    this.#inline = { hasher: new Bun.CryptoHasher("md5"), bytes: [], sizeBytes: 0 };
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  add(bytes: Uint8Array): void {
    if (this.#isClosed || this.#error !== undefined || bytes.length === 0) return;
    if (this.#takeInline(bytes.length, () => bytes.slice())) return;
    this.#tellBytes(bytes.slice());
  }

  addRange(file: OpenFile, fromBytes: number, lengthBytes: number): void {
    if (this.#isClosed || this.#error !== undefined || lengthBytes === 0) return;
    const read = (): Uint8Array => {
      const bytes = new Uint8Array(lengthBytes);
      if (file.read(bytes, fromBytes) === lengthBytes) return bytes;
      throw new DrayError("changed", "the file became shorter while it was read");
    };
    try {
      if (this.#takeInline(lengthBytes, read)) return;
    } catch (error) {
      this.#error =
        error instanceof DrayError ? error : new DrayError("storage", String(error), { cause: error });
      return;
    }
    if (!(file instanceof RealFile))
      throw new DrayError("internal", "only files of this tree can be hashed on threads");
    const { descriptor, release } = file.hold();
    this.#releases.push(release);
    this.#pendingBytes += lengthBytes;
    this.#worker!.tell({ type: "md5-range", job: this.#job, descriptor, fromBytes, lengthBytes });
  }

  digest(): Promise<Md5> {
    if (this.#isClosed) return Promise.reject(interrupted());
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#inline !== undefined)
      return Promise.resolve(new Uint8Array(this.#inline.hasher.copy().digest()));
    const waiting = Promise.withResolvers<Md5>();
    this.#waiting.push(waiting);
    this.#worker!.tell({ type: "md5-digest", job: this.#job });
    return waiting.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(interrupted());
    this.#inline = undefined;
    this.#pendingBytes = 0;
    // Files stay open until the thread says that it has let go of them.
    this.#worker?.tell({ type: "md5-close", job: this.#job });
  }

  progress(bytes: number, ranges: number): void {
    if (!this.#isClosed) this.#pendingBytes -= bytes;
    for (const release of this.#releases.splice(0, ranges)) release();
  }

  done(md5: Md5): void {
    this.#waiting.shift()?.resolve(md5);
  }

  failed(error: DrayError): void {
    this.#error ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#pendingBytes = 0;
  }

  closed(): void {
    for (const release of this.#releases.splice(0)) release();
  }

  /** @returns false when it is too much, and a thread goes on */
  #takeInline(lengthBytes: number, bytesOf: () => Uint8Array): boolean {
    const inline = this.#inline;
    if (inline === undefined) return false;
    if (inline.sizeBytes + lengthBytes > INLINE_BYTES) {
      this.#inline = undefined;
      this.#worker = this.#findWorker();
      this.#job = this.#worker.open(this);
      for (const early of inline.bytes) this.#tellBytes(early);
      return false;
    }
    const bytes = bytesOf();
    inline.hasher.update(bytes);
    inline.bytes.push(bytes);
    inline.sizeBytes += lengthBytes;
    return true;
  }

  /** @param bytes are given away */
  #tellBytes(bytes: Uint8Array): void {
    this.#pendingBytes += bytes.length;
    this.#worker!.tell({ type: "md5-bytes", job: this.#job, bytes });
  }
}

function interrupted(): DrayError {
  return new DrayError("interrupted", "nobody waits for this digest any more");
}
