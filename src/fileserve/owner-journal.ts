import type { Database, Statement } from "bun:sqlite";
import * as fs from "node:fs";
import { type DatabaseShape, guardDatabase, openOrSetAside } from "../disk/database.ts";
import { isSameMtime } from "../disk/file-facts.ts";
import { syncDescriptor } from "../disk/sync.ts";

/** One version of one file: the file under this path, as long as it has this size and mtime. */
export interface FileVersion {
  /** From the root, canonical. */
  path: string;
  sizeBytes: number;
  mtimeUs: number;
}

/** What is about to become visible: whose it is, and which version it replaces. */
export interface OwnedChange {
  version: FileVersion;
  owner: string;
  replaces: FileVersion | undefined;
}

interface OwnerRow {
  path: string;
  sizeBytes: number;
  mtimeUs: number;
  owner: string;
  checksum: number;
}

/** The checksum guards what SQLite does not: a flipped bit that leaves the row a valid one. */
const SHAPE: DatabaseShape = {
  name: "the record of owners",
  version: 1,
  schema: `
    CREATE TABLE owners (
      path TEXT NOT NULL,
      sizeBytes INTEGER NOT NULL,
      mtimeUs INTEGER NOT NULL,
      owner TEXT NOT NULL,
      checksum INTEGER NOT NULL,
      PRIMARY KEY (path, sizeBytes, mtimeUs)
    ) WITHOUT ROWID;
  `,
};

/**
 * Whose the uploaded files are, in SQLite beside them.
 *
 * A row speaks of one version of a file, not of a name. So it can be written before the version becomes
 * visible, beside the row of the version that it replaces: whatever is killed when, the file that is
 * there has the owner who put it there, and a file that somebody else put in its place by other
 * means has none.
 *
 * Methods throw DrayError "storage" or "no-space" when the record cannot be written.
 */
export class OwnerJournal {
  readonly #database: Database;
  readonly #log: number;
  readonly #ofPath: Statement<OwnerRow, [string]>;
  readonly #add: Statement;
  readonly #remove: Statement;

  /** @param setAside told when the record was damaged, and where the old one is kept */
  constructor(path: string, setAside: (why: string, keptAs: string) => void) {
    this.#database = openOrSetAside(path, SHAPE, setAside);
    try {
      this.#log = fs.openSync(`${path}-wal`, "r");
    } catch (error) {
      this.#database.close();
      throw error;
    }
    [this.#ofPath, this.#add, this.#remove] = guard(() => [
      this.#database.prepare<OwnerRow, [string]>("SELECT * FROM owners WHERE path = ?"),
      this.#database.prepare("INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)"),
      this.#database.prepare("DELETE FROM owners WHERE path = ? AND sizeBytes = ? AND mtimeUs = ?"),
    ]);
  }

  /** Whose this version is; undefined if nobody's. */
  ownerOf(version: FileVersion): string | undefined {
    return this.#rows(version.path).find((row) => isSame(row, version))?.owner;
  }

  /** Bytes of all files that are somebody's. */
  totalBytes(): number {
    const query = "SELECT TOTAL(sizeBytes) AS total FROM owners";
    return guard(() => this.#database.query<{ total: number }, []>(query).get()!.total);
  }

  /** To be called, and synced, before changes become visible. What else is known of their paths is forgotten. */
  intend(changes: readonly OwnedChange[]): void {
    this.#transaction(() => {
      for (const { version, owner, replaces } of changes) {
        this.#forgetOthers(version.path, replaces);
        const { path, sizeBytes, mtimeUs } = version;
        this.#add.run(path, sizeBytes, mtimeUs, owner, checksumOf(version, owner));
      }
    });
  }

  /**
   * To be called when changes are durable.
   * @param there what is there now; every other version of these paths is forgotten
   * @param gone paths of which there is no version any more
   */
  settle(there: readonly FileVersion[], gone: readonly string[]): void {
    this.#transaction(() => {
      for (const version of there) this.#forgetOthers(version.path, version);
      for (const path of gone) this.#forgetOthers(path, undefined);
    });
  }

  /** Up to `limit` paths that have rows, behind a path, in their order. */
  pathsAfter(path: string, limit: number): string[] {
    const query = "SELECT DISTINCT path FROM owners WHERE path > ? ORDER BY path LIMIT ?";
    return guard(() =>
      this.#database
        .query<{ path: string }, [string, number]>(query)
        .all(path, limit)
        .map((row) => row.path),
    );
  }

  /** The versions of a path that have an owner: at most one of them is there. */
  versionsOf(path: string): FileVersion[] {
    return this.#rows(path).map(({ sizeBytes, mtimeUs }) => ({ path, sizeBytes, mtimeUs }));
  }

  /** What was intended is known to survive a power loss once this resolves. @throws a system error */
  async sync(): Promise<void> {
    await syncDescriptor(this.#log);
  }

  close(): void {
    // As long as a statement lives, SQLite keeps the file open and locked.
    for (const statement of [this.#ofPath, this.#add, this.#remove]) statement.finalize();
    this.#database.close();
    fs.closeSync(this.#log);
  }

  /** Rows that are not as they were written belong to nobody. */
  #rows(path: string): OwnerRow[] {
    return guard(() => this.#ofPath.all(path)).filter((row) => row.checksum === checksumOf(row, row.owner));
  }

  #forgetOthers(path: string, kept: FileVersion | undefined): void {
    for (const row of this.#ofPath.all(path)) {
      if (kept === undefined || !isSame(row, kept)) this.#remove.run(path, row.sizeBytes, row.mtimeUs);
    }
  }

  #transaction(work: () => void): void {
    guard(() => this.#database.transaction(work)());
  }
}

export function isSame(a: FileVersion, b: FileVersion): boolean {
  return a.path === b.path && a.sizeBytes === b.sizeBytes && isSameMtime(a.mtimeUs, b.mtimeUs);
}

function guard<T>(work: () => T): T {
  return guardDatabase(SHAPE.name, work);
}

/** 52 bits, which a double and SQLite's integers both hold. */
function checksumOf({ path, sizeBytes, mtimeUs }: FileVersion, owner: string): number {
  const text = JSON.stringify([path, sizeBytes, mtimeUs, owner]);
  return Number(Bun.hash.xxHash3(text) & 0xf_ffff_ffff_ffffn);
}
