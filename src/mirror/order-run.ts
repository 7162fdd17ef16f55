import type { DrayError } from "../errors/dray-error.ts";
import {
  type Failure,
  MAX_LISTED_FAILURES,
  type OrderEvent,
  type OrderRequest,
  type OrderResult,
} from "../wire/order.ts";
import { SizeStatistics } from "./size-statistics.ts";
import { SourceRun } from "./source-run.ts";

/** Names come from sources: together they must not make an event that cannot be sent. */
const MAX_FAILURE_BYTES = 1024 * 1024;
/** What may wait for an initiator that reads slowly. */
const MAX_TOLD_BYTES = 2 * 1024 * 1024;

/**
 * One run of an order: what its sources have done so far, and the events that tell it. Pure: whoever
 * runs it brings what happened and the time.
 */
export class OrderRun {
  readonly orderId: string;
  readonly sources: readonly SourceRun[];
  readonly startedMs: number;
  readonly #isDryRun: boolean;
  readonly #emit: (event: OrderEvent) => void;
  bytesTransferred: number;
  #toldFailures = 0;
  #toldSkipped = 0;
  #toldDeleted = 0;
  #toldRotten = 0;
  #toldBytes = 0;
  #unfinished: number;
  #lastProgress = "";
  #parked: OrderEvent | undefined;

  /**
   * @param startedMs on the same clock as all other times; before now, if this goes on with a run
   * @param bytesTransferred what the run has cost so far
   * @param emit told of every event but "accepted", in order
   */
  constructor(
    orderId: string,
    request: OrderRequest,
    startedMs: number,
    bytesTransferred: number,
    emit: (event: OrderEvent) => void,
  ) {
    this.orderId = orderId;
    this.sources = request.sources.map((source) => new SourceRun(source));
    this.startedMs = startedMs;
    this.#isDryRun = request.dryRun === true;
    this.bytesTransferred = bytesTransferred;
    this.#emit = emit;
    this.#unfinished = this.sources.length;
  }

  /** Tells of something that was asked for and is not there. The first ones only: all are counted. */
  tellFailure(run: SourceRun, path: string, code: string, message: string): void {
    if (++this.#toldFailures > MAX_LISTED_FAILURES || this.#toldBytes > MAX_TOLD_BYTES) return;
    this.#toldBytes += Buffer.byteLength(JSON.stringify(path));
    const { host, port } = run.source;
    this.#emit({ type: "failure", orderId: this.orderId, host, port, path, code, message });
  }

  /** Tells of something that is left out by configuration, likewise. */
  tellSkipped(run: SourceRun, path: string, reason: string): void {
    if (++this.#toldSkipped > MAX_LISTED_FAILURES || this.#toldBytes > MAX_TOLD_BYTES) return;
    this.#toldBytes += Buffer.byteLength(JSON.stringify(path));
    const { host, port } = run.source;
    this.#emit({ type: "skipped", orderId: this.orderId, host, port, path, reason });
  }

  /** Counts a file or link that is in the trash now, or would be, and tells it if it is, likewise. */
  deleted(run: SourceRun, path: string): void {
    if (this.#isDryRun) return void run.planned.deletions++;
    run.deleted++;
    if (++this.#toldDeleted > MAX_LISTED_FAILURES || this.#toldBytes > MAX_TOLD_BYTES) return;
    this.#toldBytes += Buffer.byteLength(JSON.stringify(path));
    const { host, port } = run.source;
    this.#emit({ type: "deleted", orderId: this.orderId, host, port, path });
  }

  /** Tells of a file that was not as it had been fetched, likewise. */
  tellRot(run: SourceRun, path: string, message: string): void {
    if (++this.#toldRotten > MAX_LISTED_FAILURES || this.#toldBytes > MAX_TOLD_BYTES) return;
    this.#toldBytes += Buffer.byteLength(JSON.stringify(path));
    const { host, port } = run.source;
    this.#emit({ type: "rot", orderId: this.orderId, host, port, path, message });
  }

  /** What tells that nothing can be done for now, for whoever comes while that is so. */
  get parked(): OrderEvent | undefined {
    return this.#parked;
  }

  /** Tells that nothing more can be done for now. */
  tellParked(code: string, message: string): void {
    if (this.#parked !== undefined) return;
    this.#parked = { type: "parked", orderId: this.orderId, code, message };
    this.#emit(this.#parked);
  }

  /** Tells that it goes on, if it was told parked. */
  tellResumed(): void {
    if (this.#parked === undefined) return;
    this.#parked = undefined;
    this.#emit({ type: "resumed", orderId: this.orderId });
  }

  /** @returns whether this was the last one */
  sourceEnded(run: SourceRun): boolean {
    run.state = "done";
    this.#emit({ type: "source", orderId: this.orderId, ...run.result });
    return --this.#unfinished === 0;
  }

  /** Tells where the order stands, unless nothing moved since the last time. */
  tick(nowMs: number): void {
    const sources = this.sources.map((run) => run.progress);
    const progress = JSON.stringify([this.bytesTransferred, sources]);
    if (progress === this.#lastProgress) return;
    this.#lastProgress = progress;
    const { orderId, bytesTransferred } = this;
    this.#emit({ type: "progress", orderId, durationMs: nowMs - this.startedMs, bytesTransferred, sources });
  }

  /**
   * Ends the run.
   * @param failures of each source, in order of the sources
   * @param undurable set when files are there but could not be made durable: then no source is complete
   */
  end(nowMs: number, failures: Iterable<Failure>, undurable?: DrayError): OrderResult {
    const sizes = new SizeStatistics();
    for (const run of this.sources) {
      sizes.merge(run.sizes);
      if (undurable !== undefined) run.error ??= undurable;
    }
    const result: OrderResult = {
      type: "result",
      orderId: this.orderId,
      files: sizes.count,
      directories: this.#sum((run) => run.directories),
      bytes: sizes.sumBytes,
      bytesTransferred: this.bytesTransferred,
      unchanged: this.#sum((run) => run.unchanged),
      links: this.#sum((run) => run.links),
      skipped: this.#sum((run) => run.skipped),
      deleted: this.#sum((run) => run.deleted),
      rotten: this.#sum((run) => run.rotten),
      failed: this.#sum((run) => run.failed),
      sizeMean: sizes.mean,
      sizeVariance: sizes.variance,
      sizeStddev: sizes.standardDeviation,
      durationMs: nowMs - this.startedMs,
      sources: this.sources.map((run) => run.result),
      failures: firstFailures(failures),
    };
    if (this.#isDryRun) {
      const files = this.#sum((run) => run.planned.files);
      const bytes = this.#sum((run) => run.planned.bytes);
      result.plan = { files, bytes, deletions: this.#sum((run) => run.planned.deletions) };
    }
    this.#emit(result);
    return result;
  }

  #sum(of: (run: SourceRun) => number): number {
    return this.sources.reduce((sum, run) => sum + of(run), 0);
  }
}

/** As many as fit into one event. */
function firstFailures(failures: Iterable<Failure>): Failure[] {
  const listed: Failure[] = [];
  let bytes = 0;
  for (const failure of failures) {
    bytes += Buffer.byteLength(JSON.stringify(failure));
    if (listed.length === MAX_LISTED_FAILURES || bytes > MAX_FAILURE_BYTES) break;
    listed.push(failure);
  }
  return listed;
}
