import { Database } from "bun:sqlite";
import * as path from "node:path";
import { DrayError } from "../errors/dray-error.ts";

/** Keeps a second dray out of a directory's state, as long as this process lives. */
export class DirectoryLock {
  readonly #database: Database;

  /**
   * SQLite's lock goes away with its process, however that ends.
   * @param statePath the directory of the state, which is there
   * @throws DrayError "refused" when another process has it, "no-space", "storage"
   */
  constructor(statePath: string) {
    let database: Database | undefined;
    try {
      database = new Database(path.join(statePath, "lock"), { create: true });
      database.run("PRAGMA locking_mode = EXCLUSIVE");
      database.run("BEGIN EXCLUSIVE");
      database.run("PRAGMA user_version = 1");
      database.run("COMMIT");
    } catch (error) {
      database?.close();
      throw lockError(error);
    }
    this.#database = database;
  }

  release(): void {
    this.#database.close();
  }
}

function lockError(error: unknown): DrayError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code.startsWith("SQLITE_BUSY"))
    return new DrayError("refused", "another dray is using it, as a mirror or a file server", {
      cause: error,
    });
  if (code === "SQLITE_FULL")
    return new DrayError("no-space", "no space left on the device", { cause: error });
  const why = error instanceof Error ? error.message : String(error);
  return new DrayError("storage", `its lock cannot be taken: ${why}`, { cause: error });
}
