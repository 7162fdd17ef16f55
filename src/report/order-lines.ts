import type { OrderEvent, OrderItem } from "../wire/order.ts";
import { fractionDone, isRunning, OrderMeter, type ProgressEvent } from "./order-meter.ts";
import { safeText } from "./safe-text.ts";
import { sourceLabel } from "./source-label.ts";
import { countOf, formatBytes, formatCount, formatDuration, formatRate, formatTimeLeft } from "./units.ts";

/** Failures, and as many skipped items, that are shown while the order runs; then they are only counted. */
const MAX_SHOWN_ITEMS = 20;
/** In between, a line is due whenever another tenth of a completely listed order is done … */
const TENTHS_SPACING_MS = 1000;
/** … and after this time in any case. */
const PROGRESS_INTERVAL_MS = 10_000;

type ItemEvent = Extract<OrderEvent, { type: "failure" | "skipped" | "deleted" | "rot" }>;
type SourceEvent = Extract<OrderEvent, { type: "source" }>;

/** The failed, skipped, deleted and rotten items of an order as lines, so capped that a flood of them stays readable. */
export class ItemLines {
  readonly #seen = { failure: 0, skipped: 0, deleted: 0, rot: 0 };

  /** The lines to show for one item: none once it was said that they are only counted. */
  of(event: ItemEvent): string[] {
    const seen = (this.#seen[event.type] += 1);
    if (seen <= MAX_SHOWN_ITEMS) {
      return [itemLine(event)];
    }
    if (seen > MAX_SHOWN_ITEMS + 1) return [];
    return [`More ${MANY[event.type]} follow; from here on they are only counted`];
  }
}

const MANY = {
  failure: "failures",
  skipped: "skipped items",
  deleted: "deleted files",
  rot: "rotten files",
};

function itemLine(event: ItemEvent): string {
  switch (event.type) {
    case "failure":
      return `Failed: ${failureLine(event)}`;
    case "skipped":
      return `Skipped: ${sourceLabel(event)}: ${safeText(event.reason)}`;
    case "deleted":
      return `Deleted: ${sourceLabel(event)}`;
    case "rot":
      return `Rotten: ${sourceLabel(event)}: ${safeText(event.message)}`;
  }
}

/** Something that an order did, or would do: `fetch   10.0.0.2:9000 docs/a.txt  12 KiB  new`. */
export function actionLine(item: OrderItem): string {
  const size = item.kind === "file" ? [formatBytes(item.sizeBytes)] : [];
  return `${item.action.padEnd(6)}  ${[sourceLabel(item), ...size, safeText(item.reason)].join("  ")}`;
}

/** A failed item: `10.0.0.2:9000 docs/a.txt: permission denied (refused)`. */
export function failureLine(failure: {
  host: string;
  port: number;
  path: string;
  code: string;
  message: string;
}): string {
  return `${sourceLabel(failure)}: ${safeText(failure.message)} (${safeText(failure.code)})`;
}

/** How people hear that the mirror took the order. */
export function acceptedLine(orderId: string): string {
  return `Order ${safeText(orderId)} accepted`;
}

type NoteEvent = Extract<OrderEvent, { type: "parked" | "resumed" | "cancelled" | "limited" | "order" }>;

/** Events that are one sentence each. */
export function noteLine(event: NoteEvent): string {
  switch (event.type) {
    case "parked":
      return `Parked: ${safeText(event.message)}; the mirror goes on by itself when there is room`;
    case "resumed":
      return "There is room again: going on";
    case "cancelled":
      return `Order ${safeText(event.orderId)} cancelled`;
    case "limited":
      return limitedLine(event);
    case "order":
      return orderLine(event);
  }
}

function limitedLine({ orderId, bytesPerSecond }: Extract<OrderEvent, { type: "limited" }>): string {
  const whose = orderId === undefined ? "All sources together" : `Each source of order ${safeText(orderId)}`;
  return bytesPerSecond === undefined
    ? `${whose}: no bandwidth limit any more`
    : `${whose}: at most ${formatRate(bytesPerSecond)} from now on`;
}

function orderLine(event: Extract<OrderEvent, { type: "order" }>): string {
  const sources = event.sources.map((source) => sourceLabel(source)).join(", ");
  const last = event.last;
  const notes = [
    event.state,
    ...(event.everyMs === undefined ? [] : [`every ${formatDuration(event.everyMs)}`]),
    ...(event.bytesPerSecond === undefined ? [] : [`at most ${formatRate(event.bytesPerSecond)}`]),
    ...(event.dueMs === undefined ? [] : [`next at ${new Date(event.dueMs).toISOString()}`]),
    ...(last === undefined
      ? []
      : [`last run: ${countOf(last.files, "file")}, ${formatBytes(last.bytes)}, ${last.failed} failed`]),
  ];
  return `${safeText(event.orderId)}  ${notes.join(", ")}  ${sources}`;
}

function sourceLine(event: SourceEvent): string {
  const amounts =
    event.files > 0 || event.status === "complete" || event.status === "partial"
      ? `, ${countOf(event.files, "file")}, ${formatBytes(event.bytes)}`
      : "";
  const deleted = event.deleted === 0 ? "" : `, ${formatCount(event.deleted)} deleted`;
  const error = event.error === undefined ? "" : `: ${safeText(event.error)}`;
  const guard = event.guard === undefined ? "" : `; nothing was deleted: ${safeText(event.guard)}`;
  return `${sourceLabel(event)}: ${event.status.replace("-", " ")}${amounts}${deleted}${error}${guard}`;
}

/**
 * The whole order as plain lines, for a log or a pipe: no control characters, and no more than
 * what somebody reads. The result is not among them: it goes to stdout.
 */
export class OrderLines {
  readonly #items = new ItemLines();
  readonly #meter = new OrderMeter();
  #lastLineMs = 0;
  #lastTenth = 0;

  /** The lines to print for an event that came at `nowMs` (milliseconds, any monotonic origin). */
  of(event: OrderEvent, nowMs: number): string[] {
    switch (event.type) {
      case "accepted":
        return [acceptedLine(event.orderId)];
      case "progress":
        return this.#progress(event, nowMs);
      case "failure":
      case "skipped":
      case "deleted":
      case "rot":
        return this.#items.of(event);
      case "source":
        this.#meter.sourceEnded(event);
        return [sourceLine(event)];
      case "parked":
      case "resumed":
      case "cancelled":
      case "limited":
        return [noteLine(event)];
      // Results go to stdout.
      case "order":
      case "orders":
      case "item":
      case "items":
      case "result":
        return [];
    }
  }

  #progress(event: ProgressEvent, nowMs: number): string[] {
    if (!this.#meter.started) this.#lastLineMs = nowMs;
    this.#meter.progress(event, nowMs);
    const total = this.#meter.total(nowMs);
    const tenth = total.phase === "moving" ? Math.floor(fractionDone(total) * 10) : 0;
    const sinceMs = nowMs - this.#lastLineMs;
    const another = tenth > this.#lastTenth && tenth < 10 && sinceMs >= TENTHS_SPACING_MS;
    if (!another && sinceMs < PROGRESS_INTERVAL_MS) return [];
    this.#lastLineMs = nowMs;
    this.#lastTenth = tenth;
    return [progressLine(this.#meter, nowMs)];
  }
}

/** Where the whole order stands: `Progress: 45%, 153 of 340 files, 4.10 MiB of 9.80 MiB, 1.20 MiB/s, 0:05 left`. */
export function progressLine(meter: OrderMeter, nowMs: number): string {
  const total = meter.total(nowMs);
  const files = `${formatCount(total.filesDone)} of ${countOf(total.filesListed, "file")}`;
  const parts = [files, `${formatBytes(total.bytesDone)} of ${formatBytes(total.bytesListed)}`];
  if (total.phase === "moving") parts.unshift(`${Math.floor(fractionDone(total) * 100)}%`);
  if (total.bytesPerSecond !== undefined) parts.push(formatRate(total.bytesPerSecond));
  if (total.phase === "listing") parts.push("still listing");
  if (total.phase === "finishing") parts.push("finishing");
  if (total.timeLeftMs !== undefined) parts.push(`${formatTimeLeft(total.timeLeftMs)} left`);
  const waiting = meter.sources(nowMs).filter((source) => isRunning(source.phase)).length;
  if (meter.sourceCount > 1)
    parts.push(`${meter.sourceCount - waiting} of ${meter.sourceCount} sources done`);
  if (total.failed > 0) parts.push(`${formatCount(total.failed)} failed`);
  return `Progress: ${parts.join(", ")}`;
}
