import { jsonLine } from "./json-line.ts";
import { OrderBars, type Terminal } from "./order-bars.ts";
import type { ProgressEvent } from "./order-meter.ts";
import type { PutEvent, PutProgress } from "./put-events.ts";
import { PutNotes, putProgressLine, putResultText } from "./put-lines.ts";
import { TextOutput } from "./text-output.ts";

/** Without a terminal, a line so often is enough. */
const LINE_INTERVAL_MS = 10_000;

export interface PutReportOptions {
  /** JSON Lines on stdout for programs, and nothing on stderr. */
  json: boolean;
  /** Nothing on stderr, and nothing on stdout either without `json`. */
  quiet: boolean;
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream & Terminal & { readonly isTTY?: boolean };
  /** Where files go on the servers, for the bars. */
  into: string;
  /** Milliseconds, monotonic. */
  now: () => number;
}

/** What people and programs see of one put. */
export interface PutReport {
  event(event: PutEvent): void;
  /** Resolves when the reader of our output has caught up. */
  room(): Promise<void>;
  /** Resolves when all is written. @throws DrayError when stdout failed */
  close(): Promise<void>;
}

/** A report with the face that fits: JSON Lines, live bars on a terminal, plain lines elsewhere. */
export function createPutReport(options: PutReportOptions): PutReport {
  const stdout = new TextOutput(options.stdout, "standard output");
  if (!options.json) return new PutTextReport(options, stdout);
  return {
    event: (event) => stdout.write(jsonLine(event)),
    room: () => stdout.room(),
    close: () => stdout.flush(),
  };
}

class PutTextReport implements PutReport {
  readonly #options: PutReportOptions;
  readonly #stdout: TextOutput;
  readonly #stderr: TextOutput;
  readonly #bars: OrderBars | undefined;
  readonly #notes = new PutNotes();
  #lastLineMs: number;

  constructor(options: PutReportOptions, stdout: TextOutput) {
    this.#options = options;
    this.#stdout = stdout;
    this.#stderr = new TextOutput(options.stderr, "standard error");
    this.#lastLineMs = options.now();
    const hasBars = options.stderr.isTTY === true && process.env["TERM"] !== "dumb" && !options.quiet;
    if (hasBars) this.#bars = new OrderBars(options.stderr, (text) => this.#stderr.write(text), options.now);
  }

  event(event: PutEvent): void {
    if (event.type === "file" || this.#options.quiet) return;
    if (event.type === "progress") return this.#progress(event);
    if (event.type === "result") {
      this.#bars?.close();
      this.#stdout.write(putResultText(event));
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

  #progress(progress: PutProgress): void {
    if (this.#bars !== undefined) return this.#bars.progress(asOrderProgress(progress, this.#options.into));
    const nowMs = this.#options.now();
    if (nowMs - this.#lastLineMs < LINE_INTERVAL_MS) return;
    this.#lastLineMs = nowMs;
    this.#stderr.write(`${putProgressLine(progress)}\n`);
  }
}

/** The bars of an order show servers just as well as sources. */
function asOrderProgress({ durationMs, files, bytes, servers }: PutProgress, path: string): ProgressEvent {
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
      filesListed: files,
      filesDone: server.files,
      bytesListed: bytes,
      bytesDone: Math.min(bytes, server.bytesTransferred + server.bytesResumed),
      failed: server.failed,
    })),
  };
}
