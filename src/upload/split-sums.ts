import type { FileRead } from "../disk/file-read.ts";
import { DrayError } from "../errors/dray-error.ts";
import { type DigestKind, digestBytes } from "../wire/digest.ts";
import { type SplitSizes, partCount, partSize, pieceCount } from "../wire/manifest.ts";
import type { FromSplitThread, SplitRange } from "./split-messages.ts";

/** What a manifest says of the contents of a file. */
export interface ContentSums {
  /** SHA-256 of the whole file, in hexadecimal. */
  root: string;
  /** SHA-256 of each part. */
  parts: string[];
  /** The digests of all pieces, one behind the other. */
  pieces: Uint8Array;
}

interface Job {
  id: number;
  range: Omit<SplitRange, "job">;
  done(sums: { sha256: string; pieces: Uint8Array }): void;
  failed(error: DrayError): void;
  progressed(bytes: number): void;
}

/** Digests of files and their parts, on pool threads that are started when they are first needed. */
export class SplitSums {
  readonly #threadUrl: string;
  readonly #maxThreads: number;
  readonly #waiting: Job[] = [];
  readonly #threads: { worker: Worker; job: Job | undefined }[] = [];
  #lastJob = 0;

  constructor(threadUrl: string, maxThreads: number) {
    this.#threadUrl = threadUrl;
    this.#maxThreads = maxThreads;
  }

  /**
   * Reads a file twice at the same time: as a whole, and part by part.
   * @param file stays open until this settles
   * @param progressed told of bytes read; in all they are twice the file's size
   * @throws DrayError "changed" when the file became shorter, what the disk says, the signal's reason
   */
  async of(
    file: FileRead,
    { pieceBytes, partBytes }: SplitSizes,
    digest: DigestKind,
    progressed: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<ContentSums> {
    const { sizeBytes } = file.facts;
    const sizes = { sizeBytes, pieceBytes, partBytes };
    const count = partCount(sizes);
    const range = (offset: number, lengthBytes: number, pieces: SplitRange["pieces"]) =>
      this.#run({ descriptor: file.descriptor, offset, lengthBytes, pieces }, progressed, signal);
    const whole = range(0, sizeBytes, undefined);
    const parts = Array.from({ length: count }, (_, index) =>
      range(index * partBytes, partSize(sizes, index), { digest, pieceBytes }),
    );
    // All of them have ended before the file may be closed.
    const settled = await Promise.allSettled([whole, ...parts]);
    signal.throwIfAborted();
    const failed = settled.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    const pieces = new Uint8Array(pieceCount(sizes) * digestBytes(digest));
    let filled = 0;
    const sums: string[] = [];
    for (const part of await Promise.all(parts)) {
      sums.push(part.sha256);
      pieces.set(part.pieces, filled);
      filled += part.pieces.length;
    }
    return { root: (await whole).sha256, parts: sums, pieces };
  }

  /** Ends the threads. */
  close(): void {
    for (const { worker } of this.#threads.splice(0)) worker.terminate();
  }

  #run(
    range: Omit<SplitRange, "job">,
    progressed: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<{ sha256: string; pieces: Uint8Array }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ sha256: string; pieces: Uint8Array }>();
    const job: Job = { id: ++this.#lastJob, range, done: resolve, failed: reject, progressed };
    const stop = (): void => {
      const at = this.#waiting.indexOf(job);
      if (at >= 0) this.#waiting.splice(at, 1);
      const thread = this.#threads.find((one) => one.job === job);
      if (thread !== undefined) this.#drop(thread);
      reject(signal.reason);
    };
    if (signal.aborted) stop();
    else {
      signal.addEventListener("abort", stop);
      this.#waiting.push(job);
      this.#pump();
    }
    return promise.finally(() => signal.removeEventListener("abort", stop));
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      let thread = this.#threads.find(({ job }) => job === undefined);
      if (thread === undefined && this.#threads.length < this.#maxThreads) thread = this.#start();
      if (thread === undefined) return;
      const job = this.#waiting.shift()!;
      thread.job = job;
      thread.worker.postMessage({ type: "split-range", job: job.id, ...job.range });
    }
  }

  #start(): { worker: Worker; job: Job | undefined } {
    const worker = new Worker(this.#threadUrl);
    const thread = { worker, job: undefined as Job | undefined };
    this.#threads.push(thread);
    worker.onerror = (event) => {
      thread.job?.failed(new DrayError("internal", `a worker thread failed: ${event.message}`));
      this.#drop(thread);
      this.#pump();
    };
    worker.onmessage = ({ data }: MessageEvent<FromSplitThread>) => {
      const { job } = thread;
      if (job === undefined || job.id !== data.job) return;
      if (data.type === "split-progress") return job.progressed(data.bytes);
      thread.job = undefined;
      if (data.type === "split-done") job.done(data);
      else job.failed(new DrayError(data.code, data.message));
      this.#pump();
    };
    return thread;
  }

  #drop(thread: { worker: Worker }): void {
    thread.worker.terminate();
    this.#threads.splice(
      this.#threads.findIndex((one) => one.worker === thread.worker),
      1,
    );
  }
}
