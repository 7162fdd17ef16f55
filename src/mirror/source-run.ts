import type { DrayError } from "../errors/dray-error.ts";
import type { OrderSource, SourceProgress, SourceResult, SourceStatus } from "../wire/order.ts";
import type { JobItem } from "./job.ts";
import type { StandingCounts } from "./journal.ts";
import { SizeStatistics } from "./size-statistics.ts";

/** How one source of one order is doing: counts, and in the end its status. Pure. */
export class SourceRun {
  readonly source: OrderSource;
  state: SourceProgress["state"] = "connecting";
  isListComplete = false;
  /** What the list held, whatever becomes of it, but for `standing`. */
  listedItems = 0;
  /** What was found to be in the mirror when it was listed, and is no item of the journal. */
  standing = { directories: 0, sizes: new SizeStatistics() };
  filesListed = 0;
  bytesListed = 0;
  linksListed = 0;
  /** Bytes of files that are not done yet. */
  bytesUnderWay = 0;
  /** Files that are there, whole and verified. */
  sizes = new SizeStatistics();
  directories = 0;
  unchanged = 0;
  /** Symbolic links that are there. */
  links = 0;
  skipped = 0;
  /** Files and links that were not here before. */
  newcomers = 0;
  /** What a dry run would fetch. */
  planned = { files: 0, bytes: 0, deletions: 0 };
  deleted = 0;
  rotten = 0;
  /** Why nothing was deleted though something would have been. */
  guard: string | undefined;
  failed = 0;
  /** Items that failed and are tried again in the next pass. */
  again = 0;
  /** Those of them that have something in their way. */
  obstructed = 0;
  /** What ended the source as a whole, rather than one file of it. */
  error: DrayError | undefined;

  constructor(source: OrderSource) {
    this.source = source;
  }

  /** Forgets what was listed and achieved, to list anew. */
  reset(): void {
    this.isListComplete = false;
    this.listedItems = this.filesListed = this.bytesListed = this.linksListed = 0;
    this.sizes = new SizeStatistics();
    this.standing = { directories: 0, sizes: new SizeStatistics() };
    this.directories = this.unchanged = this.links = this.skipped = this.failed = this.again = 0;
    this.newcomers = this.obstructed = this.deleted = this.rotten = 0;
    this.planned = { files: 0, bytes: 0, deletions: 0 };
    this.error = this.guard = undefined;
  }

  listed(kind: JobItem["kind"], sizeBytes: number): void {
    if (kind === "symlink") this.linksListed++;
    if (kind !== "file") return;
    this.filesListed++;
    this.bytesListed += sizeBytes;
  }

  /** A file or directory is in the mirror as it is listed. @param isItem whether the journal has it as an item */
  stands(kind: "file" | "directory", sizeBytes: number, isItem: boolean): void {
    if (kind === "directory") {
      this.directories++;
      if (!isItem) this.standing.directories++;
      return;
    }
    this.listed(kind, sizeBytes);
    this.unchanged++;
    this.sizes.add(sizeBytes);
    if (!isItem) this.standing.sizes.add(sizeBytes);
  }

  /** Counts again what an earlier daemon found standing. */
  restoreStanding({ directories, sizes }: StandingCounts): void {
    this.standing.directories += directories;
    this.directories += directories;
    this.standing.sizes.merge(sizes);
    this.sizes.merge(sizes);
    this.unchanged += sizes.count;
    this.filesListed += sizes.count;
    this.bytesListed += sizes.sumBytes;
  }

  plan(sizeBytes: number): void {
    this.planned.files++;
    this.planned.bytes += sizeBytes;
  }

  get key(): { host: string; port: number; path: string } {
    const { host, port, path } = this.source;
    return { host, port, path };
  }

  get progress(): SourceProgress {
    const { state, filesListed, bytesListed, failed, isListComplete: listComplete } = this;
    const bytesDone = this.sizes.sumBytes + this.planned.bytes + this.bytesUnderWay;
    const filesDone = this.sizes.count + this.planned.files;
    return { ...this.key, state, listComplete, filesListed, bytesListed, filesDone, bytesDone, failed };
  }

  get result(): SourceResult {
    const files = this.sizes.count;
    const { status, deleted } = this;
    const result: SourceResult = { ...this.key, status, files, bytes: this.sizes.sumBytes, deleted };
    if (this.guard !== undefined) result.guard = this.guard;
    if (this.error !== undefined) result.error = this.error.message;
    return result;
  }

  get status(): SourceStatus {
    if (this.error === undefined) return this.failed === 0 ? "complete" : "partial";
    if (this.sizes.count + this.links + this.directories > 0) return "partial";
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
