import { describe, expect, test } from "bun:test";
import { Writable } from "node:stream";
import type { FetchEvent, FileResult, TreeResult } from "../../src/report/fetch-events.ts";
import { fileResultLines, treeResultLines } from "../../src/report/fetch-lines.ts";
import { createFetchReport, type FetchReport } from "../../src/report/fetch-report.ts";

const ESC = "\u001b";
const HOSTILE = "a\u001b[2J\nb\u202e";

class Screen extends Writable {
  text = "";
  readonly isTTY: boolean;
  readonly columns = 80;

  constructor(isTTY: boolean) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

interface Shown {
  stdout: Screen;
  stderr: Screen;
  report: FetchReport;
  clock: { ms: number };
}

function show(options: { tty?: boolean; json?: boolean; quiet?: boolean; toStdout?: boolean } = {}): Shown {
  const [stdout, stderr] = [new Screen(options.tty === true), new Screen(options.tty === true)];
  const clock = { ms: 0 };
  const report = createFetchReport({
    json: options.json === true,
    quiet: options.quiet === true,
    stdout: options.toStdout === true ? undefined : stdout,
    stderr,
    label: "big.bin",
    now: () => clock.ms,
  });
  return { stdout, stderr, report, clock };
}

function progress(bytes: number, bytesTotal = 1000, filesTotal = 1): FetchEvent {
  return { type: "progress", files: 0, filesTotal, bytes, bytesTotal, bytesTransferred: bytes };
}

const result: FileResult = {
  type: "result",
  file: "docs/big.bin",
  path: "saved/big.bin",
  outcome: "fetched",
  sizeBytes: 3 * 1024 * 1024,
  bytesTransferred: 2 * 1024 * 1024,
  bytesResumed: 1024 * 1024,
  sha256: "ab".repeat(32),
  durationMs: 2_000,
};

const tree: TreeResult = {
  type: "result",
  file: "docs",
  path: "saved/docs",
  files: 10,
  directories: 2,
  bytes: 5_000_000,
  bytesTransferred: 4_000_000,
  bytesResumed: 0,
  unchanged: 3,
  skipped: 0,
  failed: 1,
  failures: [{ file: HOSTILE, code: "refused", message: HOSTILE }],
  durationMs: 1_000,
};

describe("a fetch in a pipe", () => {
  test("prints the sum on stdout and nothing else, and what was resumed on stderr", async () => {
    const { stdout, stderr, report } = show();
    report.event({
      type: "started",
      file: "docs/big.bin",
      sizeBytes: result.sizeBytes,
      bytesResumed: 1024 * 1024,
    });
    report.event(result);
    await report.close();
    expect(stdout.text).toBe(`${"ab".repeat(32)}  saved/big.bin\n`);
    expect(stderr.text).toBe(
      "Going on with docs/big.bin: 1.00 MiB of 3.00 MiB are there already\n" +
        "Fetched saved/big.bin: 3.00 MiB, 2.00 MiB transferred in 2.0 s (1.00 MiB/s); 1.00 MiB were there already\n",
    );
  });

  test("prints a line of progress every ten seconds, without control characters", async () => {
    const { stderr, report, clock } = show();
    for (clock.ms = 0; clock.ms <= 25_000; clock.ms += 250) report.event(progress(clock.ms / 50));
    await report.close();
    const lines = stderr.text.split("\n").filter((line) => line !== "");
    expect(lines).toHaveLength(2);
    expect(lines[0]).toBe("Progress: 20%, 200 B of 1000 B, 20 B/s, 0:40 left");
    expect(stderr.text).not.toContain("\r");
    expect(stderr.text).not.toContain(ESC);
  });

  test("is silent with --quiet, but for the sum", async () => {
    const { stdout, stderr, report, clock } = show({ quiet: true });
    report.event(progress(0));
    clock.ms = 20_000;
    report.event(progress(500));
    report.event({ type: "retry", code: "closed", message: "x", waitMs: 1, attempt: 1 });
    report.event(result);
    await report.close();
    expect(stderr.text).toBe("");
    expect(stdout.text).toContain("saved/big.bin");
  });

  test("whose file goes to stdout tells the sum on stderr", async () => {
    const { stdout, stderr, report } = show({ toStdout: true });
    report.event({ ...result, path: "-" });
    await report.close();
    expect(stdout.text).toBe("");
    expect(stderr.text).toContain(`${"ab".repeat(32)}  -\n`);
  });
});

describe("a fetch on a terminal", () => {
  test("draws one line over and over, and takes it away for what stays", async () => {
    const { stderr, report, clock } = show({ tty: true });
    for (const bytes of [0, 250, 500]) {
      report.event(progress(bytes));
      clock.ms += 1_000;
    }
    report.event(result);
    await report.close();
    const frames = stderr.text.split("\r");
    expect(frames[3]).toMatch(/^big\.bin +\[=+-+\].*500 B.*0:0\d/);
    expect(frames[3]).toEndWith(`${ESC}[K`);
    expect(frames.at(-1)).toMatch(/^.\[KFetched saved\/big\.bin: .*\n$/);
    expect(stderr.text.split("\n")).toHaveLength(2);
  });

  test("is not steered by names", async () => {
    const { stdout, stderr, report } = show({ tty: true });
    report.event({ type: "skipped", file: HOSTILE, reason: HOSTILE });
    report.event({ type: "failure", file: HOSTILE, code: "refused", message: HOSTILE });
    report.event({ type: "restarted", file: HOSTILE, reason: HOSTILE });
    report.event({ type: "retry", code: "closed", message: HOSTILE, waitMs: 1, attempt: 1 });
    report.event({ ...result, path: HOSTILE, backup: HOSTILE });
    await report.close();
    for (const { text } of [stdout, stderr]) {
      for (const harmful of ["\u202e", `${ESC}[2J`, `a${ESC}`]) expect(text).not.toContain(harmful);
    }
    expect(stderr.text.trim().split("\n")).toHaveLength(6);
  });
});

describe("a fetch from several servers", () => {
  const replicas = [
    { host: "a.example", port: 1, status: "used", bytes: 300, bytesWasted: 0 },
    { host: "b.example", port: 2, status: "used", bytes: 500, bytesWasted: 0 },
    { host: HOSTILE, port: 3, status: "quarantined", bytes: 0, bytesWasted: 9, culprit: `lied ${HOSTILE}` },
    { host: "::1", port: 4, status: "unreachable", bytes: 0, bytesWasted: 0, error: "no route" },
    { host: "d.example", port: 5, status: "pending", bytes: 0, bytesWasted: 0 },
  ] satisfies FileResult["replicas"];

  test("has a line for each server on a terminal, as many as fit, and takes them away", async () => {
    const { stderr, report, clock } = show({ tty: true });
    const many = Array.from({ length: 30 }, (_, index) => ({
      host: `host-${index}`,
      port: 1,
      status: "used" as const,
      bytes: 0,
    }));
    for (const bytes of [0, 100, 200]) {
      const grown = many.map((replica, index) => ({ ...replica, bytes: bytes * index }));
      report.event({ ...progress(bytes), replicas: grown } as FetchEvent);
      clock.ms += 1_000;
    }
    const last = stderr.text.split("\r").at(-1)!;
    const lines = last.split("\n");
    expect(lines).toHaveLength(9);
    expect(lines[1]).toMatch(/^ {2}host-29:1 +5.66 KiB +2.83 KiB\/s/); // the fastest one first
    expect(lines[8]).toContain("… and 23 more");
    expect(last).toEndWith(`${ESC}[8A`);
    report.event({ ...result, replicas });
    await report.close();
    expect(stderr.text.split("\r").at(-1)).toStartWith(`${ESC}[J`);
  });

  test("tells what becomes of them, but not that all is well", async () => {
    const { stderr, report } = show();
    const at = { type: "replica", host: "a.example", port: 1 } as const;
    report.event({ ...at, status: "joined" });
    report.event({ ...at, status: "lost", reason: HOSTILE });
    report.event({ ...at, status: "back" });
    report.event({ ...at, status: "quarantined", reason: "its bytes 0 to 9 are wrong" });
    await report.close();
    const lines = stderr.text.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toStartWith("a.example:1 was lost: a");
    expect(lines[1]).toBe("a.example:1 is back");
    expect(lines[2]).toBe("a.example:1 is not used any more: its bytes 0 to 9 are wrong");
    expect(stderr.text).not.toContain(ESC);
  });

  test("ends with who brought how much, culprits first, and who did nothing is left out", () => {
    const lines = fileResultLines({ ...result, bytesSeeded: 1024, bytesWasted: 2048, replicas });
    expect(lines[0]).toContain(
      "; 1.00 KiB are those of the file that stood there; 2.00 KiB came twice, or were wrong",
    );
    expect(lines).toHaveLength(5);
    expect(lines[1]).toMatch(/:3: 0 B, quarantined \(lied /);
    expect(lines[2]).toBe("  b.example:2: 500 B");
    expect(lines[3]).toBe("  a.example:1: 300 B");
    expect(lines[4]).toBe("  [::1]:4: 0 B, unreachable (no route)");
    expect(lines.join("")).not.toContain(ESC);
  });
});

test("with --json every event is a line, and stderr stays empty", async () => {
  const { stdout, stderr, report } = show({ json: true, tty: true });
  const events: FetchEvent[] = [progress(1), { type: "skipped", file: HOSTILE, reason: "x" }, result];
  for (const event of events) report.event(event);
  await report.close();
  expect(stderr.text).toBe("");
  expect(
    stdout.text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual(events);
});

test("a flood of failures is counted after the first ones", async () => {
  const { stderr, report } = show();
  for (let file = 0; file < 1_000; file++)
    report.event({ type: "failure", file: `f${file}`, code: "refused", message: "no" });
  await report.close();
  expect(stderr.text.trim().split("\n")).toHaveLength(21);
});

test("results in words", () => {
  expect(fileResultLines({ ...result, outcome: "unchanged" })).toEqual([
    "saved/big.bin is there already, unchanged (3.00 MiB)",
  ]);
  expect(fileResultLines({ ...result, bytesResumed: 0, backup: "saved/big.bin.~1~" })).toEqual([
    "Fetched saved/big.bin: 3.00 MiB, 2.00 MiB transferred in 2.0 s (1.00 MiB/s)",
    "The file that stood in its place is kept as saved/big.bin.~1~",
  ]);
  expect(treeResultLines(tree)).toEqual([
    "10 files in saved/docs: 4.77 MiB, 3.81 MiB transferred in 1.0 s (3.81 MiB/s)",
    "3 unchanged, 1 failed",
  ]);
});
