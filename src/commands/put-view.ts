import type { ErrorCode } from "../errors/codes.ts";
import type { PutOptions } from "../options/put-options.ts";
import type { PutFailure, PutResult, PutServerResult } from "../report/put-events.ts";
import { statusOf } from "../report/put-exit-code.ts";
import { createPutReport, type PutReport } from "../report/put-report.ts";
import type { PutEvents, PutRun, ServerOutcome } from "../upload/put-run.ts";

const PROGRESS_INTERVAL_MS = 250;
/** Failures that the result lists; each one is an event of its own. */
const MAX_LISTED_FAILURES = 1000;

/** What a put does, on its way to the report. */
export class PutView {
  /** The code of each failure, each kind once. */
  readonly codes = new Set<ErrorCode>();
  readonly events: PutEvents;
  readonly #report: PutReport;
  readonly #startedMs = performance.now();
  readonly #failures: PutFailure[] = [];
  #run: PutRun | undefined;
  #timer: Timer | undefined;

  constructor({ json, logLevel, into, as, attempts }: PutOptions) {
    const { stdout, stderr } = process;
    this.#report = createPutReport({
      json,
      quiet: logLevel === "error" || logLevel === "warn",
      stdout,
      stderr,
      into: as ?? into ?? ".",
      now: () => performance.now(),
    });
    const report = this.#report;
    this.events = {
      localFailed: (file, { code, message }) => this.#failed({ file, code, message }),
      localSkipped: (file, reason) => report.event({ type: "skipped", file, reason }),
      counted: () => this.#progress(),
      done: ({ target }, { path, sizeBytes }, bytesResumed) =>
        report.event({ type: "file", ...target, path, sizeBytes, bytesResumed }),
      failed: ({ target }, { localPath }, { code, message }) =>
        this.#failed({ file: localPath, ...target, code, message }),
      retrying: ({ target }, { localPath: file }, { code, message }, attempt) =>
        report.event({ type: "retry", ...target, file, code, message, attempt, attempts }),
      serverOver: (server) => {
        if (server.error !== undefined) this.codes.add(server.error.code);
        report.event({ type: "server", ...this.#resultOf(server) });
      },
      room: () => report.room(),
    };
  }

  follow(run: PutRun): void {
    this.#run = run;
    this.#timer = setInterval(() => this.#progress(), PROGRESS_INTERVAL_MS);
  }

  /** Tells the result. */
  result(): void {
    const { totals, servers } = this.#run!;
    const results = servers.map((server) => this.#resultOf(server));
    const sum = (of: (server: PutServerResult) => number): number =>
      results.reduce((total, server) => total + of(server), 0);
    const result: PutResult = {
      type: "result",
      files: totals.files,
      bytes: totals.bytes,
      bytesTransferred: sum((server) => server.bytesTransferred),
      bytesResumed: sum((server) => server.bytesResumed),
      skipped: totals.skipped,
      failed: totals.failed + sum((server) => server.failed),
      durationMs: Math.round(performance.now() - this.#startedMs),
      servers: results,
      failures: this.#failures,
    };
    this.#report.event(result);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#report.close();
  }

  #failed(failure: PutFailure & { code: ErrorCode }): void {
    this.codes.add(failure.code);
    if (this.#failures.length < MAX_LISTED_FAILURES) this.#failures.push(failure);
    this.#report.event({ type: "failure", ...failure });
  }

  #progress(): void {
    const { totals, servers } = this.#run!;
    this.#report.event({
      type: "progress",
      durationMs: Math.round(performance.now() - this.#startedMs),
      files: totals.files,
      bytes: totals.bytes,
      servers: servers.map(({ target, isOver, files, failed, bytesTransferred, bytesResumed }) => ({
        ...target,
        state: isOver ? "done" : "transferring",
        files,
        failed,
        bytesTransferred,
        bytesResumed,
      })),
    });
  }

  #resultOf(server: ServerOutcome): PutServerResult {
    const { target, files, bytes, bytesTransferred, bytesResumed, error } = server;
    const { totals } = this.#run!;
    // What a server that was given up has not got has failed, too.
    const failed = server.error === undefined ? server.failed : totals.files - files;
    const counts = { files, bytes, bytesTransferred, bytesResumed, failed };
    const status = statusOf(error?.code, files, failed);
    return { ...target, status, ...counts, ...(error === undefined ? {} : { error: error.message }) };
  }
}
