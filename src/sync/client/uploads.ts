import { DrayError, asDrayError } from "../../errors/dray-error.ts";
import { syncedPath } from "../names.ts";
import type { OpenFile, TreePath } from "../ports.ts";
import type { Core } from "./core.ts";
import type { PathEntry } from "./path-book.ts";
import { stampOf } from "./path-record.ts";
import { isStamped, type LocalStamp } from "./reconcile.ts";
import { LITERAL_UPLOADS, PARALLEL_UPLOADS, UploadQueue } from "./upload-queue.ts";
import type { UploadEnd } from "./upload-run.ts";

/** After a failure, doubling. */
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 300_000;
/** From this size on the user's file is written to the disk while it is being sent, and not only before its end. */
const EARLY_SYNC_BYTES = 16 * 1024 * 1024;

interface Running {
  readonly entry: PathEntry;
  readonly stamp: LocalStamp;
  readonly sinceMs: number;
  /** Resolves when it has ended, in whatever way. */
  readonly ended: Promise<void>;
  readonly resolve: () => void;
  stop: () => boolean;
}

/** Files on their way to the server. */
export class Uploads {
  readonly #core: Core;
  readonly #queue = new UploadQueue();
  readonly #running = new Map<string, Running>();
  /** To be sent one chunk at a time, after damage. */
  readonly #careful = new Set<string>();

  constructor(core: Core) {
    this.#core = core;
  }

  get size(): number {
    return this.#queue.waiting + this.#queue.running;
  }

  hasSize(sizeBytes: number): boolean {
    return this.#queue.hasSize(sizeBytes);
  }

  /** A list of what the server has is there, on a new connection, or late on this one: all is decided anew. */
  connected(isOurs: boolean): void {
    this.#queue.clear();
    // What is under way ends in its own way, so that its Abort does not meet what comes after it.
    for (const running of this.#running.values()) running.stop();
    this.#queue.limit(isOurs ? PARALLEL_UPLOADS : LITERAL_UPLOADS);
  }

  want(entry: PathEntry, sizeBytes: number): void {
    this.#queue.add(entry.name, sizeBytes);
    this.#pump();
  }

  drop(name: string): void {
    this.#queue.drop(name);
  }

  /**
   * Somebody else's content comes under this name: breaks off what is being sent of it. When the server may have all
   * of it already, waits for what it says.
   */
  async yieldTo(entry: PathEntry): Promise<void> {
    this.#queue.drop(entry.name);
    const running = this.#running.get(entry.name);
    if (running === undefined) return;
    if (!running.stop()) return await running.ended;
    this.#leave(running);
  }

  #pump(): void {
    for (;;) {
      const online = this.#core.online();
      const name = online === undefined ? undefined : this.#queue.next();
      if (online === undefined || name === undefined) return;
      this.#begin(this.#core.book.at(name));
    }
  }

  #begin(entry: PathEntry): void {
    const { local } = entry;
    const opened = local.kind === "file" ? this.#open(entry, local) : undefined;
    if (opened === undefined || local.kind !== "file") {
      this.#queue.ended(entry.name);
      return this.#core.hint(entry.name);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const stamp = stampOf(local);
    const sinceMs = this.#core.ports.clock.monotonicMs();
    const running: Running = { entry, stamp, sinceMs, ended: promise, resolve, stop: () => true };
    this.#running.set(entry.name, running);
    entry.work = "uploading";
    const { name } = entry;
    const { file, path } = opened;
    const verify = (): void => this.#verify(path, file, stamp);
    const early = stamp.sizeBytes < EARLY_SYNC_BYTES ? undefined : file.sync();
    early?.catch(() => undefined); // thrown where it is waited for
    running.stop = this.#core.online()!.outbox.upload(
      { name, sizeBytes: stamp.sizeBytes, isCareful: this.#careful.has(name) },
      { file, verify },
      {
        progressed: () => {},
        closing: async (md5) => {
          const sent = { ...stamp, md5, sequence: undefined };
          // Should the power fail now, the file must not look as if its user had deleted it.
          await early;
          await Promise.all([file.sync(), this.#core.syncs.sync(path.slice(0, -1))]);
          await this.#core.book.record(entry, { base: entry.base, intent: { kind: "upload", sent } });
        },
        ended: (end, md5, error) => this.#ended(running, end, md5, error),
      },
    );
  }

  #open(entry: PathEntry, local: LocalStamp): { file: OpenFile; path: TreePath } | undefined {
    const found = syncedPath(entry.name, this.#core.settings.platform);
    if ("problem" in found) return undefined;
    try {
      const file = this.#core.ports.tree.open(found.path);
      if (isStamped(local, file.stat())) return { file, path: found.path };
      file.close();
    } catch (error) {
      const known = asDrayError(error);
      if (known.code !== "not-found") this.#retryLater(entry, `cannot be read: ${known.message}`);
    }
    return undefined;
  }

  /** What was read is what stands there, unchanged since it came to rest. @throws DrayError "changed" */
  #verify(path: TreePath, file: OpenFile, stamp: LocalStamp): void {
    const named = this.#core.ports.tree.stat(path);
    if (named !== undefined && isStamped(stamp, named) && isStamped(stamp, file.stat())) return;
    throw new DrayError("changed", "it was changed while it was being sent");
  }

  /** It is not this upload's any more. */
  #leave(running: Running): void {
    const { entry } = running;
    if (this.#running.get(entry.name) !== running) return;
    this.#running.delete(entry.name);
    this.#queue.ended(entry.name);
    if (entry.work === "uploading") entry.work = undefined;
    running.resolve();
  }

  #ended(running: Running, end: UploadEnd, md5: string | undefined, error: unknown): void {
    const isOurs = this.#running.get(running.entry.name) === running;
    this.#leave(running);
    if (isOurs) this.#settle(running, end, md5, error);
    this.#pump();
  }

  #settle({ entry, stamp, sinceMs }: Running, end: UploadEnd, md5: string | undefined, error: unknown): void {
    const { clock } = this.#core.ports;
    if (end === "committed" && md5 !== undefined) {
      this.#careful.delete(entry.name);
      entry.failures = 0;
      entry.problem = undefined;
      entry.remote = {
        kind: "file",
        md5,
        sizeBytes: stamp.sizeBytes,
        mtimeUs: undefined,
        sequence: undefined,
      };
      const base = { ...stamp, md5, sequence: undefined };
      this.#core.book.recordSoon(entry, { base, intent: undefined });
      const durationMs = Math.round(clock.monotonicMs() - sinceMs);
      this.#core.tell({ type: "sent", name: entry.name, sizeBytes: stamp.sizeBytes, durationMs });
    } else if (end === "locked") {
      // A file that becomes a directory, or the other way round: the server still has the one that goes.
      if (this.#core.book.isInTheWay(entry.name)) {
        entry.notBeforeMs = clock.monotonicMs() + FIRST_RETRY_MS;
        return this.#core.consider(entry);
      }
      const { lockedRetryMs } = this.#core.settings;
      entry.problem = "the server refused it: somebody else was writing it, or it cannot store it";
      entry.notBeforeMs = lockedRetryMs === 0 ? Infinity : clock.monotonicMs() + lockedRetryMs;
      this.#core.tell({ type: "refused", name: entry.name, message: entry.problem });
    } else if (end === "again") {
      this.#careful.add(entry.name);
    } else if (end === "damaged") {
      this.#careful.add(entry.name);
      this.#retryLater(entry, "it did not reach the server undamaged");
    } else if (error !== undefined) {
      const known = asDrayError(error);
      if (known.code === "changed" || known.code === "not-found") this.#core.hint(entry.name);
      else this.#retryLater(entry, known.message);
    }
    this.#core.consider(entry);
  }

  #retryLater(entry: PathEntry, why: string): void {
    const delayMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(entry.failures, 20));
    entry.failures++;
    entry.problem = why;
    entry.notBeforeMs = this.#core.ports.clock.monotonicMs() + delayMs;
    this.#core.tell({ type: "refused", name: entry.name, message: why });
  }
}
