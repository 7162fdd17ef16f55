import { DrayError, asDrayError } from "../../errors/dray-error.ts";
import type { Clock, Hasher, Ledger, LedgerChange, Md5, OpenFile, Stat, Tree, TreePath } from "../ports.ts";
import type { Publisher } from "../publication.ts";
import type { StagedFile } from "../staging.ts";
import type { JobQueue } from "./job-queue.ts";
import type { FileEntry, Roster, Tombstone } from "./roster.ts";
import { rowOf, sequenceRow } from "./roster-rows.ts";
import type { Upload } from "./upload.ts";

/** A file that has come whole. */
export interface StagedUpload {
  readonly name: string;
  readonly path: TreePath;
  readonly staged: StagedFile;
  readonly md5: Md5;
  readonly sizeBytes: number;
  readonly upload: Upload;
}

/** Somebody at the server's own machine may change the same file: so often it is looked at anew. */
const MAX_LOOKS = 8;

export interface ChangesPorts {
  readonly clock: Clock;
  readonly tree: Tree;
  readonly ledger: Ledger;
  readonly hasher: Hasher;
}

/**
 * Changes of the served folder: those of one file one after the other, those of many files side by side as jobs of the
 * pool, so that they share their syncs. Order: content, then its name, then the ledger; then it counts.
 */
export class Changes {
  readonly #ports: ChangesPorts;
  readonly #publisher: Publisher;
  readonly #roster: Roster;
  readonly #jobs: JobQueue;
  readonly #unwritten: (error: DrayError) => void;
  readonly #last = new Map<string, Promise<unknown>>();

  /**
   * @param unwritten told when a change that has been made could not be written down: the content is safe under its
   *   name, and found there by the next start
   */
  constructor(
    ports: ChangesPorts,
    publisher: Publisher,
    roster: Roster,
    jobs: JobQueue,
    unwritten: (error: DrayError) => void,
  ) {
    this.#ports = ports;
    this.#unwritten = unwritten;
    this.#publisher = publisher;
    this.#roster = roster;
    this.#jobs = jobs;
  }

  /** Whether no change is under way: all that count have been told to everybody. */
  get isIdle(): boolean {
    return this.#last.size === 0;
  }

  /**
   * Runs what changes one file, when all that was asked for before has happened to it.
   * @throws (the promise) what `work` throws
   */
  inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name);
    const run = (): Promise<T> => this.#jobs.run(work);
    const done = before === undefined ? run() : before.then(run, run);
    this.#last.set(name, done);
    const forget = (): void => {
      if (this.#last.get(name) === done) this.#last.delete(name);
    };
    done.then(forget, forget);
    return done;
  }

  /**
   * To be called in a file's turn: makes an upload the current version.
   * @returns undefined when the current version has this content already
   * @throws DrayError, a system error: nothing has changed
   */
  async publish({ name, path, staged, md5 }: StagedUpload): Promise<FileEntry | undefined> {
    const { tree } = this.#ports;
    const hex = hexOf(md5);
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const expected = tree.stat(path);
      const current = this.#roster.file(name);
      if (current?.md5 === hex && isStamped(current, expected)) return undefined;
      const oldMd5 = isStamped(current, expected) ? bytesOf(current!.md5) : undefined;
      const keep = { as: "version", reason: "replaced", md5: oldMd5 } as const;
      const outcome = await this.#publisher.publish(staged, { path, expected, keep });
      if (outcome.outcome === "changed") continue;
      return await this.#commit(name, outcome.stat, hex);
    }
    throw new DrayError("changed", "somebody keeps changing the file on the server");
  }

  /**
   * To be called in a file's turn: deletes it; its content goes to the versions.
   * @throws DrayError, a system error: nothing has changed
   */
  async remove(name: string, path: TreePath): Promise<Tombstone> {
    const current = this.#roster.file(name);
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const expected = this.#ports.tree.stat(path);
      const isThere = expected?.kind === "file";
      const oldMd5 = current !== undefined && isStamped(current, expected) ? bytesOf(current.md5) : undefined;
      if (isThere) {
        const { outcome } = await this.#publisher.remove(path, expected, "deleted", oldMd5);
        if (outcome === "changed") continue;
      }
      return await this.bury(name);
    }
    throw new DrayError("changed", "somebody keeps changing the file on the server");
  }

  /** Notes that a file is gone. */
  async bury(name: string): Promise<Tombstone> {
    const md5 = this.#roster.get(name)?.md5 ?? NO_DIGEST;
    const tombstone = this.#roster.bury(name, md5, this.#ports.clock.wallMs());
    await this.#write([rowOf(name, tombstone)]);
    return tombstone;
  }

  /**
   * To be called in a file's turn: takes over what somebody did to a file without us.
   * @returns the new entry; undefined when it is as it was, not there, or does not come to rest
   */
  async adopt(name: string, path: TreePath): Promise<FileEntry | undefined> {
    const stat = this.#ports.tree.stat(path);
    if (stat?.kind !== "file" || isStamped(this.#roster.file(name), stat)) return undefined;
    const file = this.#ports.tree.open(path);
    try {
      const md5 = hexOf(await this.#md5Of(file, stat.sizeBytes));
      const after = file.stat();
      if (after.sizeBytes !== stat.sizeBytes || after.mtimeNs !== stat.mtimeNs) return undefined;
      const known = this.#roster.file(name);
      if (known?.md5 !== md5) return await this.#commit(name, after, md5);
      // Only its times or its place have changed: no news for anybody.
      const entry = { ...known, mtimeNs: after.mtimeNs, inode: after.inode };
      this.#roster.restore(name, entry);
      await this.#write([rowOf(name, entry)]);
      return undefined;
    } finally {
      file.close();
    }
  }

  async #commit(name: string, stat: Stat, md5: string): Promise<FileEntry> {
    const { sizeBytes, mtimeNs, inode } = stat;
    const entry = this.#roster.commit(name, { sizeBytes, mtimeNs, inode, md5 });
    await this.#write([rowOf(name, entry)]);
    return entry;
  }

  async #write(rows: LedgerChange[]): Promise<void> {
    try {
      await this.#ports.ledger.put([...rows, sequenceRow(this.#roster.sequence)]);
    } catch (error) {
      this.#unwritten(asDrayError(error));
    }
  }

  async #md5Of(file: OpenFile, sizeBytes: number): Promise<Md5> {
    const running = this.#ports.hasher.begin();
    try {
      running.addRange(file, 0, sizeBytes);
      return await running.digest();
    } catch (error) {
      throw asDrayError(error);
    } finally {
      running.close();
    }
  }
}

const NO_DIGEST = "0".repeat(32);

/** Whether a file is still the one that an entry was written for. */
export function isStamped(entry: FileEntry | undefined, stat: Stat | undefined): boolean {
  if (entry === undefined || stat?.kind !== "file") return false;
  return stat.sizeBytes === entry.sizeBytes && stat.mtimeNs === entry.mtimeNs && stat.inode === entry.inode;
}

export function hexOf(md5: Md5): string {
  return Buffer.from(md5.buffer, md5.byteOffset, md5.byteLength).toString("hex");
}

export function bytesOf(md5: string): Md5 {
  return new Uint8Array(Buffer.from(md5, "hex"));
}
