import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { DrayError } from "../../src/errors/dray-error.ts";
import { OrderRun } from "../../src/mirror/order-run.ts";
import type { SourceRun } from "../../src/mirror/source-run.ts";
import { MAX_EVENT_BYTES, encodeMessage } from "../../src/wire/messages.ts";
import {
  type Failure,
  MAX_LISTED_FAILURES,
  type OrderEvent,
  type OrderRequest,
  type OrderResult,
  orderEventSchema,
} from "../../src/wire/order.ts";
import { runs } from "../property/runs.ts";

const source = (host: string, path = "docs"): OrderRequest["sources"][number] => ({
  host,
  port: 9000,
  path,
  delayMs: 0,
});

function orderOf(...hosts: string[]): { run: OrderRun; events: OrderEvent[]; sources: SourceRun[] } {
  const events: OrderEvent[] = [];
  const rest = { attempts: 5, patienceMs: 60_000, include: [], exclude: [] };
  const request = { sources: hosts.map((host) => source(host)), ...rest };
  const run = new OrderRun("order-1", request, 1_000, 0, (event) => events.push(structuredClone(event)));
  return { run, events, sources: [...run.sources] };
}

/** What became of an item. */
type Settled =
  | { kind: "fetched" | "unchanged"; sizeBytes: number }
  | { kind: "directory" }
  | { kind: "failed"; code: ErrorCode };

const fetched = (sizeBytes: number): Settled => ({ kind: "fetched", sizeBytes });
const unchanged = (sizeBytes: number): Settled => ({ kind: "unchanged", sizeBytes });
const DIRECTORY: Settled = { kind: "directory" };
const failedWith = (code: ErrorCode): Settled => ({ kind: "failed", code });

/** Counts an item as whoever runs an order does. */
function settle(run: OrderRun, source: SourceRun, path: string, settled: Settled): void {
  if (settled.kind === "directory") source.directories++;
  else if (settled.kind === "failed") {
    source.failed++;
    run.tellFailure(source, path, settled.code, `it is ${settled.code}`);
  } else {
    source.sizes.add(settled.sizeBytes);
    if (settled.kind === "unchanged") source.unchanged++;
  }
}

/** The status of an order with one source. */
function statusOf(outcomes: readonly Settled[], error?: ErrorCode): string {
  const { run, sources } = orderOf("a");
  for (const [index, outcome] of outcomes.entries()) settle(run, sources[0]!, `file-${index}`, outcome);
  if (error !== undefined) sources[0]!.error = new DrayError(error, "why");
  run.sourceEnded(sources[0]!);
  return run.end(2_000, []).sources[0]!.status;
}

describe("the status of a source", () => {
  test("is complete only when all that was asked for is there", () => {
    expect(statusOf([])).toBe("complete");
    expect(statusOf([fetched(1), unchanged(2), DIRECTORY])).toBe("complete");
    expect(statusOf([fetched(1), failedWith("changed")])).toBe("partial");
    expect(statusOf([failedWith("changed")])).toBe("partial");
  });

  test.each([
    ["not-found", "not-found"],
    ["unauthorized", "refused"],
    ["refused", "refused"],
    ["name", "refused"],
    ["unsupported", "refused"],
    ["unreachable", "unreachable"],
    ["timeout", "unreachable"],
    ["closed", "unreachable"],
    ["busy", "unreachable"],
    ["protocol", "unreachable"],
    ["integrity", "unreachable"],
    ["storage", "partial"],
    ["no-space", "partial"],
    ["internal", "partial"],
    ["interrupted", "partial"],
  ] as [ErrorCode, string][])(
    "that ended with %s and nothing to show for it is %s; with something there it is partial",
    (code, status) => {
      expect(statusOf([], code)).toBe(status);
      expect(statusOf([fetched(0)], code)).toBe("partial");
      expect(statusOf([unchanged(5)], code)).toBe("partial");
      expect(statusOf([DIRECTORY], code)).toBe("partial");
    },
  );

  test("is never complete when the files could not be made durable", () => {
    const { run, sources } = orderOf("a", "b");
    for (const one of sources) settle(run, one, "x", fetched(1));
    const result = run.end(2_000, [], new DrayError("storage", "the disk failed"));
    expect(result.sources.map(({ status, error }) => [status, error])).toEqual([
      ["partial", "the disk failed"],
      ["partial", "the disk failed"],
    ]);
  });
});

describe("an order", () => {
  const outcome = fc.oneof(
    fc.nat(1_000_000).map(fetched),
    fc.nat(1_000_000).map(unchanged),
    fc.constant(DIRECTORY),
    fc.constantFrom<ErrorCode[]>("changed", "refused", "storage").map(failedWith),
  );
  const event = fc.record({ source: fc.nat(2), outcome, received: fc.nat(10_000), skipped: fc.boolean() });

  test("adds up: its result is the sum of what happened, and so are its sources", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (happened) => {
        const { run, events, sources } = orderOf("a", "b", "c");
        for (const [index, one] of happened.entries()) {
          const source = sources[one.source]!;
          run.bytesTransferred += one.received;
          settle(run, source, `file-${index}`, one.outcome);
          if (!one.skipped) continue;
          source.skipped++;
          run.tellSkipped(source, `link-${index}`, "a link");
        }
        const isLast = sources.map((one) => run.sourceEnded(one));
        expect(isLast).toEqual([false, false, true]);
        const failures = events.flatMap((event) => {
          if (event.type !== "failure") return [];
          const { host, port, path, code, message } = event;
          return [{ host, port, path, code, message }];
        });
        const result = run.end(5_000, failures);
        const sizes = happened.flatMap(({ outcome }) => ("sizeBytes" in outcome ? [outcome.sizeBytes] : []));
        const count = (kind: Settled["kind"]): number =>
          happened.filter(({ outcome }) => outcome.kind === kind).length;
        const sum = sizes.reduce((sum, size) => sum + size, 0);
        expect(result).toMatchObject({
          orderId: "order-1",
          files: sizes.length,
          directories: count("directory"),
          bytes: sum,
          bytesTransferred: happened.reduce((sum, { received }) => sum + received, 0),
          unchanged: count("unchanged"),
          failed: count("failed"),
          skipped: happened.filter(({ skipped }) => skipped).length,
          durationMs: 4_000,
        });
        expect(result.sizeMean).toBeCloseTo(sizes.length === 0 ? 0 : sum / sizes.length, 3);
        expect(result.sizeStddev ** 2).toBeCloseTo(result.sizeVariance, 1);
        expect(result.failures).toHaveLength(count("failed"));
        expect(result.sources.reduce((sum, { files }) => sum + files, 0)).toBe(result.files);
        expect(result.sources.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(result.bytes);
        expect(events.map(({ type }) => type).filter((type) => type === "result")).toHaveLength(1);
        expect(events.at(-1)?.type).toBe("result");
        for (const told of events) expect(orderEventSchema.parse(told)).toEqual(told);
      }),
      runs(300),
    );
  });

  test("tells its progress only when something moved", () => {
    const { run, events, sources } = orderOf("a");
    run.tick(1_100);
    run.tick(1_200);
    run.bytesTransferred = 10;
    sources[0]!.bytesUnderWay = 10;
    run.tick(1_300);
    run.tick(1_400);
    expect(
      events.map((event) => event.type === "progress" && [event.durationMs, event.sources[0]!.bytesDone]),
    ).toEqual([
      [100, 0],
      [300, 10],
    ]);
  });

  test("of an empty source is complete, with zeros and no NaN", () => {
    const { run, sources } = orderOf("a");
    run.sourceEnded(sources[0]!);
    const result = run.end(1_000, []);
    expect(result).toMatchObject({
      files: 0,
      bytes: 0,
      sizeMean: 0,
      sizeVariance: 0,
      sizeStddev: 0,
      durationMs: 0,
    });
    expect(orderEventSchema.safeParse(JSON.parse(JSON.stringify(result))).success).toBe(true);
  });
});

describe("many failures", () => {
  const failAll = (
    count: number,
    path: (index: number) => string,
    message: string,
  ): { events: OrderEvent[]; result: OrderResult } => {
    const { run, events, sources } = orderOf("a");
    const [only] = sources;
    for (let index = 0; index < count; index++) run.tellFailure(only!, path(index), "refused", message);
    for (let index = 0; index < count; index++) run.tellSkipped(only!, path(index), "a link");
    only!.failed = only!.skipped = count;
    const failures = Array.from({ length: count }, (_, index): Failure => {
      return { host: "a", port: 9000, path: path(index), code: "refused", message };
    });
    return { events, result: run.end(2_000, failures) };
  };

  test("are all counted, and listed up to the documented number", () => {
    const count = MAX_LISTED_FAILURES + 500;
    const { events, result } = failAll(count, (index) => `file-${index}`, "why");
    expect([result.failed, result.skipped, result.failures.length]).toEqual([
      count,
      count,
      MAX_LISTED_FAILURES,
    ]);
    expect(result.failures.map(({ path }) => path)).toEqual(
      Array.from({ length: MAX_LISTED_FAILURES }, (_, index) => `file-${index}`),
    );
    for (const type of ["failure", "skipped"])
      expect(events.filter((event) => event.type === type)).toHaveLength(MAX_LISTED_FAILURES);
  });

  test.each([
    ["plain", "x"],
    ["full of control characters, which JSON spells with six", "\u0001"],
    ["full of quotes", '"'],
    ["not ASCII", "日"],
  ])("with the longest names there are (%s) still fit into one message", (_, character) => {
    const path = (index: number): string =>
      `${index}/`.padEnd(4096 / Buffer.byteLength(character), character).slice(0, 4000);
    const { events, result } = failAll(1200, path, character.repeat(300));
    expect(result.failed).toBe(1200);
    for (const event of [...events, result]) {
      const json = JSON.stringify(event);
      expect(Buffer.byteLength(json)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
    }
    encodeMessage({ type: "event", json: JSON.stringify(result) });
  });
});
