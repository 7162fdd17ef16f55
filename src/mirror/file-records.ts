import type { Database, Statement } from "bun:sqlite";
import type { DigestKind } from "../wire/digest.ts";
import type { FetchedVersion } from "./job.ts";
import { checksumOf, guard } from "./journal-guard.ts";

/** A file as it was fetched, and where it is. */
export interface FileRecord extends FetchedVersion {
  /** From the source's root. */
  path: string;
}

interface FileRow {
  path: string;
  sizeBytes: number;
  mtimeUs: number;
  mode: number;
  digest: DigestKind;
  pieceBytes: number;
  chain: string;
  checksum: number;
}

const COLUMNS = "path, sizeBytes, mtimeUs, mode, digest, pieceBytes, chain, checksum";

/**
 * The part of the journal that outlives its orders: what each mirrored file was when it came, so that
 * it can be told later whether it still is. By the directory of its source (`host_port`) and its path.
 */
export class FileRecords {
  readonly #database: Database;
  readonly #put: Statement;
  readonly #remove: Statement;
  readonly #one: Statement<FileRow, [string, string]>;

  constructor(database: Database) {
    this.#database = database;
    [this.#put, this.#remove, this.#one] = guard(() => [
      database.prepare("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      database.prepare("DELETE FROM files WHERE directory = ? AND path = ?"),
      database.prepare<FileRow, [string, string]>(
        `SELECT ${COLUMNS} FROM files WHERE directory = ? AND path = ?`,
      ),
    ]);
  }

  put(directory: string, { path, sizeBytes, mtimeUs, mode, digest, pieceBytes, chain }: FileRecord): void {
    const checksum = recordChecksum(directory, { path, sizeBytes, mtimeUs, mode, digest, pieceBytes, chain });
    guard(() =>
      this.#put.run(directory, path, sizeBytes, mtimeUs, mode, digest, pieceBytes, chain, checksum),
    );
  }

  remove(directory: string, path: string): void {
    guard(() => this.#remove.run(directory, path));
  }

  /** @returns undefined when nothing is known of the file, or what is known is damaged */
  get(directory: string, path: string): FileRecord | undefined {
    const row = guard(() => this.#one.get(directory, path));
    return row === null || row.checksum !== recordChecksum(directory, row) ? undefined : recordOf(row);
  }

  /**
   * What was fetched at and below a path, in order of the paths. Damaged records are among it: `get` tells.
   * @param within the path that was ordered; "." is everything
   * @param after a path: only what comes behind it
   */
  page(directory: string, within: string, after: string, limit: number): FileRecord[] {
    // All that begins with "docs/" lies between "docs/" and "docs0": 0 is the character behind the slash.
    const where = within === "." ? "" : "AND (path = ?4 OR (path > ?4 || '/' AND path < ?4 || '0'))";
    const rows = guard(() =>
      this.#database
        .query<FileRow, (string | number)[]>(
          `SELECT ${COLUMNS} FROM files WHERE directory = ?1 AND path > ?2 ${where} ORDER BY path LIMIT ?3`,
        )
        .all(...(within === "." ? [directory, after, limit] : [directory, after, limit, within])),
    );
    return rows.map(recordOf);
  }

  close(): void {
    for (const statement of [this.#put, this.#remove, this.#one]) statement.finalize();
  }
}

function recordOf({ path, sizeBytes, mtimeUs, mode, digest, pieceBytes, chain }: FileRow): FileRecord {
  return { path, sizeBytes, mtimeUs, mode, digest, pieceBytes, chain };
}

function recordChecksum(directory: string, record: FileRecord): number {
  const { path, sizeBytes, mtimeUs, mode, digest, pieceBytes, chain } = record;
  return checksumOf(`${directory} ${sizeBytes} ${mtimeUs} ${mode} ${digest} ${pieceBytes} ${chain} ${path}`);
}
