import { DrayError } from "../errors/dray-error.ts";
import type { Extent } from "./extents.ts";
import type { Piece } from "./piece-journal.ts";
import type { FromSumThread, ToSumThread } from "./sum-messages.ts";

/** Pieces are told to the thread in groups: a message costs more than hashing a small piece. */
const GROUP_BYTES = 2 * 1024 * 1024;
const MAX_GROUP_PIECES = 4096;

/** SHA-256 of files, on a pool thread that is started when it is first needed. */
export class FileSums {
  readonly #threadUrl: string;
  readonly #sums = new Map<number, RunningSum>();
  #thread: Worker | undefined;
  #lastJob = 0;

  constructor(threadUrl: string) {
    this.#threadUrl = threadUrl;
  }

  /** The sum of a file that is being filled, each piece of which is told to it. */
  ofGrowing(path: string, sizeBytes: number): GrowingSum {
    const job = ++this.#lastJob;
    const sum = new GrowingSum(
      (message) => this.#tell({ ...message, job }),
      () => this.#sums.delete(job),
    );
    this.#sums.set(job, sum);
    this.#tell({ type: "sum-open", job, path, sizeBytes });
    return sum;
  }

  /** The sum of a file as it is, in hexadecimal. @throws DrayError; what the disk says */
  ofWhole(path: string): Promise<string> {
    const job = ++this.#lastJob;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.#sums.set(job, { done: resolve, failed: reject, damaged: () => {} });
    this.#tell({ type: "sum-whole", job, path });
    return promise;
  }

  /** Ends the thread; sums that are not there yet will never be. */
  close(): void {
    this.#thread?.terminate();
    this.#thread = undefined;
  }

  #tell(message: ToSumThread): void {
    this.#thread ??= this.#start();
    this.#thread.postMessage(message);
  }

  #start(): Worker {
    const thread = new Worker(this.#threadUrl);
    thread.onerror = (event) => {
      const error = new DrayError("internal", `a worker thread failed: ${event.message}`);
      for (const sum of this.#sums.values()) sum.failed(error);
      this.#sums.clear();
    };
    thread.onmessage = ({ data }: MessageEvent<FromSumThread>) => {
      const sum = this.#sums.get(data.job);
      if (data.type === "sum-damaged") return sum?.damaged(data);
      this.#sums.delete(data.job);
      if (data.type === "sum-done") sum?.done(data.sha256);
      else sum?.failed(new DrayError(data.code, `cannot read back what was written: ${data.message}`));
    };
    return thread;
  }
}

interface RunningSum {
  done(sha256: string): void;
  failed(error: DrayError): void;
  damaged(extent: Extent): void;
}

type SumMessage =
  | { type: "sum-pieces"; offsets: Float64Array; lengths: Float64Array; digests: BigUint64Array }
  | { type: "sum-close" };

/** The sum of one file that is being filled. */
export class GrowingSum implements RunningSum {
  readonly #tell: (message: SumMessage) => void;
  readonly #closed: () => void;
  #group: Piece[] = [];
  #groupBytes = 0;
  #damaged: Extent[] = [];
  #outcome: { sha256: string } | { error: DrayError } | undefined;
  #changed: (() => void) | undefined;

  constructor(tell: (message: SumMessage) => void, closed: () => void) {
    this.#tell = tell;
    this.#closed = closed;
  }

  /** A piece was written. */
  add(piece: Piece): void {
    this.#group.push(piece);
    this.#groupBytes += piece.lengthBytes;
    if (this.#groupBytes >= GROUP_BYTES || this.#group.length >= MAX_GROUP_PIECES) this.#flush();
  }

  /**
   * Waits until all pieces were read back.
   * @returns the sum in hexadecimal, or undefined when some are damaged (see takeDamaged)
   * @throws DrayError when the file cannot be read
   */
  async result(): Promise<string | undefined> {
    this.#flush();
    while (this.#damaged.length === 0 && this.#outcome === undefined) {
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
    if (this.#outcome === undefined) return undefined;
    if ("error" in this.#outcome) throw this.#outcome.error;
    return this.#outcome.sha256;
  }

  /** Pieces that read back otherwise than they were written, since the last call. */
  takeDamaged(): Extent[] {
    return this.#damaged.splice(0);
  }

  close(): void {
    this.#closed();
    if (this.#outcome === undefined) this.#tell({ type: "sum-close" });
  }

  done(sha256: string): void {
    this.#settle({ sha256 });
  }

  failed(error: DrayError): void {
    this.#settle({ error });
  }

  damaged({ offset, lengthBytes }: Extent): void {
    this.#damaged.push({ offset, lengthBytes });
    this.#changed?.();
  }

  #settle(outcome: { sha256: string } | { error: DrayError }): void {
    this.#outcome ??= outcome;
    this.#changed?.();
  }

  #flush(): void {
    if (this.#group.length === 0) return;
    this.#tell({
      type: "sum-pieces",
      offsets: Float64Array.from(this.#group, (piece) => piece.offset),
      lengths: Float64Array.from(this.#group, (piece) => piece.lengthBytes),
      digests: BigUint64Array.from(this.#group, (piece) => piece.digest),
    });
    this.#group = [];
    this.#groupBytes = 0;
  }
}
