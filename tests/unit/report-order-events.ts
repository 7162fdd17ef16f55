import type { OrderEvent, OrderResult, SourceProgress, SourceResult } from "../../src/wire/order.ts";

/** Realistic events for the tests of src/report. */

const ORDER_ID = "01JB2M7Q9X";

type EventOf<Type extends OrderEvent["type"]> = Extract<OrderEvent, { type: Type }>;

export function sourceProgress(changes: Partial<SourceProgress> = {}): SourceProgress {
  return {
    host: "10.0.0.2",
    port: 9000,
    path: "docs",
    state: "transferring",
    listComplete: true,
    filesListed: 340,
    bytesListed: 10_000_000,
    filesDone: 0,
    bytesDone: 0,
    failed: 0,
    ...changes,
  };
}

export function progress(
  sources: SourceProgress[],
  bytesTransferred = sources.reduce((sum, source) => sum + source.bytesDone, 0),
): EventOf<"progress"> {
  return { type: "progress", orderId: ORDER_ID, durationMs: 0, bytesTransferred, sources };
}

export function accepted(): EventOf<"accepted"> {
  return { type: "accepted", orderId: ORDER_ID };
}

export function failure(changes: Partial<EventOf<"failure">> = {}): EventOf<"failure"> {
  return {
    type: "failure",
    orderId: ORDER_ID,
    host: "10.0.0.2",
    port: 9000,
    path: "docs/a.txt",
    code: "changed",
    message: "the file changed while it was being sent",
    ...changes,
  };
}

export function skipped(changes: Partial<EventOf<"skipped">> = {}): EventOf<"skipped"> {
  return {
    type: "skipped",
    orderId: ORDER_ID,
    host: "10.0.0.2",
    port: 9000,
    path: "docs/latest",
    reason: "symbolic link",
    ...changes,
  };
}

export function sourceResult(changes: Partial<SourceResult> = {}): SourceResult {
  return {
    host: "10.0.0.2",
    port: 9000,
    path: "docs",
    status: "complete",
    files: 340,
    bytes: 10_000_000,
    deleted: 0,
    ...changes,
  };
}

export function sourceEnd(changes: Partial<SourceResult> = {}): EventOf<"source"> {
  return { type: "source", orderId: ORDER_ID, ...sourceResult(changes) };
}

export function result(changes: Partial<OrderResult> = {}): OrderResult {
  return {
    type: "result",
    orderId: ORDER_ID,
    files: 340,
    directories: 17,
    bytes: 10_000_000,
    bytesTransferred: 8_000_000,
    unchanged: 12,
    links: 0,
    skipped: 3,
    deleted: 0,
    rotten: 0,
    failed: 0,
    sizeMean: 29_411.76,
    sizeVariance: 123_456_789.25,
    sizeStddev: 11_111.11,
    durationMs: 4000,
    sources: [sourceResult()],
    failures: [],
    ...changes,
  };
}

/** A name that would clear the screen, forge a line, reverse its text, and look finished. */
export const HOSTILE_NAME = "a\x1b[2J\nOrder done\r\u202etxt.exe\x9b31m\u2028\ud800";
