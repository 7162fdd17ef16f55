import type { OrderEvent, SourceProgress, SourceResult, SourceStatus } from "../wire/order.ts";
import { RateMeter } from "./rate.ts";
import { sourceLabel } from "./source-label.ts";

export type ProgressEvent = Extract<OrderEvent, { type: "progress" }>;

/**
 * `listing` until it is known how much there is, `moving` from then on, `finishing` when every
 * source of the order has ended but its result is not there yet (the mirror syncs its disk).
 */
export type Phase = "connecting" | "listing" | "moving" | "finishing" | SourceStatus;

/** How far something is, ready to be shown. */
export interface Standing {
  label: string;
  phase: Phase;
  filesDone: number;
  filesListed: number;
  bytesDone: number;
  bytesListed: number;
  failed: number;
  /** Smoothed; undefined while it is too early to tell. */
  bytesPerSecond: number | undefined;
  /** Undefined unless the list is complete and something moves. */
  timeLeftMs: number | undefined;
}

type Amounts = Pick<Standing, "filesDone" | "filesListed" | "bytesDone" | "bytesListed" | "failed">;

/** The part that is done, 0 to 1: by bytes, or by files where there are no bytes to count. */
export function fractionDone(amounts: Omit<Amounts, "failed">): number {
  const [done, listed] = measuredBy(amounts);
  return listed > 0 ? Math.min(1, Math.max(0, done / listed)) : 0;
}

function measuredBy(amounts: Omit<Amounts, "failed">): [done: number, listed: number] {
  return amounts.bytesListed > 0
    ? [amounts.bytesDone, amounts.bytesListed]
    : [amounts.filesDone, amounts.filesListed];
}

/**
 * Follows the progress events of one order and knows the rates and the time left of the whole and
 * of each source. It is told the time (milliseconds, any monotonic origin).
 */
export class OrderMeter {
  #latest: ProgressEvent | undefined;
  readonly #transferred = new RateMeter();
  readonly #total = new AmountMeter();
  readonly #sources: AmountMeter[] = [];
  readonly #statuses = new Map<string, SourceStatus>();

  /** Whether a progress event came yet, so that there is something to show. */
  get started(): boolean {
    return this.#latest !== undefined;
  }

  /** How many sources the order has, as far as known. */
  get sourceCount(): number {
    return this.#latest?.sources.length ?? 0;
  }

  progress(event: ProgressEvent, nowMs: number): void {
    this.#latest = event;
    this.#transferred.record(nowMs, event.bytesTransferred);
    this.#total.record(nowMs, sumOf(event.sources));
    for (const [index, source] of event.sources.entries()) {
      (this.#sources[index] ??= new AmountMeter()).record(nowMs, source);
    }
  }

  sourceEnded(source: SourceResult): void {
    this.#statuses.set(sourceLabel(source), source.status);
  }

  /** The whole order. Its rate is what crosses the network. */
  total(nowMs: number): Standing {
    const sources = this.#latest?.sources ?? [];
    const amounts = sumOf(sources);
    const phases = sources.map((source) => this.#phaseOf(source));
    const phase = phaseOfOrder(phases);
    return {
      label: amounts.failed === 0 ? "total" : `total, ${amounts.failed} failed`,
      phase,
      ...amounts,
      bytesPerSecond: isRunning(phase) ? this.#transferred.perSecond(nowMs) : undefined,
      timeLeftMs: phase === "moving" ? this.#total.timeLeftMs(nowMs, amounts) : undefined,
    };
  }

  /** Every source, in the order's sequence. */
  sources(nowMs: number): Standing[] {
    return (this.#latest?.sources ?? []).map((source, index) => {
      const phase = this.#phaseOf(source);
      const meter = this.#sources[index];
      return {
        label: sourceLabel(source),
        phase,
        filesDone: source.filesDone,
        filesListed: source.filesListed,
        bytesDone: source.bytesDone,
        bytesListed: source.bytesListed,
        failed: source.failed,
        bytesPerSecond: isRunning(phase) ? meter?.bytesPerSecond(nowMs) : undefined,
        timeLeftMs: phase === "moving" ? meter?.timeLeftMs(nowMs, source) : undefined,
      };
    });
  }

  #phaseOf(source: SourceProgress): Phase {
    const ended = this.#statuses.get(sourceLabel(source));
    if (ended !== undefined) return ended;
    if (source.state === "done") return source.failed === 0 ? "complete" : "partial";
    if (source.state === "connecting") return "connecting";
    return source.listComplete ? "moving" : "listing";
  }
}

function phaseOfOrder(sources: readonly Phase[]): Phase {
  if (sources.includes("listing") || sources.includes("connecting")) return "listing";
  return sources.includes("moving") ? "moving" : "finishing";
}

/** Whether bytes are still to come in this phase. */
export function isRunning(phase: Phase): boolean {
  return phase === "connecting" || phase === "listing" || phase === "moving";
}

class AmountMeter {
  readonly #bytes = new RateMeter();
  readonly #files = new RateMeter();

  record(nowMs: number, amounts: { bytesDone: number; filesDone: number }): void {
    this.#bytes.record(nowMs, amounts.bytesDone);
    this.#files.record(nowMs, amounts.filesDone);
  }

  bytesPerSecond(nowMs: number): number | undefined {
    return this.#bytes.perSecond(nowMs);
  }

  /** By bytes; by files once all bytes are there but empty files are not. */
  timeLeftMs(nowMs: number, amounts: Amounts): number | undefined {
    const bytesLeft = amounts.bytesListed - amounts.bytesDone;
    const filesLeft = amounts.filesListed - amounts.filesDone - amounts.failed;
    if (filesLeft <= 0) return 0;
    const left = bytesLeft > 0 ? bytesLeft : filesLeft;
    const perSecond = (bytesLeft > 0 ? this.#bytes : this.#files).perSecond(nowMs);
    return perSecond === undefined || perSecond <= 0 ? undefined : (left / perSecond) * 1000;
  }
}

function sumOf(sources: readonly SourceProgress[]): Amounts {
  const sum: Amounts = { filesDone: 0, filesListed: 0, bytesDone: 0, bytesListed: 0, failed: 0 };
  for (const source of sources) {
    sum.filesDone += source.filesDone;
    sum.filesListed += source.filesListed;
    sum.bytesDone += source.bytesDone;
    sum.bytesListed += source.bytesListed;
    sum.failed += source.failed;
  }
  return sum;
}
