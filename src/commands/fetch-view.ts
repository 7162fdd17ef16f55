import type { DrayError } from "../errors/dray-error.ts";
import type { KeptPart } from "../fetch/fetch-file.ts";
import type { FetchCounters } from "../fetch/fetch-setting.ts";
import type { Replica } from "../fetch/replica.ts";
import type { Retry } from "../fetch/retry-policy.ts";
import type { FetchOptions } from "../options/fetch-options.ts";
import type { FetchEvent, ReplicaProgress } from "../report/fetch-events.ts";
import { createFetchReport, type FetchReport } from "../report/fetch-report.ts";
import { safeName } from "../report/safe-text.ts";
import { formatBytes } from "../report/units.ts";

const PROGRESS_INTERVAL_MS = 250;

/** What a fetch counts, on its way to the report. */
export class FetchView {
  readonly counters: FetchCounters = {
    doneBytes: 0,
    transferredBytes: 0,
    resumedBytes: 0,
    seededBytes: 0,
    wastedBytes: 0,
  };
  readonly total = { files: 0, bytes: 0 };
  filesDone = 0;
  /** The servers, where there are several. */
  replicas: readonly Replica[] | undefined;
  /** What the error message says of what is left; empty if nothing is. */
  keptText = "";
  readonly #task: "stream" | "tree" | "file";
  readonly #startedMs = performance.now();
  readonly #report: FetchReport;
  readonly #timer: Timer;

  constructor({ file, json, logLevel }: FetchOptions, task: "stream" | "tree" | "file") {
    const { stdout, stderr } = process;
    this.#task = task;
    this.#report = createFetchReport({
      json,
      quiet: logLevel === "error" || logLevel === "warn",
      stdout: task === "stream" ? undefined : stdout,
      stderr,
      label: file.split("/").findLast((component) => component !== "" && component !== ".") ?? file,
      now: () => performance.now(),
    });
    this.#timer = setInterval(() => this.#progress(), PROGRESS_INTERVAL_MS);
  }

  get durationMs(): number {
    return Math.round(performance.now() - this.#startedMs);
  }

  event(event: FetchEvent): void {
    this.#report.event(event);
  }

  /** Resolves when the reader of our output has caught up. */
  room(): Promise<void> {
    return this.#report.room();
  }

  /** A file is begun. Of a directory, only what is gone on with is worth a word. */
  started(file: string, sizeBytes: number, bytesResumed: number): void {
    if (this.#task === "file") {
      this.total.files = 1;
      this.total.bytes = sizeBytes;
    } else if (bytesResumed === 0) return;
    this.event({ type: "started", file, sizeBytes, bytesResumed });
  }

  readonly retrying = ({ code, message }: DrayError, { waitMs, attempt, attempts }: Retry): void => {
    const limit = attempts === undefined ? {} : { attempts };
    this.event({ type: "retry", code, message, waitMs, attempt, ...limit });
  };

  kept(directory: string, { partName, bytes, sizeBytes }: KeptPart): void {
    const where = `${safeName(partName)} in ${safeName(directory)}`;
    this.keptText = `; ${formatBytes(bytes)} of ${formatBytes(sizeBytes)} are kept as ${where}, and the same command goes on from there`;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#report.close();
  }

  #progress(): void {
    const { doneBytes: bytes, transferredBytes: bytesTransferred } = this.counters;
    const { files: filesTotal, bytes: bytesTotal } = this.total;
    const counts = { files: this.filesDone, filesTotal, bytes, bytesTotal, bytesTransferred };
    const replicas = this.replicas?.filter(({ status }) => status !== "pending").map(replicaProgress);
    this.event({ type: "progress", ...counts, ...(replicas === undefined ? {} : { replicas }) });
  }
}

function replicaProgress({ target, status, verifiedBytes }: Replica): ReplicaProgress {
  return { ...target, status, bytes: verifiedBytes };
}
