import { describe, expect, test } from "bun:test";
import { DrayError } from "../../src/errors/dray-error.ts";
import { JobPace, REQUEST_COST_BYTES } from "../../src/mirror/job-pace.ts";

function paced(): { pace: JobPace; asked: number[] } {
  const asked: number[] = [];
  return { pace: new JobPace(true, (bytes) => asked.push(bytes)), asked };
}

/** What has become of it by now. */
async function stateOf(taken: Promise<number | undefined>): Promise<number | undefined | "waiting"> {
  return Promise.race([taken, Bun.sleep(0).then(() => "waiting" as const)]);
}

describe("a job's pace", () => {
  test("asks once for all its files, and small ones share the grant", async () => {
    const { pace, asked } = paced();
    for (let file = 0; file < 3; file++) pace.expect(1_000 + REQUEST_COST_BYTES);
    const first = pace.take(1_000 + REQUEST_COST_BYTES);
    expect(asked).toEqual([3 * (1_000 + REQUEST_COST_BYTES)]);
    expect(await stateOf(first)).toBe("waiting");
    pace.granted(2 * (1_000 + REQUEST_COST_BYTES));
    expect(await first).toBe(1_000 + REQUEST_COST_BYTES);
    expect(await pace.take(1_000 + REQUEST_COST_BYTES)).toBe(1_000 + REQUEST_COST_BYTES);
    expect(asked).toHaveLength(1);
    void pace.take(1_000 + REQUEST_COST_BYTES);
    expect(asked).toEqual([3 * (1_000 + REQUEST_COST_BYTES), 1_000 + REQUEST_COST_BYTES]);
  });

  test("gives a part of what is wanted, unless it is hardly worth a request", async () => {
    const { pace, asked } = paced();
    const taken = pace.take(1_000_000);
    pace.granted(500);
    expect(await stateOf(taken)).toBe("waiting");
    expect(asked).toEqual([1_000_000, 999_500]);
    pace.granted(4_000);
    expect(await taken).toBe(4_500);
  });

  test("wakes when the limit is lifted, and asks again when another comes", async () => {
    const { pace, asked } = paced();
    const taken = pace.take(1_000_000);
    pace.granted(undefined);
    expect(await taken).toBeUndefined();
    expect(pace.isMetered).toBe(false);
    expect(await pace.take(5)).toBeUndefined();
    expect(asked).toHaveLength(1);
    pace.meter();
    expect(await stateOf(pace.take(5))).toBe("waiting");
    expect(asked).toEqual([1_000_000, 5]);
  });

  test("fails what waits and what comes when it is refused", async () => {
    const { pace, asked } = paced();
    const reason = new DrayError("interrupted", "it is over");
    const taken = pace.take(1_000_000);
    pace.refuse(reason);
    expect(await taken.catch((error: unknown) => error)).toBe(reason);
    expect(await pace.take(10).catch((error: unknown) => error)).toBe(reason);
    expect(asked).toHaveLength(1);
  });
});
