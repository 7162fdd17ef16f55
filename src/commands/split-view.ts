import type { ErrorCode } from "../errors/codes.ts";
import type { DrayError } from "../errors/dray-error.ts";
import type { PutOptions } from "../options/put-options.ts";
import type { PutFailure } from "../report/put-events.ts";
import { statusOf } from "../report/put-exit-code.ts";
import type { SplitProgress, SplitServerResult } from "../report/split-events.ts";
import { type SplitReport, createSplitReport } from "../report/split-report.ts";
import type { LocalFile } from "../upload/local-files.ts";
import type { PartServer } from "../upload/part-server.ts";
import type { LocalTotals } from "../upload/put-run.ts";
import type { Repaired } from "../upload/split-repair.ts";
import type { SplitRunEvents } from "../upload/split-run.ts";

const PROGRESS_INTERVAL_MS = 250;
/** Failures that the result lists; each one is an event of its own. */
const MAX_LISTED_FAILURES = 1000;

/** What is followed: a put of split files, or a repair. */
interface Followed {
  readonly totals: LocalTotals;
  readonly servers: readonly PartServer[];
}

/** What a put of split files or a repair does, on its way to the report. */
export class SplitView {
  /** The code of each failure, each kind once. */
  readonly codes = new Set<ErrorCode>();
  readonly events: SplitRunEvents & { repaired(path: string, repaired: Repaired): void };
  readonly #report: SplitReport;
  readonly #startedMs = performance.now();
  readonly #failures: PutFailure[] = [];
  readonly #told = new Set<PartServer>();
  #failed = 0;
  #bytesRead = 0;
  #followed: Followed | undefined;
  #timer: Timer | undefined;

  constructor({ json, logLevel, into, as, attempts }: PutOptions) {
    const { stdout, stderr } = process;
    this.#report = createSplitReport({
      json,
      quiet: logLevel === "error" || logLevel === "warn",
      stdout,
      stderr,
      into: as ?? into ?? ".",
      now: () => performance.now(),
    });
    const report = this.#report;
    this.events = {
      localFailed: (file, { code, message }) => this.#fail({ file, code, message }),
      localSkipped: (file, reason) => report.event({ type: "skipped", file, reason }),
      read: (_, bytes) => void (this.#bytesRead += bytes),
      placed: ({ target }, { path, sizeBytes }, bytesResumed) =>
        report.event({ type: "copy", ...target, path, sizeBytes, bytesResumed }),
      refused: (server, file, error) => this.#serverFailed(server, file, error),
      serverFailed: (server, file, error) => {
        this.codes.add(error.code);
        this.#serverFailed(server, file, error);
      },
      retrying: ({ target }, { localPath: file }, { code, message }, attempt) =>
        report.event({ type: "retry", ...target, file, code, message, attempt, attempts }),
      rotten: ({ target }, path) => report.event({ type: "rotten", ...target, path }),
      lost: (server) => this.#tellServer(server),
      room: () => report.room(),
      placedFile: ({ localPath: file, path }, { manifest, manifests, short }) => {
        if (short.length > 0) this.codes.add("partial");
        const { sizeBytes, root: sha256, parts, copies } = manifest;
        report.event({
          type: "placed",
          file,
          path,
          sizeBytes,
          sha256,
          parts: parts.length,
          copies,
          manifests,
          short,
        });
      },
      repaired: (path, { manifest, short, ...counts }) => {
        if (short.length > 0) this.codes.add("partial");
        const { sizeBytes, root: sha256, parts, copies } = manifest;
        report.event({
          type: "repaired",
          path,
          sizeBytes,
          sha256,
          parts: parts.length,
          copies,
          ...counts,
          short,
        });
      },
    };
  }

  follow(followed: Followed): void {
    this.#followed = followed;
    this.#timer = setInterval(() => this.#report.event(this.#progress()), PROGRESS_INTERVAL_MS);
  }

  /** Tells the result. */
  result(): void {
    const { totals, servers } = this.#followed!;
    for (const server of servers) this.#tellServer(server);
    const sum = (of: (server: PartServer) => number): number =>
      servers.reduce((total, server) => total + of(server), 0);
    this.#report.event({
      type: "result",
      files: totals.files,
      bytes: totals.bytes,
      bytesTransferred: sum((server) => server.bytesTransferred),
      bytesResumed: sum((server) => server.bytesResumed),
      skipped: totals.skipped,
      failed: this.#failed,
      durationMs: Math.round(performance.now() - this.#startedMs),
      servers: servers.map(resultOf),
      failures: this.#failures,
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#report.close();
  }

  /** A copy that one server does not take may be on another: what counts is whether the parts have enough. */
  #serverFailed({ target }: PartServer, { localPath: file }: LocalFile, error: DrayError): void {
    this.#tell({ file, ...target, code: error.code, message: error.message });
  }

  #fail(failure: PutFailure & { code: ErrorCode }): void {
    this.codes.add(failure.code);
    this.#tell(failure);
  }

  #tell(failure: PutFailure): void {
    this.#failed++;
    if (this.#failures.length < MAX_LISTED_FAILURES) this.#failures.push(failure);
    this.#report.event({ type: "failure", ...failure });
  }

  #tellServer(server: PartServer): void {
    if (this.#told.has(server)) return;
    this.#told.add(server);
    this.#report.event({ type: "server", ...resultOf(server) });
  }

  #progress(): SplitProgress {
    return {
      type: "progress",
      durationMs: Math.round(performance.now() - this.#startedMs),
      bytesRead: this.#bytesRead,
      servers: this.#followed!.servers.map((server) => ({
        ...server.target,
        state: server.isOver || server.isLost ? "done" : "transferring",
        copies: server.files,
        copiesWanted: server.wantedFiles,
        bytesWanted: server.wantedBytes,
        bytesTransferred: server.bytesTransferred,
        bytesResumed: server.bytesResumed,
        failed: server.failed,
      })),
    };
  }
}

function resultOf({
  target,
  files,
  bytes,
  bytesTransferred,
  bytesResumed,
  failed,
  error,
}: PartServer): SplitServerResult {
  // A server that was given up has not done what it should, even if no copy was meant for it.
  const status = statusOf(error?.code, files, error === undefined ? failed : Math.max(1, failed));
  const counts = { copies: files, bytes, bytesTransferred, bytesResumed, failed };
  return { ...target, status, ...counts, ...(error === undefined ? {} : { error: error.message }) };
}
