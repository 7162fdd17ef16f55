import { jsonLine } from "./json-line.ts";
import { OrderBars } from "./order-bars.ts";
import type { ProgressEvent } from "./order-meter.ts";
import type { PutReportOptions } from "./put-report.ts";
import type { SplitEvent, SplitProgress } from "./split-events.ts";
import { SplitNotes, splitFileText, splitProgressLine, splitResultText } from "./split-lines.ts";
import { TextOutput } from "./text-output.ts";

/** Without a terminal, a line so often is enough. */
const LINE_INTERVAL_MS = 10_000;

/** What people and programs see of a put of split files. */
export interface SplitReport {
  event(event: SplitEvent): void;
  /** Resolves when the reader of our output has caught up. */
  room(): Promise<void>;
  /** Resolves when all is written. @throws DrayError when stdout failed */
  close(): Promise<void>;
}

/** A report with the face that fits: JSON Lines, live bars on a terminal, plain lines elsewhere. */
export function createSplitReport(options: PutReportOptions): SplitReport {
  const stdout = new TextOutput(options.stdout, "standard output");
  if (!options.json) return new SplitTextReport(options, stdout);
  return {
    event: (event) => stdout.write(jsonLine(event)),
    room: () => stdout.room(),
    close: () => stdout.flush(),
  };
}

class SplitTextReport implements SplitReport {
  readonly #options: PutReportOptions;
  readonly #stdout: TextOutput;
  readonly #stderr: TextOutput;
  readonly #bars: OrderBars | undefined;
  readonly #notes = new SplitNotes();
  /** What became of each file: told at the end, below the bars. */
  #files = "";
  #lastLineMs: number;

  constructor(options: PutReportOptions, stdout: TextOutput) {
    this.#options = options;
    this.#stdout = stdout;
    this.#stderr = new TextOutput(options.stderr, "standard error");
    this.#lastLineMs = options.now();
    const hasBars = options.stderr.isTTY === true && process.env["TERM"] !== "dumb" && !options.quiet;
    if (hasBars) this.#bars = new OrderBars(options.stderr, (text) => this.#stderr.write(text), options.now);
  }

  event(event: SplitEvent): void {
    if (event.type === "copy" || this.#options.quiet) return;
    if (event.type === "progress") return this.#progress(event);
    if (event.type === "placed" || event.type === "repaired") {
      if (this.#bars === undefined) this.#stdout.write(splitFileText(event));
      else this.#files += splitFileText(event);
      return;
    }
    if (event.type === "result") {
      this.#bars?.close();
      this.#stdout.write(this.#files + splitResultText(event));
      return;
    }
    const line = this.#notes.of(event);
    if (line === undefined) return;
    if (this.#bars === undefined) this.#stderr.write(`${line}\n`);
    else this.#bars.print(line);
  }

  async room(): Promise<void> {
    await this.#stdout.room();
    await this.#stderr.room();
  }

  async close(): Promise<void> {
    this.#bars?.close();
    await this.#stderr.settled();
    await this.#stdout.flush();
  }

  #progress(progress: SplitProgress): void {
    // As long as files are only read there is nothing for bars to show.
    const isPlacing = progress.servers.some(({ copiesWanted }) => copiesWanted > 0);
    if (this.#bars !== undefined && isPlacing)
      return this.#bars.progress(asOrderProgress(progress, this.#options.into));
    const nowMs = this.#options.now();
    if (nowMs - this.#lastLineMs < LINE_INTERVAL_MS) return;
    this.#lastLineMs = nowMs;
    const line = splitProgressLine(progress);
    if (this.#bars === undefined) this.#stderr.write(`${line}\n`);
    else this.#bars.print(line);
  }
}

/** The bars of an order show servers just as well as sources. */
function asOrderProgress({ durationMs, servers }: SplitProgress, path: string): ProgressEvent {
  return {
    type: "progress",
    orderId: "",
    durationMs,
    bytesTransferred: servers.reduce((sum, server) => sum + server.bytesTransferred, 0),
    sources: servers.map((server) => ({
      host: server.host,
      port: server.port,
      path,
      state: server.state,
      listComplete: true,
      filesListed: server.copiesWanted,
      filesDone: server.copies,
      bytesListed: server.bytesWanted,
      bytesDone: Math.min(server.bytesWanted, server.bytesTransferred + server.bytesResumed),
      failed: server.failed,
    })),
  };
}
