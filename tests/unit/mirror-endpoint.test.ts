import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { Endpoint } from "../../src/mirror/endpoint.ts";
import type { JobDone } from "../../src/mirror/job.ts";

const HOUR_MS = 3_600_000;

function done(connection: JobDone["connection"]): JobDone {
  return { type: "done", jobId: 1, lane: 0, receivedBytes: 0, outcomes: [], connection };
}

const failed = done({ state: "unreachable", code: "unreachable", message: "no", retryAfterMs: 0 });
const full = done({ state: "unreachable", code: "busy", message: "no room", retryAfterMs: 0 });

describe("a server", () => {
  const told: string[] = [];
  const open = (): Endpoint =>
    new Endpoint("127.0.0.1 9000", {
      restricted: ({ restriction }) => told.push(restriction),
      awake: () => told.push("awake"),
      giveUp: () => told.push("given up"),
    });
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => {
    jest.useRealTimers();
    told.length = 0;
  });

  test("that failed is left alone, and then probed", () => {
    const endpoint = open();
    endpoint.judge(failed, 0);
    expect(endpoint.restriction).toBe("pause");
    jest.advanceTimersByTime(HOUR_MS);
    expect(told).toEqual(["pause", "probe", "awake"]);
  });

  test("that serves again before it was probed is used as ever, also later", () => {
    const endpoint = open();
    endpoint.judge(failed, 0);
    endpoint.succeeded();
    jest.advanceTimersByTime(HOUR_MS);
    expect(endpoint.restriction).toBe("none");
    expect(told).toEqual(["pause", "none"]);
  });

  test("that is full is used over the connections that there are, and after a while tried with more", () => {
    const endpoint = open();
    endpoint.judge(full, 2);
    expect(endpoint.restriction).toBe("connected");
    jest.advanceTimersByTime(HOUR_MS);
    expect(told).toEqual(["connected", "none", "awake"]);
  });

  test("that is full before anybody is connected has failed", () => {
    const endpoint = open();
    endpoint.judge(full, 0);
    expect(endpoint.restriction).toBe("pause");
    endpoint.stop();
    jest.advanceTimersByTime(HOUR_MS);
    expect(endpoint.restriction).toBe("pause");
  });
});
