import { expect, test } from "bun:test";
import fc from "fast-check";
import { OrderResponder } from "../../src/mirror/order-responder.ts";
import { OutBuffer } from "../../src/transfer/responder.ts";
import type { OrderEvent, OrderResult } from "../../src/wire/order.ts";
import { naiveFrames } from "../property/naive-codec.ts";
import { runs } from "../property/runs.ts";

const orderId = "order-1";
const key = { host: "a", port: 1, path: "." };
const failure = (path: string): OrderEvent => ({
  type: "failure",
  orderId,
  ...key,
  path,
  code: "refused",
  message: "no",
});
const progress = (durationMs: number): OrderEvent => ({
  type: "progress",
  orderId,
  durationMs,
  bytesTransferred: 0,
  sources: [],
});
const RESULT: OrderResult = {
  ...{ type: "result", orderId, files: 0, directories: 0, bytes: 0, bytesTransferred: 0 },
  ...{ unchanged: 0, links: 0, skipped: 0, deleted: 0, rotten: 0, failed: 0 },
  ...{ sizeMean: 0, sizeVariance: 0, sizeStddev: 0, durationMs: 1 },
  ...{ sources: [], failures: [] },
};

/** What has been put into the buffer since it was last emptied. */
function eventsIn(out: OutBuffer): OrderEvent[] {
  const { frames } = naiveFrames(Buffer.from(out.bytes.slice(0, out.usedBytes)));
  out.empty();
  return frames.map(({ payload }) => JSON.parse(payload.toString()) as OrderEvent);
}

test("a slow initiator gets everything in order but progress that is out of date", () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant("progress" as const) },
    { weight: 3, arbitrary: fc.constant("failure" as const) },
    { weight: 1, arbitrary: fc.constant("room" as const) },
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80 }),
      fc.integer({ min: 100, max: 600 }),
      (steps, capacityBytes) => {
        const responder = new OrderResponder(
          7,
          () => {},
          () => {},
        );
        const out = new OutBuffer(capacityBytes);
        const told: OrderEvent[] = [];
        const got: OrderEvent[] = [];
        for (const [index, one] of steps.entries()) {
          if (one === "room") {
            responder.fill(out);
            got.push(...eventsIn(out));
            continue;
          }
          const event = one === "progress" ? progress(index) : failure(`file-${index}`);
          told.push(event);
          responder.take(event);
        }
        told.push(RESULT);
        responder.take(RESULT);
        for (let isDone = false; !isDone;) {
          isDone = responder.fill(out) === "done";
          got.push(...eventsIn(out));
        }
        const isLasting = ({ type }: OrderEvent): boolean => type !== "progress";
        expect(got.filter(isLasting)).toEqual(told.filter(isLasting));
        // What there is of progress is a part of what was told, in order, and never older than what came before it.
        let from = 0;
        for (const event of got) {
          const at = told.findIndex((one, index) => index >= from && Bun.deepEquals(one, event));
          if (event.type === "progress") expect(at).toBeGreaterThanOrEqual(0);
          if (at >= 0) from = at + 1;
        }
        expect(got.at(-1)).toEqual(RESULT);
      },
    ),
    runs(300),
  );
});

test("progress that nobody takes does not pile up", () => {
  const responder = new OrderResponder(
    7,
    () => {},
    () => {},
  );
  for (let index = 0; index < 10_000; index++) responder.take(progress(index));
  const out = new OutBuffer(100_000);
  expect(responder.fill(out)).toBe("waiting");
  expect(eventsIn(out)).toEqual([progress(9_999)]);
});

test("an event that is larger than the buffer is sent, too", () => {
  const responder = new OrderResponder(
    7,
    () => {},
    () => {},
  );
  responder.take(failure("x".repeat(10_000)));
  responder.take(RESULT);
  const out = new OutBuffer(1_000);
  expect(responder.fill(out)).toBe("more");
  expect(eventsIn(out)).toEqual([failure("x".repeat(10_000))]);
  expect(responder.fill(out)).toBe("done");
  expect(eventsIn(out)).toEqual([RESULT]);
});

test("whoever waits for news is woken for each event, and told when it is over", () => {
  const calls: string[] = [];
  const responder = new OrderResponder(
    7,
    () => calls.push("wake"),
    () => calls.push("leave"),
  );
  responder.take(failure("a"));
  responder.take(progress(1));
  responder.release();
  expect(calls).toEqual(["wake", "wake", "leave"]);
});
