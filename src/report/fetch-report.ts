import { barLayout, barLine } from "./bar-line.ts";
import { checksumLine } from "./checksum-line.ts";
import type { FetchEvent } from "./fetch-events.ts";
import { FetchNotes, fetchProgressLine, fileResultLines, treeResultLines } from "./fetch-lines.ts";
import { FetchMeter } from "./fetch-meter.ts";
import { replicaBarLines } from "./replica-bars.ts";
import { jsonLine } from "./json-line.ts";
import { safeText } from "./safe-text.ts";
import { TextOutput } from "./text-output.ts";

/** Without a terminal, so often there is a line about the progress. */
const PROGRESS_INTERVAL_MS = 10_000;
const CLEAR_LINE = "\r\x1b[K";
const CLEAR_BELOW = "\r\x1b[J";
/** Of several servers, so many have a line of their own on a terminal. */
const MAX_REPLICA_LINES = 8;

type Stream = NodeJS.WritableStream & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
};

export interface FetchReportOptions {
  /** JSON Lines on stdout for programs, and nothing on stderr. */
  json: boolean;
  /** Neither progress nor a summary for people; sums are printed all the same. */
  quiet: boolean;
  /** Checksums are printed there; undefined when it holds the file itself. */
  stdout: Stream | undefined;
  stderr: Stream;
  /** What is fetched. */
  label: string;
  /** Milliseconds, monotonic. */
  now: () => number;
}

/** What people and programs see of one fetch. */
export interface FetchReport {
  event(event: FetchEvent): void;
  /** Resolves when the reader of our output has caught up. */
  room(): Promise<void>;
  /** Takes the bar off the screen and resolves when all is written. @throws DrayError when stdout failed */
  close(): Promise<void>;
}

/** A report with the face that fits: JSON Lines, a bar on a terminal, plain lines elsewhere. */
export function createFetchReport(options: FetchReportOptions): FetchReport {
  const stdout = options.stdout && new TextOutput(options.stdout, "standard output");
  if (options.json && stdout !== undefined) {
    return {
      event: (event) => stdout.write(jsonLine(event)),
      room: () => stdout.room(),
      close: () => stdout.flush(),
    };
  }
  return new FetchTextReport(options, stdout);
}

class FetchTextReport implements FetchReport {
  readonly #options: FetchReportOptions;
  readonly #stdout: TextOutput | undefined;
  readonly #stderr: TextOutput;
  readonly #hasBar: boolean;
  readonly #meter: FetchMeter;
  readonly #notes = new FetchNotes();
  #shownLines = 0;
  #lastLineMs: number;

  constructor(options: FetchReportOptions, stdout: TextOutput | undefined) {
    this.#options = options;
    this.#stdout = stdout;
    this.#stderr = new TextOutput(options.stderr, "standard error");
    this.#hasBar = options.stderr.isTTY === true && process.env["TERM"] !== "dumb" && !options.quiet;
    this.#meter = new FetchMeter(options.label);
    this.#lastLineMs = options.now();
  }

  event(event: FetchEvent): void {
    if (event.type === "progress") {
      this.#meter.progress(event, this.#options.now());
      this.#showProgress();
    } else if (event.type === "result") {
      this.#clearBar();
      if ("outcome" in event && event.sha256 !== undefined) this.#printSum(event.sha256, event.path);
      for (const line of "outcome" in event ? fileResultLines(event) : treeResultLines(event))
        this.#tell(line);
    } else {
      if (event.type === "file" && event.sha256 !== undefined) this.#printSum(event.sha256, event.path);
      const line = this.#notes.of(event);
      if (line !== undefined) this.#tell(line);
    }
  }

  async room(): Promise<void> {
    await this.#stdout?.room();
    await this.#stderr.room();
  }

  async close(): Promise<void> {
    this.#clearBar();
    await this.#stderr.settled();
    await this.#stdout?.flush();
  }

  #printSum(sha256: string, path: string): void {
    this.#clearBar();
    const line = checksumLine(sha256, path);
    // Byte for byte as sha256sum prints it, but a terminal is not to be steered by a name.
    this.#stdout?.write(`${this.#options.stdout?.isTTY === true ? safeText(line) : line}\n`);
    if (this.#stdout === undefined) this.#tell(line);
  }

  #tell(line: string): void {
    if (this.#options.quiet) return;
    this.#clearBar();
    this.#stderr.write(`${line}\n`);
  }

  #showProgress(): void {
    if (this.#options.quiet) return;
    const nowMs = this.#options.now();
    const standing = this.#meter.standing(nowMs);
    if (standing === undefined) return;
    if (this.#hasBar) {
      const columns = this.#options.stderr.columns || 80;
      const layout = barLayout(columns, [standing.label]);
      const most = Math.min(MAX_REPLICA_LINES, (this.#options.stderr.rows || 24) - 2);
      const lines = [
        barLine(standing, layout),
        ...replicaBarLines(this.#meter.replicas(nowMs), most, columns),
      ];
      // Drawn from the first line down, and then back to it: whatever is printed next takes its place.
      const back = lines.length > 1 ? `\x1b[J\x1b[${lines.length - 1}A` : "";
      this.#stderr.write(`\r${lines.map((line) => `${line}\x1b[K`).join("\n")}${back}`);
      this.#shownLines = lines.length;
    } else if (nowMs - this.#lastLineMs >= PROGRESS_INTERVAL_MS && standing.filesListed > 0) {
      this.#lastLineMs = nowMs;
      this.#stderr.write(`${fetchProgressLine(standing)}\n`);
    }
  }

  #clearBar(): void {
    if (this.#shownLines > 0) this.#stderr.write(this.#shownLines > 1 ? CLEAR_BELOW : CLEAR_LINE);
    this.#shownLines = 0;
  }
}
