import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { barLayout, barLine, foldedLine } from "../../src/report/bar-line.ts";
import { barLineCount, barScreen } from "../../src/report/bar-screen.ts";
import { OrderMeter, type Standing } from "../../src/report/order-meter.ts";
import type { SourceProgress } from "../../src/wire/order.ts";
import { HOSTILE_NAME, progress, sourceEnd, sourceProgress } from "./report-order-events.ts";

function standing(changes: Partial<Standing> = {}): Standing {
  return {
    label: "10.0.0.2:9000 docs",
    phase: "moving",
    filesDone: 170,
    filesListed: 340,
    bytesDone: 5_000_000,
    bytesListed: 10_000_000,
    failed: 0,
    bytesPerSecond: 1_258_291,
    timeLeftMs: 4_000,
    ...changes,
  };
}

function lineAt(terminalColumns: number, changes: Partial<Standing> = {}): string {
  const shown = standing(changes);
  return barLine(shown, barLayout(terminalColumns, [shown.label]));
}

describe("barLine", () => {
  test("80 columns show everything", () => {
    expect(lineAt(80)).toBe(
      "10.0.0.2:9000 docs [========--------]     170/340 4.77 MiB  1.20 MiB/s     0:04",
    );
  });

  test("40 columns keep the name, the bar and the time left", () => {
    expect(lineAt(40)).toBe("10.0.0.…000 docs [====----]        0:04");
  });

  test("a wide terminal widens names first, then the bar", () => {
    const line = lineAt(200, { label: "10.0.0.2:9000 a/rather/long/path/to/some/place/deep/down" });
    expect(line).toStartWith(
      "10.0.0.2:9000 a/rather/long/path/to/some/place/deep/down [===============---------------] ",
    );
  });

  test.each([
    ["connecting", { phase: "connecting", bytesPerSecond: undefined }, /connecting$/],
    ["listing", { phase: "listing", timeLeftMs: undefined }, /MiB\/s listing…$/],
    [
      "moving, but nothing moved for a while",
      { timeLeftMs: undefined, bytesPerSecond: 0 },
      / 0 B\/s +--:--$/,
    ],
    ["finishing", { phase: "finishing", bytesPerSecond: undefined }, / {2}finishing…$/],
    ["complete", { phase: "complete", bytesPerSecond: undefined }, / {2}done$/],
    ["not found", { phase: "not-found", bytesPerSecond: undefined }, / {2}not found$/],
    ["unreachable", { phase: "unreachable", bytesPerSecond: undefined }, / {2}unreachable$/],
  ] as [string, Partial<Standing>, RegExp][])("says when it is %s", (_name, changes, end) => {
    expect(lineAt(80, changes)).toMatch(end);
    expect(lineAt(80, changes)).toHaveLength(lineAt(80).length);
  });

  test("a bar looks full only when all is done, and empty when nothing is known", () => {
    expect(lineAt(80, { bytesDone: 9_999_999 })).toContain("=-]");
    expect(lineAt(80, { bytesDone: 10_000_000 })).toContain("[================]");
    expect(lineAt(80, { bytesDone: 0, bytesListed: 0, filesDone: 0, filesListed: 0 })).toContain(
      "[----------------]",
    );
    expect(lineAt(80, { bytesDone: 0, bytesListed: 0 })).toContain("[========--------]");
  });

  test("never reaches the last column, and all lines of a screen have the same width", () => {
    const label = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.constant("10.0.0.2:9000 日本語/ドキュメント/最新"),
    );
    const amount = fc.oneof(fc.maxSafeNat(), fc.maxSafeInteger());
    const anyStanding = fc.record({
      label,
      phase: fc.constantFrom("connecting", "listing", "moving", "complete", "unreachable"),
      filesDone: fc.nat(9_000_000),
      filesListed: fc.nat(9_000_000),
      bytesDone: amount,
      bytesListed: amount,
      timeLeftMs: fc.option(fc.double({ min: 0, noNaN: true }), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        fc.array(anyStanding, { minLength: 1 }),
        fc.integer({ min: 1, max: 250 }),
        (list, columns) => {
          const shown = list.map((changes) =>
            standing({
              ...changes,
              ...(changes.phase === "moving" ? {} : { bytesPerSecond: undefined }),
            }),
          );
          const layout = barLayout(
            columns,
            shown.map((one) => one.label),
          );
          const widths = shown.map((one) => Bun.stringWidth(barLine(one, layout)));
          expect(Math.max(...widths)).toBeLessThan(Math.max(2, columns));
          if (columns >= 14) expect(new Set(widths).size).toBe(1);
          expect(Bun.stringWidth(foldedLine(shown, layout))).toBeLessThan(Math.max(2, columns));
        },
      ),
    );
  });
});

function thirtySources(changes: (index: number) => Partial<SourceProgress> = () => ({})): SourceProgress[] {
  return Array.from({ length: 30 }, (_, index) => sourceProgress({ port: 9001 + index, ...changes(index) }));
}

function screenOf(sources: SourceProgress[], rows: number, columns = 80): string[] {
  const meter = new OrderMeter();
  meter.progress(progress(sources), 0);
  return barScreen(meter, barLineCount(sources.length, rows), columns, 0);
}

describe("barScreen", () => {
  test("has the total and every source when they fit, one row staying free", () => {
    const lines = screenOf(thirtySources(), 32);
    expect(lines).toHaveLength(31);
    expect(lines[0]).toStartWith("total ");
    expect(lines[30]).toStartWith("10.0.0.2:9030 docs ");
  });

  test("folds what does not fit: 30 sources on 24 rows", () => {
    const lines = screenOf(thirtySources(), 24);
    expect(lines).toHaveLength(23);
    expect(lines[21]).toStartWith("10.0.0.2:9021 docs ");
    expect(lines[22]).toBe("… and 9 more sources (0 done)");
  });

  test("folds those that have ended before those at work", () => {
    const lines = screenOf(
      thirtySources((index) => (index < 12 ? { state: "done", filesDone: 340, bytesDone: 10_000_000 } : {})),
      24,
    );
    expect(lines[1]).toStartWith("10.0.0.2:9013 docs ");
    expect(lines[18]).toStartWith("10.0.0.2:9030 docs ");
    expect(lines[19]).toStartWith("10.0.0.2:9001 docs ");
    expect(lines[22]).toBe("… and 9 more sources (9 done)");
  });

  test.each([1, 2, 3, 4, 5, 24, 31, 32, 100])("on %d rows takes exactly the lines it claims", (rows) => {
    const lines = screenOf(thirtySources(), rows);
    expect(lines).toHaveLength(barLineCount(30, rows));
    expect(lines.length).toBeLessThanOrEqual(Math.max(1, rows - 1));
  });

  test("names cannot steer the terminal", () => {
    const lines = screenOf([sourceProgress({ host: HOSTILE_NAME, path: HOSTILE_NAME })], 24, 200);
    for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
  });
});

describe("OrderMeter", () => {
  /** Two seconds of 1 MB/s. */
  function meterOf(changes: Partial<SourceProgress>, others: SourceProgress[] = []): OrderMeter {
    const meter = new OrderMeter();
    for (const second of [0, 1, 2]) {
      const moving = sourceProgress({ bytesDone: second * 1e6, filesDone: second * 10, ...changes });
      meter.progress(progress([moving, ...others]), 70_000 + second * 1000);
    }
    return meter;
  }

  test("knows rate and time left of a listed source", () => {
    const [source] = meterOf({}).sources(72_000);
    expect(source?.bytesPerSecond).toBe(1e6);
    expect(source?.timeLeftMs).toBe(8000);
    expect(source?.phase).toBe("moving");
  });

  test("promises no time while a list grows, for the source and for the whole", () => {
    const meter = meterOf({ listComplete: false, state: "listing" });
    expect(meter.sources(72_000)[0]?.timeLeftMs).toBeUndefined();
    expect(meter.total(72_000).timeLeftMs).toBeUndefined();
    expect(meter.total(72_000).phase).toBe("listing");
  });

  test("one source that is still connecting keeps the total's time open, one that ended does not", () => {
    const other = { port: 9001, listComplete: false, filesListed: 0, bytesListed: 0 };
    expect(
      meterOf({}, [sourceProgress({ ...other, state: "connecting" })]).total(72_000).timeLeftMs,
    ).toBeUndefined();
    expect(meterOf({}, [sourceProgress({ ...other, state: "done" })]).total(72_000).timeLeftMs).toBe(8000);
  });

  test("counts empty files by their number once all bytes are there", () => {
    const [source] = meterOf({ bytesListed: 0, bytesDone: 0, filesListed: 50 }).sources(72_000);
    expect(source?.timeLeftMs).toBe(3000);
  });

  test("does not wait for files that failed", () => {
    const [source] = meterOf({ filesDone: 300, failed: 40, bytesDone: 9e6 }).sources(72_000);
    expect(source?.timeLeftMs).toBe(0);
  });

  test("two sources with the same name are two sources", () => {
    const meter = new OrderMeter();
    for (const second of [0, 1, 2]) {
      const sources = [1e6, 2e6].map((perSecond) => sourceProgress({ bytesDone: second * perSecond }));
      meter.progress(progress(sources), second * 1000);
    }
    expect(meter.sources(2000).map((source) => source.bytesPerSecond)).toEqual([1e6, 2e6]);
  });

  test("an ended source shows the status that its end gave", () => {
    const meter = meterOf({ state: "done" });
    expect(meter.sources(72_000)[0]?.phase).toBe("complete");
    meter.sourceEnded(sourceEnd({ status: "refused" }));
    expect(meter.sources(72_000)[0]?.phase).toBe("refused");
    expect(meter.sources(72_000)[0]?.bytesPerSecond).toBeUndefined();
    expect(meter.total(72_000).phase).toBe("finishing");
  });

  test("the total's rate is what crosses the network, not what was found unchanged", () => {
    const meter = new OrderMeter();
    meter.progress(progress([sourceProgress()], 0), 0);
    meter.progress(progress([sourceProgress({ bytesDone: 8e6 })], 1000), 1000);
    expect(meter.total(1000).bytesPerSecond).toBe(1000);
    expect(meter.total(1000).label).toBe("total");
    meter.progress(progress([sourceProgress({ bytesDone: 8e6, failed: 7 })], 1000), 1100);
    expect(meter.total(1100).label).toBe("total, 7 failed");
  });
});
