import { describe, expect, test } from "bun:test";
import { Writable } from "node:stream";
import type { SplitEvent, SplitResult } from "../../src/report/split-events.ts";
import {
  SplitNotes,
  splitFileText,
  splitProgressLine,
  splitResultText,
} from "../../src/report/split-lines.ts";
import { createSplitReport } from "../../src/report/split-report.ts";

const MIB = 1024 * 1024;
const counts = { bytesTransferred: 3 * MIB, bytesResumed: MIB, failed: 0 };

const placed: SplitEvent & { type: "placed" } = {
  type: "placed",
  file: "local/a",
  path: "in/a\n",
  sizeBytes: 10 * MIB,
  sha256: "0".repeat(64),
  parts: 10,
  copies: 3,
  manifests: 5,
  short: [],
};

const result: SplitResult = {
  type: "result",
  files: 1,
  bytes: 10 * MIB,
  ...counts,
  skipped: 2,
  failed: 1,
  durationMs: 1000,
  servers: [
    { host: "::1", port: 9, status: "complete", copies: 4, bytes: 4 * MIB, ...counts },
    {
      host: "a.example",
      port: 8,
      status: "unreachable",
      copies: 0,
      bytes: 0,
      ...counts,
      failed: 1,
      error: "gone",
    },
  ],
  failures: [],
};

describe("what people see of a split put", () => {
  test("what became of a file, harmlessly", () => {
    expect(splitFileText(placed)).toBe(
      String.raw`"in/a\n": 10.0 MiB in 10 parts, 3 copies of each, known to 5 servers` + "\n",
    );
    const short = Array.from({ length: 12 }, (_, part) => ({ part, copies: part % 2 }));
    const lines = splitFileText({ ...placed, short }).split("\n");
    expect(lines[1]).toBe(
      "  too few copies: part 0 has none, part 1 has 1, part 2 has none, part 3 has 1, part 4 has none, " +
        "part 5 has 1, part 6 has none, part 7 has 1, part 8 has none, part 9 has 1, and 2 more",
    );
  });

  test("what a repair found", () => {
    const { file: _, ...known } = placed;
    const repaired = { ...known, type: "repaired", good: 29, rotten: 1, restored: 1, removed: 0 } as const;
    expect(splitFileText(repaired).split("\n")[1]).toBe(
      "  29 good, 1 rotten; 1 copy restored, 0 files removed",
    );
  });

  test("the result has a line for each server", () => {
    expect(splitResultText(result)).toBe(
      [
        "[::1]:9: complete, 4 copies, 4.00 MiB",
        "a.example:8: unreachable, 0 copies, 0 B",
        "3.00 MiB sent in 1.0 s, 3.00 MiB/s, 1.00 MiB were there already",
        "2 items skipped",
        "1 failure",
        "",
      ].join("\n"),
    );
  });

  test("progress, first of reading and then of copies", () => {
    const server = {
      host: "h",
      port: 1,
      state: "transferring",
      copies: 2,
      bytesWanted: 8 * MIB,
      ...counts,
    } as const;
    const progress = { type: "progress", durationMs: 1, bytesRead: 5 * MIB } as const;
    expect(splitProgressLine({ ...progress, servers: [{ ...server, copiesWanted: 0 }] })).toBe(
      "Progress: 5.00 MiB read for digests",
    );
    expect(splitProgressLine({ ...progress, servers: [{ ...server, copiesWanted: 4 }] })).toBe(
      "Progress: 2 of 4 copies, 4.00 MiB of 8.00 MiB",
    );
  });

  test("notes about servers, and of rotten copies only the first ones", () => {
    const notes = new SplitNotes();
    const server = { type: "server", ...result.servers[1]!, error: "no\x1b[31m" } as const;
    expect(notes.of(server)).toBe(String.raw`Goes on without a.example:8: no\x1b[31m`);
    expect(notes.of({ type: "server", ...result.servers[0]! })).toBeUndefined();
    const rotten = { type: "rotten", host: "h", port: 1, path: "a.dray-parts/x/0" } as const;
    const lines = Array.from({ length: 30 }, () => notes.of(rotten)).filter((line) => line !== undefined);
    expect(lines[0]).toBe("Removed a.dray-parts/x/0 from h:1: it is not what the manifest says");
    expect(lines).toHaveLength(10);
  });
});

test("JSON Lines hold every event, and --quiet nothing", async () => {
  for (const { json, quiet, expected } of [
    { json: true, quiet: false, expected: 2 },
    { json: false, quiet: true, expected: 0 },
  ]) {
    const [out, err] = [new Sink(), new Sink()];
    const options = { json, quiet, stdout: out, stderr: err as never, into: ".", now: () => 0 };
    const report = createSplitReport(options);
    report.event(placed);
    report.event(result);
    await report.close();
    expect(out.text.split("\n").filter(Boolean)).toHaveLength(expected);
    expect(err.text).toBe("");
    if (json) expect(JSON.parse(out.text.split("\n")[0]!)).toEqual(placed);
  }
});

test("a terminal gets bars once there is something to place, which are gone when the result is there", async () => {
  const [out, err] = [new Sink(), Object.assign(new Sink(), { isTTY: true, columns: 80, rows: 24 })];
  let nowMs = 0;
  const report = createSplitReport({
    ...{ json: false, quiet: false, stdout: out, stderr: err, into: "in", now: () => nowMs },
  });
  const server = {
    host: "h",
    port: 1,
    state: "transferring",
    copies: 2,
    bytesWanted: 8 * MIB,
    ...counts,
  } as const;
  const progress = { type: "progress", durationMs: 1, bytesRead: 5 * MIB } as const;
  nowMs = 20_000;
  report.event({ ...progress, servers: [{ ...server, copiesWanted: 0 }] });
  expect(err.text).toBe("Progress: 5.00 MiB read for digests\n");
  report.event({ ...progress, servers: [{ ...server, copiesWanted: 4 }] });
  expect(err.text).toContain("h:1");
  report.event(placed);
  expect(out.text).toBe("");
  report.event(result);
  await report.close();
  expect(out.text).toStartWith(String.raw`"in/a\n": 10.0 MiB in 10 parts`);
});

class Sink extends Writable {
  text = "";

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += String(chunk);
    done();
  }
}
