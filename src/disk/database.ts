import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { syncDirectory } from "./sync.ts";

/** Tables and their version, kept in SQLite's `user_version`; any change of the tables raises it. */
export interface DatabaseShape {
  schema: string;
  version: number;
  /** For messages: "the record of owners". */
  name: string;
  /** Puts right what SQLite's own check does not look for, before anybody uses the database. */
  amend?(database: Database): void;
}

/**
 * Opens a database, or makes a new one.
 * @throws DrayError "integrity" when the file is not an intact database of this shape; "no-space", "refused", "storage"
 */
export function openIntact(path: string, shape: DatabaseShape): Database {
  const guarded = <T>(work: () => T): T => guardDatabase(shape.name, work);
  const damaged = (how: string): DrayError =>
    new DrayError("integrity", `${shape.name} cannot be trusted: ${how}`);
  // SQLite takes a file of one byte for an empty one, too.
  const sizeBytes = fs.statSync(path, { throwIfNoEntry: false })?.size;
  if (sizeBytes !== undefined && sizeBytes <= 1) throw damaged("it is empty");
  if (sizeBytes === undefined) guarded(() => makeDatabase(path, shape));
  const database = guarded(() => new Database(path, { readwrite: true, strict: true }));
  try {
    guarded(() => {
      database.run("PRAGMA locking_mode = EXCLUSIVE");
      database.run("PRAGMA journal_mode = WAL");
      // A commit survives a killed process; what has to survive a power loss is synced by the caller.
      database.run("PRAGMA synchronous = NORMAL");
      const version = database.query<{ user_version: number }, []>("PRAGMA user_version").get()!.user_version;
      if (version !== shape.version) {
        throw damaged(`it has version ${version}, this program knows ${shape.version}`);
      }
      const check = database.query<{ integrity_check: string }, []>("PRAGMA integrity_check(1)").get();
      if (check?.integrity_check !== "ok") throw damaged(String(check?.integrity_check));
      if (schemaOf(database) !== schemaOfFresh(shape.schema))
        throw damaged("its tables are not as they should be");
      shape.amend?.(database);
      // One that cannot be written is found out now, not with the first change.
      database.run(`PRAGMA user_version = ${shape.version}`);
    });
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const NEW_SUFFIX = "-new";
const SQLITE_SUFFIXES = ["", "-journal", "-wal", "-shm"];

/**
 * Makes a database under another name first: whatever ends this process or the power, under its own name there
 * is none, or a whole one. So an empty one is damage, and never a beginning.
 */
function makeDatabase(path: string, { schema, version }: DatabaseShape): void {
  for (const suffix of SQLITE_SUFFIXES) {
    fs.rmSync(path + NEW_SUFFIX + suffix, { force: true });
    fs.rmSync(path + suffix, { force: true }); // of one that has gone: SQLite would take them for ours
  }
  const database = new Database(path + NEW_SUFFIX, { create: true, strict: true });
  try {
    database.transaction(() => {
      database.run(schema);
      database.run(`PRAGMA user_version = ${version}`);
    })();
  } finally {
    database.close();
  }
  fs.renameSync(path + NEW_SUFFIX, path);
  syncDirectory(dirname(path));
}

/**
 * Opens a database, or makes a new one. One that is damaged is set aside, and a new one begun.
 * @param setAside told why, and where the old one is
 * @throws DrayError "no-space", "refused", "storage"
 */
export function openOrSetAside(
  path: string,
  shape: DatabaseShape,
  setAside: (why: string, keptAs: string) => void,
): Database {
  try {
    return openIntact(path, shape);
  } catch (error) {
    const known = asDrayError(error);
    if (known.code !== "integrity") throw error;
    const keptAs = `${path}.damaged-${new Date().toISOString().replaceAll(":", "")}`;
    for (const suffix of ["", "-wal", "-shm"]) {
      if (fs.existsSync(path + suffix)) fs.renameSync(path + suffix, keptAs + suffix);
    }
    setAside(known.message, keptAs);
    return openIntact(path, shape);
  }
}

function schemaOf(database: Database): string {
  return database
    .query<{ sql: string | null }, []>("SELECT sql FROM sqlite_schema ORDER BY name")
    .all()
    .map(({ sql }) => sql)
    .join(";");
}

function schemaOfFresh(schema: string): string {
  const fresh = new Database(":memory:");
  try {
    fresh.run(schema);
    return schemaOf(fresh);
  } finally {
    fresh.close();
  }
}

/** Runs what works with a database; SQLite's errors become ours. @param name of the database, for messages */
export function guardDatabase<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DrayError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const why = error instanceof Error ? error.message : String(error);
    if (code === "SQLITE_FULL")
      throw new DrayError("no-space", `no space left for ${name}`, { cause: error });
    if (code.startsWith("SQLITE_BUSY")) throw new DrayError("refused", `${name} is in use`, { cause: error });
    if (/CORRUPT|NOTADB/.test(code))
      throw new DrayError("integrity", `${name} is damaged: ${why}`, { cause: error });
    throw new DrayError("storage", `${name} cannot be used: ${why}`, { cause: error });
  }
}
