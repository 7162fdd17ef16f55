import * as fs from "node:fs";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { FromHashThread, ToHashThread } from "./hash-messages.ts";

/** Between two looks at what else there is to do. */
const TURN_BYTES = 4 * 1024 * 1024;
const READ_BYTES = 512 * 1024;

type Step = Exclude<ToHashThread, { type: "md5-close" }>;

interface Job {
  readonly id: number;
  readonly hasher: Bun.CryptoHasher;
  readonly steps: Step[];
  /** How much of the first step, a range, is done. */
  doneBytes: number;
}

/** A pool thread's side of a RunningDigest: reads files that the main thread has open, and hashes. Jobs take turns. */
export class HashThread {
  readonly #post: (message: FromHashThread) => void;
  readonly #jobs = new Map<number, Job>();
  #buffer: Uint8Array | undefined;
  #isRunning = false;

  constructor(post: (message: FromHashThread) => void) {
    this.#post = post;
  }

  take(message: ToHashThread): void {
    if (message.type === "md5-close") {
      this.#jobs.delete(message.job);
      this.#post({ type: "md5-closed", job: message.job });
      return;
    }
    let job = this.#jobs.get(message.job);
    if (job === undefined) {
      job = { id: message.job, hasher: new Bun.CryptoHasher("md5"), steps: [], doneBytes: 0 };
      this.#jobs.set(job.id, job);
    }
    job.steps.push(message);
    if (!this.#isRunning) this.#run();
  }

  #run(): void {
    this.#isRunning = false;
    for (const job of this.#jobs.values()) {
      if (job.steps.length === 0) continue;
      try {
        this.#turn(job);
      } catch (error) {
        const { code, message } = asDrayError(error);
        this.#post({ type: "md5-failed", job: job.id, code, message });
        job.steps.length = 0;
      }
      this.#isRunning ||= job.steps.length > 0;
    }
    if (this.#isRunning) setImmediate(() => this.#run());
  }

  #turn(job: Job): void {
    let turnBytes = 0;
    let done = { bytes: 0, ranges: 0 };
    const tell = (): void => {
      if (done.bytes > 0 || done.ranges > 0) this.#post({ type: "md5-progress", job: job.id, ...done });
      turnBytes += done.bytes;
      done = { bytes: 0, ranges: 0 };
    };
    while (turnBytes + done.bytes < TURN_BYTES) {
      const step = job.steps[0];
      if (step === undefined) break;
      if (step.type === "md5-range" && job.doneBytes < step.lengthBytes) {
        done.bytes += this.#readOnce(job, step);
        if (job.doneBytes < step.lengthBytes) continue;
      }
      job.steps.shift();
      if (step.type === "md5-range") {
        job.doneBytes = 0;
        done.ranges++;
      } else if (step.type === "md5-bytes") {
        job.hasher.update(step.bytes);
        done.bytes += step.bytes.length;
      } else {
        // Whoever gets a digest finds nothing pending, and the files released.
        tell();
        this.#post({ type: "md5-done", job: job.id, md5: new Uint8Array(job.hasher.copy().digest()) });
      }
    }
    tell();
  }

  #readOnce(job: Job, { descriptor, fromBytes, lengthBytes }: Step & { type: "md5-range" }): number {
    this.#buffer ??= new Uint8Array(READ_BYTES);
    const wanted = Math.min(READ_BYTES, lengthBytes - job.doneBytes);
    const count = fs.readSync(descriptor, this.#buffer, 0, wanted, fromBytes + job.doneBytes);
    if (count === 0) throw new DrayError("changed", "the file became shorter while it was read");
    job.hasher.update(this.#buffer.subarray(0, count));
    job.doneBytes += count;
    return count;
  }
}
