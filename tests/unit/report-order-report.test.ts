import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Writable } from "node:stream";
import { DrayError } from "../../src/errors/dray-error.ts";
import { createOrderReport, type OrderReport } from "../../src/report/order-report.ts";
import { resultText } from "../../src/report/order-result.ts";
import type { OrderEvent } from "../../src/wire/order.ts";
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
import { TerminalScreen } from "./report-terminal-screen.ts";

/** A pipe or file in memory. */
class Sink extends Writable {
  text = "";

  constructor() {
    super({ decodeStrings: false });
  }

  override _write(text: string, _encoding: string, done: (error?: Error) => void): void {
    this.text += text;
    done();
  }
}

function reportTo(
  stdout: Writable,
  stderr: Writable,
  options: { json?: boolean; now?: () => number } = {},
): Promise<OrderReport> {
  return createOrderReport({ json: false, now: () => 0, ...options, stdout, stderr });
}

const hostile = { host: HOSTILE_NAME, path: HOSTILE_NAME };

const order: OrderEvent[] = [
  accepted(),
  progress([sourceProgress(), sourceProgress({ port: 9001, state: "connecting", listComplete: false })]),
  failure(),
  skipped(),
  failure({ ...hostile, message: HOSTILE_NAME }),
  sourceEnd(),
  sourceEnd({ port: 9001, status: "unreachable", files: 0, bytes: 0, error: "connection refused" }),
  result({ failed: 2 }),
];

describe("--json", () => {
  test("each event is one line of stdout exactly as received, and stderr stays empty", async () => {
    const [stdout, stderr] = [new Sink(), new Sink()];
    const report = await reportTo(stdout, stderr, { json: true });
    for (const event of order) await report.event(event);
    await report.close();
    const lines = stdout.text.split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.map((line) => JSON.parse(line) as OrderEvent)).toEqual(order);
    expect(lines.at(-1)).toStartWith('{"type":"result",');
    expect(stderr.text).toBe("");
  });

  test("is not capped: a program sees all failures", async () => {
    const stdout = new Sink();
    const report = await reportTo(stdout, new Sink(), { json: true });
    for (let item = 0; item < 1000; item += 1) await report.event(failure({ path: `docs/${item}` }));
    await report.close();
    expect(stdout.text.split("\n")).toHaveLength(1001);
  });

  test("draws no bars, not even on a terminal", async () => {
    const terminal = new TerminalScreen(80, 24);
    const report = await reportTo(new Sink(), terminal, { json: true });
    for (const event of order) await report.event(event);
    await report.close();
    expect(terminal.lines).toEqual([""]);
  });
});

describe("piped", () => {
  test("progress goes to stderr, the result to stdout, and no control character to either", async () => {
    const [stdout, stderr] = [new Sink(), new Sink()];
    const report = await reportTo(stdout, stderr);
    for (const event of order) await report.event(event);
    await report.close();
    expect(stdout.text).toBe(resultText(result({ failed: 2 })));
    expect(stderr.text.split("\n").map((line) => line.slice(0, 24))).toEqual([
      "Order 01JB2M7Q9X accepte",
      "Failed: 10.0.0.2:9000 do",
      "Skipped: 10.0.0.2:9000 d",
      "Failed: a\\x1b[2J\\nOrder ",
      "10.0.0.2:9000 docs: comp",
      "10.0.0.2:9001 docs: unre",
      "",
    ]);
    expect(stderr.text.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });

  test("the result follows the last progress line when both go to one file", async () => {
    const both = new Sink();
    const report = await reportTo(both, both);
    for (const event of order) await report.event(event);
    await report.close();
    expect(both.text).toEndWith(`connection refused\n${resultText(result({ failed: 2 }))}`);
  });
});

describe("on a terminal", () => {
  const termOfTheTests = process.env["TERM"];
  const setTerm = (term: string | undefined): void => {
    if (term === undefined) delete process.env["TERM"];
    else process.env["TERM"] = term;
  };
  beforeAll(() => setTerm("xterm-256color"));
  afterAll(() => setTerm(termOfTheTests));

  const twoSources = (done: number) =>
    progress([
      sourceProgress({ filesDone: done, bytesDone: done * 1000 }),
      sourceProgress({ port: 9001, path: "pics", filesDone: done, bytesDone: done * 2000 }),
    ]);

  async function started(columns = 80, rows = 24) {
    const terminal = new TerminalScreen(columns, rows);
    const stdout = new Sink();
    let nowMs = 0;
    const report = await reportTo(stdout, terminal, { now: () => nowMs });
    await report.event(accepted());
    await report.event(twoSources(10));
    return { terminal, stdout, report, passTo: (ms: number) => void (nowMs = ms) };
  }

  test("draws a bar for the total and one per source", async () => {
    const { terminal, report } = await started();
    expect(terminal.lines).toEqual([
      "Order 01JB2M7Q9X accepted",
      "total              [----------------]      20/680 29.3 KiB                --:--",
      "10.0.0.2:9000 docs [----------------]      10/340 9.77 KiB                --:--",
      "10.0.0.2:9001 pics [----------------]      10/340 19.5 KiB                --:--",
    ]);
    await report.close();
  });

  test("draws them anew in the same place as the order moves on", async () => {
    const { terminal, report, passTo } = await started();
    passTo(1000);
    await report.event(twoSources(170));
    await terminal.nextWrite();
    expect(terminal.lines).toHaveLength(4);
    expect(terminal.lines[1]).toMatch(/ 340\/680 +498 KiB +469 KiB\/s +0:\d\d$/);
    await report.close();
  });

  test("prints failures above them, long ones whole, without a trace of old bars", async () => {
    const { terminal, report } = await started();
    const message = "the file changed while it was being sent ".repeat(6).trim();
    await report.event(failure({ message }));
    await report.event(skipped());
    const failed = `Failed: 10.0.0.2:9000 docs/a.txt: ${message} (changed)`;
    const lines = terminal.lines;
    const wrapped = Math.ceil(failed.length / 80);
    expect(
      lines
        .slice(1, 1 + wrapped)
        .join("")
        .replaceAll(" ", ""),
    ).toBe(failed.replaceAll(" ", ""));
    expect(lines[1 + wrapped]).toBe("Skipped: 10.0.0.2:9000 docs/latest: symbolic link");
    expect(lines.slice(2 + wrapped).map((line) => line.slice(0, 20))).toEqual([
      "total              [",
      "10.0.0.2:9000 docs [",
      "10.0.0.2:9001 pics [",
    ]);
    await report.close();
  });

  test("a flood of failures leaves 20 lines, and the count stays visible", async () => {
    const { terminal, report } = await started();
    for (let item = 0; item < 5000; item += 1) await report.event(failure({ path: `docs/${item}` }));
    await report.event(
      progress([sourceProgress({ failed: 5000 }), sourceProgress({ port: 9001, path: "pics" })]),
    );
    await terminal.nextWrite();
    expect(terminal.lines.filter((line) => line.startsWith("Failed: "))).toHaveLength(20);
    expect(terminal.lines.some((line) => line.startsWith("total, 5000 failed "))).toBe(true);
    await report.close();
  });

  test("in the end the bars make way for the result", async () => {
    const { terminal, stdout, report } = await started();
    await report.event(failure());
    await report.event(result({ failed: 1 }));
    await report.close();
    expect(terminal.lines).toEqual([
      "Order 01JB2M7Q9X accepted",
      "Failed: 10.0.0.2:9000 docs/a.txt: the file changed while it was being sent (changed)".slice(0, 80),
      "Failed: 10.0.0.2:9000 docs/a.txt: the file changed while it was being sent (changed)".slice(80),
      "",
    ]);
    expect(terminal.cursor).toEqual({ row: 3, column: 0 });
    expect(stdout.text).toBe(resultText(result({ failed: 1 })));
  });

  test("the bars are gone before the result is written", async () => {
    const { terminal, stdout, report } = await started();
    let linesWhenWritten: string[] = [];
    stdout._write = (_text, _encoding, done) => {
      linesWhenWritten = terminal.lines;
      done();
    };
    await report.event(result());
    await report.close();
    expect(linesWhenWritten).toEqual(["Order 01JB2M7Q9X accepted", ""]);
  });

  test("an order that is left before its end says how far it was", async () => {
    const { terminal, stdout, report } = await started();
    await report.close();
    expect(terminal.lines).toEqual([
      "Order 01JB2M7Q9X accepted",
      "Progress: 0%, 20 of 680 files, 29.3 KiB of 19.1 MiB, 0 of 2 sources done".slice(0, 80),
      "",
    ]);
    expect(stdout.text).toBe("");
  });

  test("follows the size of the terminal", async () => {
    const { terminal, report } = await started();
    terminal.rows = 3;
    terminal.columns = 40;
    terminal.emit("resize");
    expect(terminal.lines).toEqual([
      "Order 01JB2M7Q9X accepted",
      expect.stringMatching(/^total .{31,}$/),
      "… and 2 more sources (0 done)",
    ]);
    for (const line of terminal.lines) expect(line.length).toBeLessThan(40);
    terminal.rows = 24;
    terminal.columns = 80;
    terminal.emit("resize");
    expect(terminal.lines).toHaveLength(4);
    await report.close();
    expect(terminal.listenerCount("resize")).toBe(0);
  });

  test("one that cannot move its cursor gets plain lines", async () => {
    setTerm("dumb");
    const { terminal, report } = await started();
    await report.close();
    expect(terminal.lines).toEqual(["Order 01JB2M7Q9X accepted", ""]);
    setTerm("xterm-256color");
  });

  test("names cannot steer it", async () => {
    const { terminal, report } = await started(120);
    await report.event(failure({ ...hostile, message: HOSTILE_NAME, code: HOSTILE_NAME }));
    await report.event(skipped({ ...hostile, reason: HOSTILE_NAME }));
    await report.event(progress([sourceProgress(hostile), sourceProgress(hostile)]));
    await terminal.nextWrite();
    // The terminal itself throws at a control that does not belong to drawing bars.
    expect(terminal.errored).toBeNull();
    await report.close();
  });
});

describe("a reader that is slow or gone", () => {
  /** Takes text only when told. */
  class SlowSink extends Sink {
    release: () => void = () => {};

    override _write(text: string, _encoding: string, done: (error?: Error) => void): void {
      this.release = () => super._write(text, _encoding, done);
    }
  }

  /** Everything that could go on by itself has gone on. */
  const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  class FailingSink extends Sink {
    readonly #code: string;

    constructor(code: string) {
      super();
      this.#code = code;
    }

    override _write(_text: string, _encoding: string, done: (error?: Error) => void): void {
      done(Object.assign(new Error(`${this.#code}: write`), { code: this.#code }));
    }
  }

  test("holds up the events instead of filling the memory", async () => {
    const stdout = new SlowSink();
    const report = await reportTo(stdout, new Sink(), { json: true });
    await report.event(failure({ message: "x".repeat(1000) }));
    let wentOn = false;
    const large = report.event(failure({ message: "x".repeat(2 * 1024 * 1024) })).then(() => (wentOn = true));
    await turnOfTheLoop();
    expect(wentOn).toBe(false);
    stdout.release();
    stdout.release();
    await large;
    await report.close();
    expect(stdout.text.split("\n")).toHaveLength(3);
  });

  test("close waits until all is written", async () => {
    const stdout = new SlowSink();
    const report = await reportTo(stdout, new Sink(), { json: true });
    await report.event(result());
    let closed = false;
    const closing = report.close().then(() => (closed = true));
    await turnOfTheLoop();
    expect(closed).toBe(false);
    stdout.release();
    await closing;
    expect(stdout.text).toEndWith("\n");
  });

  test("a full disk under stdout is an error", async () => {
    const report = await reportTo(new FailingSink("ENOSPC"), new Sink());
    await report.event(result());
    const error = await report.close().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(DrayError);
    expect(error).toMatchObject({
      code: "no-space",
      message: "Cannot write to the standard output: ENOSPC: write",
    });
  });

  test("a reader that has seen enough is none", async () => {
    const report = await reportTo(new FailingSink("EPIPE"), new Sink(), { json: true });
    for (const event of order) await report.event(event);
    await report.close();
  });

  test("lost progress does not cost the result", async () => {
    const stdout = new Sink();
    const report = await reportTo(stdout, new FailingSink("EIO"));
    for (const event of order) await report.event(event);
    await report.close();
    expect(stdout.text).toBe(resultText(result({ failed: 2 })));
  });

  test("a process that exits after close has written everything to a reader that came late", async () => {
    const program = `
      import { createOrderReport } from ${JSON.stringify(import.meta.resolve("../../src/report/order-report.ts"))};
      const report = await createOrderReport({ json: true, stdout: process.stdout, stderr: process.stderr, now: () => performance.now() });
      const failure = ${JSON.stringify(failure({ message: "x".repeat(200) }))};
      for (let item = 0; item < 3000; item += 1) await report.event(failure);
      process.stderr.write("queued\\n");
      await report.close();
      process.exit(3);
    `;
    const child = Bun.spawn([process.execPath, "-e", program], {
      stdout: "pipe",
      stderr: "pipe",
      stdin: "ignore",
    });
    const stderr = child.stderr.getReader();
    const { value } = await stderr.read();
    expect(new TextDecoder().decode(value)).toBe("queued\n");
    const lines = (await child.stdout.text()).split("\n");
    expect(lines).toHaveLength(3001);
    expect(await child.exited).toBe(3);
  });
});
