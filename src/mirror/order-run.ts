import type { ErrorCode } from "../errors/codes.ts";
import type { DrayError } from "../errors/dray-error.ts";
import {
  type Failure,
  MAX_LISTED_FAILURES,
  type OrderEvent,
  type OrderRequest,
  type OrderResult,
} from "../wire/order.ts";
import type { Outcome } from "./job.ts";
import { SizeStatistics } from "./size-statistics.ts";
import { SourceRun } from "./source-run.ts";

/** Names come from sources: together they must not make an event that cannot be sent. */
const MAX_FAILURE_BYTES = 1024 * 1024;

/**
 * One order while it runs: what every source has done so far, and the events that tell it. Pure:
 * the daemon brings what happened and the time.
 */
export class OrderRun {
  readonly orderId: string;
  readonly sources: readonly SourceRun[];
  readonly #startedMs: number;
  readonly #emit: (event: OrderEvent) => void;
  readonly #sizes = new SizeStatistics();
  readonly #failures: Failure[] = [];
  #failureBytes = 0;
  #skippedBytes = 0;
  #directories = 0;
  #unchanged = 0;
  #skipped = 0;
  #failed = 0;
  #bytesTransferred = 0;
  #unfinished: number;
  #lastProgress = "";

  /** @param emit told of every event but "accepted", in order */
  constructor(orderId: string, request: OrderRequest, startedMs: number, emit: (event: OrderEvent) => void) {
    this.orderId = orderId;
    this.sources = request.sources.map((source) => new SourceRun(source));
    this.#startedMs = startedMs;
    this.#emit = emit;
    this.#unfinished = this.sources.length;
  }

  get bytesTransferred(): number {
    return this.#bytesTransferred;
  }

  received(bytes: number): void {
    this.#bytesTransferred += bytes;
  }

  /** What became of one listed item. */
  settled(run: SourceRun, path: string, outcome: Outcome): void {
    switch (outcome.kind) {
      case "directory":
        run.directoriesDone++;
        this.#directories++;
        return;
      case "failed":
        return this.fail(run, path, outcome.code, outcome.message);
      case "unchanged":
        this.#unchanged++;
        break;
      case "fetched":
        break;
    }
    run.filesDone++;
    run.bytesDone += outcome.sizeBytes;
    this.#sizes.add(outcome.sizeBytes);
  }

  /** Something that was asked for is not there. */
  fail(run: SourceRun, path: string, code: ErrorCode, message: string): void {
    run.failed++;
    this.#failed++;
    if (this.#failures.length >= MAX_LISTED_FAILURES || this.#failureBytes >= MAX_FAILURE_BYTES) return;
    const { host, port } = run.source;
    const failure: Failure = { host, port, path, code, message };
    this.#failures.push(failure);
    this.#failureBytes += Buffer.byteLength(JSON.stringify(failure));
    this.#emit({ type: "failure", orderId: this.orderId, ...failure });
  }

  /** Something that is left out by configuration. */
  skip(run: SourceRun, path: string, reason: string): void {
    this.#skipped++;
    if (this.#skipped > MAX_LISTED_FAILURES || this.#skippedBytes > MAX_FAILURE_BYTES) return;
    this.#skippedBytes += Buffer.byteLength(JSON.stringify(path));
    const { host, port } = run.source;
    this.#emit({ type: "skipped", orderId: this.orderId, host, port, path, reason });
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
    const progress = JSON.stringify([this.#bytesTransferred, sources]);
    if (progress === this.#lastProgress) return;
    this.#lastProgress = progress;
    this.#emit({
      type: "progress",
      orderId: this.orderId,
      durationMs: nowMs - this.#startedMs,
      bytesTransferred: this.#bytesTransferred,
      sources,
    });
  }

  /**
   * Ends the order.
   * @param undurable set when files are there but could not be made durable: then no source is complete
   */
  end(nowMs: number, undurable?: DrayError): OrderResult {
    if (undurable !== undefined) for (const run of this.sources) run.error ??= undurable;
    const result: OrderResult = {
      type: "result",
      orderId: this.orderId,
      files: this.#sizes.count,
      directories: this.#directories,
      bytes: this.#sizes.sumBytes,
      bytesTransferred: this.#bytesTransferred,
      unchanged: this.#unchanged,
      skipped: this.#skipped,
      failed: this.#failed,
      sizeMean: this.#sizes.mean,
      sizeVariance: this.#sizes.variance,
      sizeStddev: this.#sizes.standardDeviation,
      durationMs: nowMs - this.#startedMs,
      sources: this.sources.map((run) => run.result),
      failures: this.#failures,
    };
    this.#emit(result);
    return result;
  }
}
