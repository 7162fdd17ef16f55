import { describe, expect, test } from "bun:test";
import { OrderLines } from "../../src/report/order-lines.ts";
import {
  accepted,
  failure,
  HOSTILE_NAME,
  progress,
  result,
  skipped,
  sourceEnd,
  sourceProgress,
} from "./report-order-events.ts";

describe("events as plain lines", () => {
  const lineOf = (event: Parameters<OrderLines["of"]>[0]): string[] => new OrderLines().of(event, 0);

  test("accepted", () => expect(lineOf(accepted())).toEqual(["Order 01JB2M7Q9X accepted"]));

  test("a changed bandwidth limit says whose it is", () => {
    const orderId = "0af1";
    expect(lineOf({ type: "limited", orderId, bytesPerSecond: 512_000 })).toEqual([
      "Each source of order 0af1: at most 500 KiB/s from now on",
    ]);
    expect(lineOf({ type: "limited" })).toEqual(["All sources together: no bandwidth limit any more"]);
  });

  test("a failure says where, what and why", () => {
    expect(lineOf(failure())).toEqual([
      "Failed: 10.0.0.2:9000 docs/a.txt: the file changed while it was being sent (changed)",
    ]);
  });

  test("a skipped item says why", () => {
    expect(lineOf(skipped())).toEqual(["Skipped: 10.0.0.2:9000 docs/latest: symbolic link"]);
  });

  test("the end of a source says how it ended", () => {
    expect(lineOf(sourceEnd())).toEqual(["10.0.0.2:9000 docs: complete, 340 files, 9.54 MiB"]);
    expect(lineOf(sourceEnd({ status: "complete", files: 0, bytes: 0 }))).toEqual([
      "10.0.0.2:9000 docs: complete, 0 files, 0 B",
    ]);
    expect(lineOf(sourceEnd({ status: "partial", files: 1, bytes: 12, error: "2 items failed" }))).toEqual([
      "10.0.0.2:9000 docs: partial, 1 file, 12 B: 2 items failed",
    ]);
    expect(lineOf(sourceEnd({ status: "not-found", files: 0, bytes: 0, error: "there is no docs" }))).toEqual(
      ["10.0.0.2:9000 docs: not found: there is no docs"],
    );
  });

  test("the result is not among them: it goes to stdout", () => expect(lineOf(result())).toEqual([]));

  test("no event can carry a control character or a line break into them", () => {
    const hostile = { host: HOSTILE_NAME, path: HOSTILE_NAME };
    const lines = new OrderLines();
    const printed = [
      ...lines.of({ ...accepted(), orderId: HOSTILE_NAME }, 0),
      ...lines.of(failure({ ...hostile, code: HOSTILE_NAME, message: HOSTILE_NAME }), 0),
      ...lines.of(skipped({ ...hostile, reason: HOSTILE_NAME }), 0),
      ...lines.of(progress([sourceProgress(hostile)]), 0),
      ...lines.of(progress([sourceProgress(hostile)]), 60_000),
      ...lines.of(sourceEnd({ ...hostile, error: HOSTILE_NAME }), 60_000),
    ];
    expect(printed).toHaveLength(5);
    for (const line of printed) expect(line).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
  });
});

describe("a flood of items", () => {
  test("is shown for 20, announced once, then only counted", () => {
    const lines = new OrderLines();
    const printed: string[] = [];
    for (let item = 1; item <= 100_000; item += 1)
      printed.push(...lines.of(failure({ path: `docs/${item}` }), 0));
    expect(printed).toHaveLength(21);
    expect(printed[19]).toContain("docs/20:");
    expect(printed[20]).toBe("More failures follow; from here on they are only counted");
  });

  test("exactly 20 bring no announcement", () => {
    const lines = new OrderLines();
    const printed = Array.from({ length: 20 }, () => lines.of(failure(), 0)).flat();
    expect(printed).toHaveLength(20);
    expect(printed.at(-1)).toStartWith("Failed: ");
  });

  test("of skipped items does not hide the failures", () => {
    const lines = new OrderLines();
    const printed = Array.from({ length: 50 }, () => lines.of(skipped(), 0)).flat();
    expect(printed.at(-1)).toBe("More skipped items follow; from here on they are only counted");
    expect(lines.of(failure(), 0)).toHaveLength(1);
  });
});

describe("progress lines", () => {
  /** A listed order of 100 files of 1 MB that takes `orderMs`, reported every 200 ms: the lines and when they came. */
  function run(
    orderMs: number,
    changes: Parameters<typeof sourceProgress>[0] = {},
  ): { atMs: number; line: string }[] {
    const lines = new OrderLines();
    const printed: { atMs: number; line: string }[] = [];
    for (let atMs = 0; atMs <= orderMs; atMs += 200) {
      const done = Math.floor((atMs / orderMs) * 100);
      const bytesDone = Math.round((atMs / orderMs) * 100e6);
      const amounts = { filesListed: 100, bytesListed: 100e6, filesDone: done, bytesDone };
      const event = progress([sourceProgress({ ...amounts, ...changes })]);
      for (const line of lines.of(event, 5_000_000 + atMs)) printed.push({ atMs, line });
    }
    return printed;
  }

  test("a quick order needs none", () => expect(run(900)).toEqual([]));

  test("each tenth brings one", () => {
    const printed = run(40_000);
    expect(printed.map(({ line }) => line.slice(0, 13))).toEqual(
      [10, 20, 30, 40, 50, 60, 70, 80, 90].map((percent) => `Progress: ${percent}%`),
    );
    expect(printed[4]?.line).toBe(
      "Progress: 50%, 50 of 100 files, 47.7 MiB of 95.4 MiB, 2.38 MiB/s, 0:20 left",
    );
  });

  test("they are at least a second apart", () => {
    const printed = run(5000);
    expect(printed.length).toBeGreaterThan(2);
    const gaps = printed.slice(1).map(({ atMs }, index) => atMs - (printed[index]?.atMs ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(1000);
  });

  test("a long order brings one every ten seconds, and no more than that and the tenths", () => {
    const printed = run(600_000);
    const gaps = printed.slice(1).map(({ atMs }, index) => atMs - (printed[index]?.atMs ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(10_200);
    expect(printed.length).toBeLessThanOrEqual(70);
  });

  test("while the list is not complete there is no percentage and no time left", () => {
    const printed = run(40_000, { listComplete: false, state: "listing" });
    expect(printed.map(({ atMs }) => atMs)).toEqual([10_000, 20_000, 30_000, 40_000]);
    expect(printed[0]?.line).toBe(
      "Progress: 25 of 100 files, 23.8 MiB of 95.4 MiB, 2.38 MiB/s, still listing",
    );
  });

  test("they count the sources and the failures", () => {
    const lines = new OrderLines();
    const sources = [
      sourceProgress({ filesDone: 170, bytesDone: 5e6, failed: 1200 }),
      sourceProgress({ port: 9001, state: "done", listComplete: false, filesListed: 0, bytesListed: 0 }),
    ];
    lines.of(progress(sources), 0);
    expect(lines.of(progress(sources), 10_000)).toEqual([
      "Progress: 50%, 170 of 340 files, 4.77 MiB of 9.54 MiB, 0 B/s, 0:00 left, 1 of 2 sources done, 1,200 failed",
    ]);
  });

  test("an order whose sources have all ended is finishing", () => {
    const lines = new OrderLines();
    const event = progress([sourceProgress({ state: "done", filesDone: 340, bytesDone: 10_000_000 })]);
    lines.of(event, 0);
    expect(lines.of(event, 10_000)).toEqual(["Progress: 340 of 340 files, 9.54 MiB of 9.54 MiB, finishing"]);
  });
});
