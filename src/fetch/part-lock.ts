import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import { DrayError } from "../errors/dray-error.ts";

/** How often a lock file may vanish under us before something is wrong with the directory. */
const MAX_TRIES = 16;

/**
 * Keeps a second process from the same part. SQLite's lock on an empty file, since nothing else in Bun
 * takes one: the system lets it go with its process, however that ends.
 */
export class PartLock {
  readonly #path: string;
  readonly #database: Database;

  private constructor(path: string, database: Database) {
    this.#path = path;
    this.#database = database;
  }

  /** @throws DrayError "locked" when another process has it, "storage"; a system error */
  static take(path: string): PartLock {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      fs.closeSync(fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666));
      const before = fs.statSync(path, { throwIfNoEntry: false });
      if (before === undefined) continue;
      const database = locked(path);
      // Whoever had it before removed the file, perhaps between our opening and our locking it.
      if (fs.statSync(path, { throwIfNoEntry: false })?.ino === before.ino)
        return new PartLock(path, database);
      database.close();
    }
    throw new DrayError("storage", "the lock of the part cannot be taken: its file comes and goes");
  }

  /** Removes the file while the lock is still held, so that nobody can hold what is about to vanish. */
  release(): void {
    fs.rmSync(this.#path, { force: true });
    this.#database.close();
  }
}

function locked(path: string): Database {
  let database: Database | undefined;
  try {
    database = new Database(path);
    database.run("PRAGMA journal_mode = MEMORY"); // no file of its own beside it
    database.run("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database?.close();
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code.startsWith("SQLITE_BUSY")) {
      throw new DrayError("locked", "another dray fetch is bringing it into this directory just now", {
        cause: error,
      });
    }
    const why = error instanceof Error ? error.message : String(error);
    throw new DrayError("storage", `the lock of the part cannot be taken: ${why}`, { cause: error });
  }
}
