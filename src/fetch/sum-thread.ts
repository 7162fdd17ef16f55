import * as fs from "node:fs";
import { asDrayError } from "../errors/dray-error.ts";
import type { FromSumThread, ToSumThread } from "./sum-messages.ts";

/** Between two looks at what else there is to do. */
const TURN_BYTES = 16 * 1024 * 1024;
const WHOLE_READ_BYTES = 1024 * 1024;

interface Job {
  id: number;
  descriptor: number;
  hasher: Bun.CryptoHasher;
  /** Up to where the sum goes. */
  position: number;
  /** Undefined for a file that is read as it is, to its end. */
  sizeBytes: number | undefined;
  /** Pieces that were written and not read yet, by offset. */
  written: Map<number, { lengthBytes: number; digest: bigint }>;
  isRunning: boolean;
}

/**
 * A pool thread's side of a fetch: reads the file behind the one that writes it. The sum takes about as
 * long as the transfer, and costs it nothing here; and it is that of the bytes that the file system gives back.
 */
export class SumThread {
  readonly #post: (message: FromSumThread) => void;
  readonly #jobs = new Map<number, Job>();
  #buffer = new Uint8Array(WHOLE_READ_BYTES);

  constructor(post: (message: FromSumThread) => void) {
    this.#post = post;
  }

  take(message: ToSumThread): void {
    if (message.type === "sum-open") this.#open(message.job, message.path, message.sizeBytes);
    else if (message.type === "sum-whole") this.#open(message.job, message.path, undefined);
    else if (message.type === "sum-close") this.#close(message.job);
    else {
      const job = this.#jobs.get(message.job);
      if (job === undefined) return;
      for (const [index, offset] of message.offsets.entries()) {
        job.written.set(offset, { lengthBytes: message.lengths[index]!, digest: message.digests[index]! });
      }
      this.#run(job);
    }
  }

  #open(id: number, path: string, sizeBytes: number | undefined): void {
    try {
      const descriptor = fs.openSync(path, "r");
      const hasher = new Bun.CryptoHasher("sha256");
      const job = { id, descriptor, hasher, position: 0, sizeBytes, written: new Map(), isRunning: false };
      this.#jobs.set(id, job);
      if (sizeBytes === undefined || sizeBytes === 0) this.#run(job);
    } catch (error) {
      this.#failed(id, error);
    }
  }

  #run(job: Job): void {
    if (job.isRunning) return;
    try {
      const isAtEnd = job.sizeBytes === undefined ? this.#readWhole(job) : this.#readWritten(job);
      if (isAtEnd === undefined) {
        job.isRunning = true;
        setImmediate(() => {
          job.isRunning = false;
          if (this.#jobs.has(job.id)) this.#run(job);
        });
      } else if (isAtEnd) {
        this.#post({ type: "sum-done", job: job.id, sha256: job.hasher.digest("hex") });
        this.#close(job.id);
      }
    } catch (error) {
      this.#failed(job.id, error);
    }
  }

  /** @returns whether it is at the end; undefined when there is more to do in another turn */
  #readWritten(job: Job): boolean | undefined {
    const turnEnd = job.position + TURN_BYTES;
    for (let next = job.written.get(job.position); next !== undefined; next = job.written.get(job.position)) {
      if (job.position >= turnEnd) return undefined;
      const { lengthBytes, digest } = next;
      const bytes = this.#read(job, lengthBytes);
      job.written.delete(job.position);
      if (Bun.hash.xxHash3(bytes) !== digest) {
        this.#post({ type: "sum-damaged", job: job.id, offset: job.position, lengthBytes });
        return false;
      }
      job.hasher.update(bytes);
      job.position += lengthBytes;
    }
    return job.position === job.sizeBytes;
  }

  #readWhole(job: Job): boolean | undefined {
    const turnEnd = job.position + TURN_BYTES;
    while (job.position < turnEnd) {
      const bytes = this.#read(job, WHOLE_READ_BYTES);
      if (bytes.length === 0) return true;
      job.hasher.update(bytes);
      job.position += bytes.length;
    }
    return undefined;
  }

  /** Fewer bytes than wanted at the end of the file. Valid until the next call. */
  #read(job: Job, wantedBytes: number): Uint8Array {
    if (this.#buffer.length < wantedBytes) this.#buffer = new Uint8Array(wantedBytes);
    let filled = 0;
    while (filled < wantedBytes) {
      const count = fs.readSync(
        job.descriptor,
        this.#buffer,
        filled,
        wantedBytes - filled,
        job.position + filled,
      );
      if (count === 0) break;
      filled += count;
    }
    return this.#buffer.subarray(0, filled);
  }

  #failed(id: number, error: unknown): void {
    const { code, message } = asDrayError(error);
    this.#post({ type: "sum-failed", job: id, code, message });
    this.#close(id);
  }

  #close(id: number): void {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    this.#jobs.delete(id);
    fs.closeSync(job.descriptor);
  }
}
