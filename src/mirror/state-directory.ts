import * as fs from "node:fs";
import * as path from "node:path";
import { z } from "zod";
import { currentBootId } from "../disk/boot-id.ts";
import { DirectoryLock } from "../disk/directory-lock.ts";
import { syncDirectory } from "../disk/sync.ts";
import { STATE_DIRECTORY } from "../disk/trash.ts";
import { asDrayError, systemErrorCode, withContext } from "../errors/dray-error.ts";
import { quoteName } from "../wire/names.ts";
import type { DistrustedSpan } from "./job.ts";
import { Journal } from "./journal.ts";

/** What is known about writes that may not have reached the disk. */
const syncRecordSchema = z.strictObject({
  /** Which boot of the machine wrote this. */
  bootId: z.string(),
  /** Since when there are writes that no sync covers; absent at a clean point. */
  unsyncedSinceMs: z.number().optional(),
  distrusted: z.strictObject({ fromMs: z.number(), untilMs: z.number() }).optional(),
  /** There is from another boot until all has been looked at: see `uncheckedSinceMs` below. */
  uncheckedSinceMs: z.number().optional(),
  /** False while a daemon runs: then its temp files may be left behind. */
  isStopped: z.boolean(),
});
type SyncRecord = z.infer<typeof syncRecordSchema>;

const RECORD_BYTES = 512;
/** File times and the clock may differ by a tick of the kernel's coarse clock. */
const CLOCK_SLACK_MS = 2_000;

/**
 * `.dray/` of a mirror: the lock that keeps a second daemon out, and the record of the last clean
 * point. After an unclean boot, files that were written since the last clean point are not trusted
 * (DESIGN section 3, "Durability").
 */
export class StateDirectory {
  readonly #path: string;
  readonly #lock: DirectoryLock;
  #record: SyncRecord;
  /** Whether the last daemon was killed, and may have left temp files. */
  readonly wasKilled: boolean;

  /** @throws DrayError "refused" when another daemon has the directory; a storage error */
  constructor(mirrorDirectory: string, nowMs: number) {
    this.#path = path.join(mirrorDirectory, STATE_DIRECTORY);
    try {
      fs.mkdirSync(this.#path, { recursive: true });
      this.#lock = new DirectoryLock(this.#path);
    } catch (error) {
      throw withContext(`cannot use ${quoteName(mirrorDirectory)} as the mirror's directory`, error);
    }
    const last = this.#read();
    const bootId = currentBootId();
    this.wasKilled = last !== undefined && !last.isStopped;
    this.#record = { bootId, isStopped: false };
    const distrusted = last === undefined ? undefined : spanAfter(last, bootId, nowMs);
    if (distrusted !== undefined) this.#record.distrusted = distrusted;
    if (last?.bootId === bootId && last.unsyncedSinceMs !== undefined) {
      this.#record.unsyncedSinceMs = last.unsyncedSinceMs;
    }
    const uncheckedSinceMs = last === undefined ? undefined : uncheckedAfter(last, bootId, nowMs);
    if (uncheckedSinceMs !== undefined) this.#record.uncheckedSinceMs = uncheckedSinceMs;
    this.#write();
  }

  /**
   * Defined when the machine has been started since the last daemon: parts of files that changed since this
   * moment may not hold what was written, and what running orders have achieved may have gone again.
   */
  get uncheckedSinceMs(): number | undefined {
    return this.#record.uncheckedSinceMs;
  }

  /** The journal has been opened, and the doubtful parts are gone. */
  checked(): void {
    if (this.#record.uncheckedSinceMs === undefined) return;
    delete this.#record.uncheckedSinceMs;
    this.#write();
  }

  /** Whether files are visible that no sync covers. */
  get isUnsynced(): boolean {
    return this.#record.unsyncedSinceMs !== undefined;
  }

  get distrusted(): DistrustedSpan | undefined {
    return this.#record.distrusted;
  }

  /** To be called before files become visible that are not synced. */
  markUnsynced(nowMs: number): void {
    if (this.#record.unsyncedSinceMs !== undefined) return;
    this.#record.unsyncedSinceMs = nowMs - CLOCK_SLACK_MS;
    this.#write();
  }

  /**
   * A sync that began at `startedMs` has ended well.
   * @param isIdle nothing became visible since then, so this is a clean point
   */
  synced(startedMs: number, isIdle: boolean): void {
    if (this.#record.unsyncedSinceMs === undefined) return;
    if (isIdle) delete this.#record.unsyncedSinceMs;
    else this.#record.unsyncedSinceMs = startedMs - CLOCK_SLACK_MS;
    this.#write();
  }

  /**
   * The journal of orders. One that is damaged is set aside, and a new one begun: the files are not
   * affected, and the orders can be given again. After another boot, running orders look again at all that
   * they have achieved: the journal may have reached the disk before the files did.
   * @param damaged told in a sentence what happened
   */
  openJournal(damaged: (message: string) => void): Journal {
    const journalPath = path.join(this.#path, "journal.db");
    let journal: Journal | undefined;
    try {
      journal = new Journal(journalPath);
      journal.orders();
      if (this.#record.uncheckedSinceMs !== undefined) journal.lookAgain();
      return journal;
    } catch (error) {
      journal?.close();
      const known = asDrayError(error);
      if (known.code === "no-space" || known.code === "refused") {
        throw withContext("Cannot open the mirror's journal", error);
      }
      const aside = `${journalPath}.damaged-${new Date().toISOString().replaceAll(":", "")}`;
      for (const suffix of ["", "-wal", "-shm"]) moveIfThere(journalPath + suffix, aside + suffix);
      damaged(
        `${known.message}. It is kept as ${quoteName(aside)}; orders that were running have to be given again`,
      );
      return new Journal(journalPath);
    }
  }

  /** @param isTidy no temp file was left behind */
  close(isTidy: boolean): void {
    this.#record.isStopped = isTidy;
    this.#write();
    this.#lock.release();
  }

  #read(): SyncRecord | undefined {
    try {
      return syncRecordSchema.parse(JSON.parse(fs.readFileSync(this.#recordPath, "utf8")));
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") return undefined; // a new mirror
      // Damaged by the crash itself, or unreadable: then nothing that is older than now is trusted.
      return { bootId: "", unsyncedSinceMs: 0, isStopped: false };
    }
  }

  /** In place and in one sector: needs no room on a full disk, and is not torn by a power loss. */
  #write(): void {
    const record = Buffer.alloc(RECORD_BYTES, " ");
    record.write(JSON.stringify(this.#record));
    const isNew = !fs.existsSync(this.#recordPath);
    const descriptor = fs.openSync(this.#recordPath, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    try {
      fs.writeSync(descriptor, record, 0, record.length, 0);
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
    if (isNew) syncDirectory(this.#path);
  }

  get #recordPath(): string {
    return path.join(this.#path, "sync-state.json");
  }
}

function moveIfThere(from: string, to: string): void {
  if (fs.existsSync(from)) fs.renameSync(from, to);
}

/** What is not to be trusted after this start: what was unsynced when the machine went down, and what already was not. */
function spanAfter(last: SyncRecord, bootId: string, nowMs: number): DistrustedSpan | undefined {
  if (last.bootId === bootId || last.unsyncedSinceMs === undefined) return last.distrusted;
  return { fromMs: Math.min(last.unsyncedSinceMs, last.distrusted?.fromMs ?? nowMs), untilMs: nowMs };
}

/** Without a mark of unsynced writes, parts are durable only when they were parked, which an orderly end does. */
function uncheckedAfter(last: SyncRecord, bootId: string, nowMs: number): number | undefined {
  if (last.bootId === bootId) return last.uncheckedSinceMs;
  const sinceMs = last.unsyncedSinceMs ?? (last.isStopped ? nowMs : 0);
  return Math.min(sinceMs, last.uncheckedSinceMs ?? nowMs);
}
