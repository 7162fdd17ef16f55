import type { Database, Statement } from "bun:sqlite";
import * as fs from "node:fs";
import { type DatabaseShape, guardDatabase, openOrSetAside } from "../disk/database.ts";
import { syncDescriptor } from "../disk/sync.ts";
import { asDrayError } from "../errors/dray-error.ts";
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

/** Rows in SQLite. A put() is one transaction at once, and durable when the log was synced, off this thread. */
export class RealLedger implements Ledger {
  readonly isSetAside: boolean;
  readonly #database: Database;
  readonly #log: number;
  readonly #one: Statement<Row, [string, string]>;
  readonly #page: Statement<Row, [string, string, number]>;
  readonly #set: Statement;
  readonly #remove: Statement;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
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
    return guard(() => this.#one.get(table, key)?.value);
  }

  *rows(table: string): Generator<readonly [string, string]> {
    for (let after = ""; ;) {
      const page = guard(() => this.#page.all(table, after, PAGE_ROWS));
      for (const { key, value } of page) yield [key, value];
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_ROWS) return;
      after = last.key;
    }
  }

  put(changes: readonly LedgerChange[]): Promise<void> {
    try {
      guard(() =>
        this.#database.transaction(() => {
          for (const { table, key, value } of changes) {
            if (value === undefined) this.#remove.run(table, key);
            else this.#set.run(table, key, value);
          }
        })(),
      );
    } catch (error) {
      return Promise.reject(asDrayError(error));
    }
    return this.#sync();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const statement of [this.#one, this.#page, this.#set, this.#remove]) statement.finalize();
    this.#database.close();
    const close = (): void => fs.closeSync(this.#log);
    if (this.#running === undefined) close();
    else this.#running.then(close, close);
  }

  /** Puts that come while a sync runs share the next one. */
  #sync(): Promise<void> {
    if (this.#running === undefined) return this.#startSync();
    const start = (): Promise<void> => this.#startSync();
    this.#next ??= this.#running.then(start, start);
    return this.#next;
  }

  #startSync(): Promise<void> {
    this.#next = undefined;
    // What SQLite's own closing has synced needs no sync of ours.
    const running = this.#isClosed ? Promise.resolve() : syncDescriptor(this.#log);
    this.#running = running;
    const done = (): void => {
      if (this.#running === running) this.#running = undefined;
    };
    running.then(done, done);
    return running;
  }
}

function guard<T>(work: () => T): T {
  return guardDatabase(SHAPE.name, work);
}
