import type { Database, Statement } from "bun:sqlite";
import * as fs from "node:fs";
import { type DatabaseShape, guardDatabase, openOrSetAside } from "../disk/database.ts";
import { syncDescriptor } from "../disk/sync.ts";
import type { Ledger, LedgerChange } from "./ports.ts";

const SHAPE: DatabaseShape = {
  name: "the record of synced files",
  version: 1,
  schema: `
    CREATE TABLE rows (
      "table" TEXT NOT NULL,
      "key" TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY ("table", "key")
    ) WITHOUT ROWID;
  `,
};

const PAGE_ROWS = 500;

interface Row {
  key: string;
  value: string;
}

/** What is written and synced together. */
interface Batch {
  /** Those that are not in the database yet. */
  changes: LedgerChange[];
  readonly durable: Promise<void>;
}

/**
 * Rows in SQLite. The puts of one turn are one transaction, at its end: then they outlive this process. Those of the time that a sync
 * takes share the next one, off this thread.
 */
export class RealLedger implements Ledger {
  readonly isSetAside: boolean;
  readonly #database: Database;
  readonly #log: number;
  readonly #one: Statement<Row, [string, string]>;
  readonly #page: Statement<Row, [string, string, number]>;
  readonly #set: Statement;
  readonly #remove: Statement;
  /** Of the batch that was begun last. */
  #last: Promise<void> | undefined;
  #next: Batch | undefined;
  #isClosed = false;

  /**
   * @param setAside told when the record was damaged, and where the old one is kept
   * @throws DrayError "no-space", "refused", "storage"
   */
  constructor(path: string, setAside: (why: string, keptAs: string) => void) {
    let isSetAside = false;
    this.#database = openOrSetAside(path, SHAPE, (why, keptAs) => {
      isSetAside = true;
      setAside(why, keptAs);
    });
    this.isSetAside = isSetAside;
    try {
      this.#log = fs.openSync(`${path}-wal`, "r");
    } catch (error) {
      this.#database.close();
      throw error;
    }
    [this.#one, this.#page, this.#set, this.#remove] = guard(() => [
      this.#database.prepare<Row, [string, string]>(
        'SELECT "key", value FROM rows WHERE "table" = ? AND "key" = ?',
      ),
      this.#database.prepare<Row, [string, string, number]>(
        'SELECT "key", value FROM rows WHERE "table" = ? AND "key" > ? ORDER BY "key" LIMIT ?',
      ),
      this.#database.prepare("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)"),
      this.#database.prepare('DELETE FROM rows WHERE "table" = ? AND "key" = ?'),
    ]);
  }

  get(table: string, key: string): string | undefined {
    this.#commit(this.#next);
    return guard(() => this.#one.get(table, key)?.value);
  }

  *rows(table: string): Generator<readonly [string, string]> {
    for (let after = ""; ;) {
      this.#commit(this.#next);
      const page = guard(() => this.#page.all(table, after, PAGE_ROWS));
      for (const { key, value } of page) yield [key, value];
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_ROWS) return;
      after = last.key;
    }
  }

  put(changes: readonly LedgerChange[]): Promise<void> {
    const batch = (this.#next ??= this.#begin());
    if (batch.changes.length === 0) setImmediate(() => this.#tryCommit(batch));
    batch.changes.push(...changes);
    return batch.durable;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#tryCommit(this.#next);
    this.#isClosed = true;
    for (const statement of [this.#one, this.#page, this.#set, this.#remove]) statement.finalize();
    this.#database.close();
    const close = (): void => fs.closeSync(this.#log);
    if (this.#last === undefined) close();
    else this.#last.then(close, close);
  }

  /** A batch is open for more until the one before it is durable. */
  #begin(): Batch {
    const turn = this.#last ?? new Promise<void>((resolve) => setImmediate(resolve));
    const write = (): Promise<void> => this.#write(batch);
    const batch: Batch = { changes: [], durable: turn.then(write, write) };
    const { durable } = batch;
    this.#last = durable;
    const done = (): void => {
      if (this.#last === durable) this.#last = undefined;
    };
    durable.then(done, done);
    return batch;
  }

  async #write(batch: Batch): Promise<void> {
    this.#next = undefined;
    this.#commit(batch);
    // What SQLite's own closing has synced needs no sync of ours.
    if (!this.#isClosed) await syncDescriptor(this.#log);
  }

  #tryCommit(batch: Batch | undefined): void {
    try {
      this.#commit(batch);
    } catch {
      // Who put it hears of it: it is tried again before the sync.
    }
  }

  /** One transaction. @throws DrayError: nothing of it is written, and it can be tried again */
  #commit(batch: Batch | undefined): void {
    if (batch === undefined || batch.changes.length === 0) return;
    guard(() =>
      this.#database.transaction(() => {
        for (const { table, key, value } of batch.changes) {
          if (value === undefined) this.#remove.run(table, key);
          else this.#set.run(table, key, value);
        }
      })(),
    );
    batch.changes = [];
  }
}

function guard<T>(work: () => T): T {
  return guardDatabase(SHAPE.name, work);
}
