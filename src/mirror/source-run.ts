import type { DrayError } from "../errors/dray-error.ts";
import type { OrderSource, SourceProgress, SourceResult, SourceStatus } from "../wire/order.ts";

/** How one source of one order is doing: counts, and in the end its status. Pure. */
export class SourceRun {
  readonly source: OrderSource;
  state: SourceProgress["state"] = "connecting";
  isListComplete = false;
  filesListed = 0;
  bytesListed = 0;
  filesDone = 0;
  bytesDone = 0;
  /** Bytes of files that are not done yet. */
  bytesUnderWay = 0;
  directoriesDone = 0;
  failed = 0;
  /** What ended the source as a whole, rather than one file of it. */
  error: DrayError | undefined;

  constructor(source: OrderSource) {
    this.source = source;
  }

  get key(): { host: string; port: number; path: string } {
    const { host, port, path } = this.source;
    return { host, port, path };
  }

  get progress(): SourceProgress {
    const { state, filesListed, bytesListed, filesDone, failed } = this;
    const bytesDone = this.bytesDone + this.bytesUnderWay;
    const listComplete = this.isListComplete;
    return { ...this.key, state, listComplete, filesListed, bytesListed, filesDone, bytesDone, failed };
  }

  get result(): SourceResult {
    const result: SourceResult = {
      ...this.key,
      status: this.status,
      files: this.filesDone,
      bytes: this.bytesDone,
    };
    if (this.error !== undefined) result.error = this.error.message;
    return result;
  }

  get status(): SourceStatus {
    if (this.error === undefined) return this.failed === 0 ? "complete" : "partial";
    if (this.filesDone + this.directoriesDone > 0) return "partial";
    switch (this.error.code) {
      case "not-found":
        return "not-found";
      case "unauthorized":
      case "refused":
      case "name":
      case "unsupported":
        return "refused";
      case "unreachable":
      case "timeout":
      case "closed":
      case "busy":
      case "protocol":
      case "integrity":
        return "unreachable";
      default:
        return "partial";
    }
  }
}
