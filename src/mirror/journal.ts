import type { Database, Statement } from "bun:sqlite";
import { z } from "zod";
import { openIntact } from "../disk/database.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { type OrderRequest, type OrderResult, orderRequestSchema, orderResultSchema } from "../wire/order.ts";
import type { FetchedVersion, JobItem } from "./job.ts";
import type { SizeSums } from "./size-statistics.ts";
import { FileRecords } from "./file-records.ts";
import { checksumOf, damaged, guard } from "./journal-guard.ts";
import {
  ITEM_KINDS,
  ITEM_STATE,
  type ItemState,
  JOURNAL_SCHEMA,
  JOURNAL_VERSION,
  SQL,
} from "./journal-schema.ts";

export type OrderState = "running" | "waiting" | "done" | "cancelled";

/** An order as the journal has it. */
export interface JournaledOrder {
  id: string;
  request: OrderRequest;
  state: OrderState;
  createdMs: number;
  /** When its current run began, or its last. */
  startedMs: number;
  /** When the next run begins, for an order that is repeated. */
  dueMs: number | undefined;
  bytesTransferred: number;
  /** Of the last run that ended. */
  result: OrderResult | undefined;
}

export interface JournaledItem extends JobItem {
  id: number;
  state: ItemState;
  attempts: number;
  code: ErrorCode | undefined;
  message: string | undefined;
}

/** What is known of a file of the mirror from now on. */
export interface FileNews {
  /** From the source's root. */
  path: string;
  version: FetchedVersion | undefined;
}

/** A new state for an item, with the reason where it failed. */
export interface Settlement {
  id: number;
  state: ItemState;
  attempts: number;
  failure: { code: ErrorCode; message: string } | undefined;
  /** Why it was fetched. */
  note?: string;
}

/** Something listed; with a failure or as skipped it is settled at once. */
export interface ListedItem extends JobItem {
  state: ItemState;
  failure: { code: ErrorCode; message: string } | undefined;
  /** Why something was done to it, where nothing failed. */
  note?: string;
}

/** What a list held and the mirror had, as it was listed: it is counted, and no item of the journal. */
export interface StandingCounts {
  directories: number;
  /** Of files. */
  sizes: SizeSums;
}

const NONE_STANDING: StandingCounts = {
  directories: 0,
  sizes: { count: 0, sumBytes: 0, mean: 0, squaredDistance: 0 },
};

function standingText({ directories, sizes }: StandingCounts): string {
  const { count, sumBytes, mean, squaredDistance } = sizes;
  return JSON.stringify([directories, count, sumBytes, mean, squaredDistance]);
}

interface ItemRow {
  id: number;
  orderId: string;
  position: number;
  path: string;
  kind: number;
  sizeBytes: number;
  mtimeUs: number;
  mode: number;
  target: string;
  checksum: number;
  state: ItemState;
  attempts: number;
  code: ErrorCode | null;
  message: string | null;
}

interface OrderRow {
  id: string;
  request: string;
  state: OrderState;
  createdMs: number;
  startedMs: number;
  dueMs: number | null;
  bytesTransferred: number;
  result: string | null;
  checksum: number;
}

const ITEM_COLUMNS =
  "id, orderId, position, path, kind, sizeBytes, mtimeUs, mode, target, checksum, state, attempts, code, message";

/** Rows that one delete takes: bounds how long it keeps everything else waiting. */
const DELETE_ROWS = 20_000;

/**
 * Orders and the state of every item, in SQLite beside the mirrored data. Whatever is killed when:
 * a new daemon reads here what is still to do.
 *
 * The journal never says more than the disk holds, because files are published before their items
 * are settled. After a power loss it may, since nothing syncs one behind the other: see `lookAgain`.
 *
 * Methods throw DrayError "storage" or "no-space" when the journal cannot be written, and "integrity"
 * when a row is damaged.
 */
export class Journal {
  readonly #database: Database;
  /** What was fetched, by any order. */
  readonly files: FileRecords;
  readonly #addItem: Statement;
  readonly #settleItem: Statement;
  readonly #addBytes: Statement;
  readonly #toDo: Statement<ItemRow, [string, number, number, number]>;

  /**
   * Opens the journal, or makes a new one.
   * @throws DrayError "integrity" when the file is not an intact journal of this version
   */
  constructor(path: string) {
    this.#database = openIntact(path, {
      name: "the journal",
      schema: JOURNAL_SCHEMA,
      version: JOURNAL_VERSION,
      amend: (database) => {
        if (hasStaleEntries(database)) database.run("REINDEX items");
      },
    });
    try {
      [this.#addItem, this.#settleItem, this.#addBytes, this.#toDo] = guard(() => [
        this.#database.prepare(
          `INSERT INTO items
             (orderId, position, path, kind, sizeBytes, mtimeUs, mode, target, isPruning, checksum, state, code, message)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ),
        this.#database.prepare(
          "UPDATE items SET state = ?, attempts = ?, code = ?, message = ? WHERE id = ?",
        ),
        this.#database.prepare("UPDATE orders SET bytesTransferred = bytesTransferred + ? WHERE id = ?"),
        this.#database.prepare<ItemRow, [string, number, number, number]>(
          `SELECT ${ITEM_COLUMNS} FROM items
           WHERE orderId = ? AND position = ? AND state = ${ITEM_STATE.waiting} AND id > ? ORDER BY id LIMIT ?`,
        ),
      ]);
      this.files = new FileRecords(this.#database);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** All orders, the oldest first. */
  orders(): JournaledOrder[] {
    return guard(() =>
      this.#database.query<OrderRow, []>("SELECT * FROM orders ORDER BY createdMs, id").all().map(orderOf),
    );
  }

  saveOrder(order: JournaledOrder): void {
    const request = JSON.stringify(order.request);
    const result = order.result === undefined ? null : JSON.stringify(order.result);
    guard(() =>
      this.#database
        .query(
          `INSERT OR REPLACE INTO orders
             (id, request, state, createdMs, startedMs, dueMs, bytesTransferred, result, checksum)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          order.id,
          request,
          order.state,
          order.createdMs,
          order.startedMs,
          order.dueMs ?? null,
          order.bytesTransferred,
          result,
          orderChecksum(order, request, result),
        ),
    );
  }

  /**
   * Adds a batch of a source's list.
   * @param isPruning lets isListed find them
   */
  addItems(orderId: string, position: number, items: readonly ListedItem[], isPruning = false): void {
    this.#transaction(() => {
      for (const item of items) {
        this.#addItem.run(
          orderId,
          position,
          item.path,
          ITEM_KINDS.indexOf(item.kind),
          item.sizeBytes,
          item.mtimeUs,
          item.mode,
          item.target,
          isPruning ? 1 : 0,
          itemChecksum(orderId, position, item),
          item.state,
          item.failure?.code ?? null,
          item.failure?.message ?? item.note ?? null,
        );
      }
    });
  }

  /**
   * @param items how many of the list were added
   * @param standing what it held besides
   */
  markListComplete(orderId: string, position: number, items: number, standing = NONE_STANDING): void {
    const text = standingText(standing);
    guard(() =>
      this.#database
        .query("INSERT OR REPLACE INTO completeLists VALUES (?, ?, ?, ?, ?)")
        .run(orderId, position, items, text, listChecksum(orderId, position, items, text)),
    );
  }

  /** How many items of a source's complete list were added; undefined while it is not complete. */
  listSize(orderId: string, position: number): number | undefined {
    return this.#completeList(orderId, position)?.items;
  }

  /** What a source's complete list held besides. */
  standing(orderId: string, position: number): StandingCounts {
    const list = this.#completeList(orderId, position);
    if (list === undefined) return NONE_STANDING;
    const [directories, count, sumBytes, mean, squaredDistance] = guard(() =>
      standingSchema.parse(JSON.parse(list.standing)),
    );
    return { directories, sizes: { count, sumBytes, mean, squaredDistance } };
  }

  #completeList(orderId: string, position: number): { items: number; standing: string } | undefined {
    const row = guard(() =>
      this.#database
        .query<{ items: number; standing: string; checksum: number }, [string, number]>(
          "SELECT items, standing, checksum FROM completeLists WHERE orderId = ? AND position = ?",
        )
        .get(orderId, position),
    );
    if (row?.checksum !== listChecksum(orderId, position, row?.items, row?.standing)) return undefined;
    return row;
  }

  /** The next waiting items behind `afterId`, in the order in which they were listed. */
  toDo(orderId: string, position: number, afterId: number, limit: number): JournaledItem[] {
    return guard(() => this.#toDo.all(orderId, position, afterId, limit).map(itemOf));
  }

  /**
   * Records what became of items, and what their transfer cost.
   * @param news of files below the directory of their source: what came there, or that nothing is known
   */
  settle(
    orderId: string,
    settlements: readonly Settlement[],
    receivedBytes: number,
    directory = "",
    news: readonly FileNews[] = [],
  ): void {
    this.#transaction(() => {
      for (const { id, state, attempts, failure, note } of settlements) {
        this.#settleItem.run(state, attempts, failure?.code ?? null, failure?.message ?? note ?? null, id);
      }
      for (const { path, version } of news) {
        if (version === undefined) this.files.remove(directory, path);
        else this.files.put(directory, { path, ...version });
      }
      if (receivedBytes > 0) this.#addBytes.run(receivedBytes, orderId);
    });
  }

  /** Lets items that failed for now wait again. @returns how many */
  startPass(orderId: string, position: number): number {
    return this.#changeState(orderId, position, ITEM_STATE.again, ITEM_STATE.waiting);
  }

  /**
   * Lets all that running orders have achieved wait again: what is there as it should be is not fetched. A list of
   * which some was found standing, and only counted, is made anew.
   */
  lookAgain(): void {
    const isRunning = "orderId IN (SELECT id FROM orders WHERE state = 'running')";
    this.#transaction(() => {
      this.#database.run(`DELETE FROM completeLists WHERE standing <> ? AND ${isRunning}`, [
        standingText(NONE_STANDING),
      ]);
      this.#database.run(
        `UPDATE items SET state = ${ITEM_STATE.waiting}, attempts = 0, code = NULL, message = NULL
         WHERE state IN (${ITEM_STATE.done}, ${ITEM_STATE.unchanged}) AND ${isRunning}`,
      );
    });
  }

  /**
   * Lets items that failed for good wait again, as if they had never been tried. They are then all that
   * the list of an ended order holds.
   */
  retryFailed(orderId: string, position: number): void {
    const hadList = this.listSize(orderId, position) !== undefined;
    this.#transaction(() => {
      this.#database
        .query(
          `UPDATE items SET state = ${ITEM_STATE.waiting}, attempts = 0, code = NULL, message = NULL
           WHERE orderId = ? AND position = ? AND state = ${ITEM_STATE.failed}`,
        )
        .run(orderId, position);
      const left = this.#database
        .query<{ items: number }, [string, number]>(
          `SELECT count(*) AS items FROM items WHERE orderId = ? AND position = ? AND state != ${ITEM_STATE.pruned}`,
        )
        .get(orderId, position)!;
      if (hadList) this.markListComplete(orderId, position, left.items);
    });
  }

  /** Gives up all that is not settled. @returns how many */
  failRest(orderId: string, position: number, code: ErrorCode, message: string): number {
    return guard(
      () =>
        this.#database
          .query(
            `UPDATE items SET state = ${ITEM_STATE.failed}, code = ?, message = ?
             WHERE orderId = ? AND position = ? AND ${SQL.toDo}`,
          )
          .run(code, message, orderId, position).changes,
    );
  }

  /** Every item of a source, one at a time. */
  *items(orderId: string, position: number): Generator<JournaledItem, void> {
    const statement = this.#database.query<ItemRow, [string, number]>(
      `SELECT ${ITEM_COLUMNS} FROM items
       WHERE orderId = ? AND position = ?`,
    );
    for (const row of statement.iterate(orderId, position)) yield itemOf(row);
  }

  /**
   * Looks whether items are as they were listed, in the order of their ids, behind `afterId`.
   * @returns the last id that was looked at; undefined at the end
   * @throws DrayError "integrity" at a damaged one
   */
  checkItems(orderId: string, position: number, afterId: number, limit: number): number | undefined {
    const rows = guard(() =>
      this.#database
        .query<ItemRow, [string, number, number, number]>(
          `SELECT ${ITEM_COLUMNS} FROM items WHERE orderId = ? AND position = ? AND id > ? ORDER BY id LIMIT ?`,
        )
        .all(orderId, position, afterId, limit),
    );
    return rows.map(itemOf).at(-1)?.id;
  }

  /** Whether the list held something that is never fetched. */
  hasRefused(orderId: string, position: number): boolean {
    const row = guard(() =>
      this.#database
        .query(
          `SELECT 1 FROM items WHERE orderId = ? AND position = ? AND ${SQL.notThere}
             AND state = ${ITEM_STATE.refused} LIMIT 1`,
        )
        .get(orderId, position),
    );
    return row !== null;
  }

  /**
   * Whether every item that was listed is there, has a state and can be looked up like the others: rows
   * that damage has moved to another order, or out of every state, are never seen otherwise.
   */
  isWhole(orderId: string, position: number, listed: number): boolean {
    const row = guard(() =>
      this.#database
        .query<{ rows: number; states: number | null; kinds: number }, [string, number]>(
          `SELECT count(*) AS rows, sum(state IN (${SQL.states})) AS states, count(DISTINCT isPruning) AS kinds
           FROM items WHERE orderId = ? AND position = ? AND state != ${ITEM_STATE.pruned}`,
        )
        .get(orderId, position),
    );
    return row?.rows === listed && (row.states ?? 0) === listed && row.kinds <= 1;
  }

  /** The items that are not there in the end, one at a time. */
  *failed(orderId: string, position: number): Generator<JournaledItem, void> {
    const statement = this.#database.query<ItemRow, [string, number]>(
      `SELECT ${ITEM_COLUMNS} FROM items
       WHERE orderId = ? AND position = ? AND ${SQL.notThere} ORDER BY id`,
    );
    for (const row of statement.iterate(orderId, position)) yield itemOf(row);
  }

  /**
   * Whether the source's list holds this path, as a directory or as something else. What was left out or
   * refused may have been anything. Only for lists that were added as pruning.
   */
  isListed(orderId: string, position: number, path: string, isDirectory: boolean): boolean {
    const row = guard(() =>
      this.#database
        .query(
          `SELECT 1 FROM items WHERE orderId = ? AND position = ? AND path = ? AND isPruning = 1
             AND state != ${ITEM_STATE.pruned}
             AND ((kind = ${ITEM_KINDS.indexOf("directory")}) = ?
               OR state IN (${ITEM_STATE.skipped}, ${ITEM_STATE.refused})) LIMIT 1`,
        )
        .get(orderId, position, path, isDirectory ? 1 : 0),
    );
    return row !== null;
  }

  /** Items of an order to which something was done, or would be, in the order of their ids, behind `afterId`. */
  toTell(orderId: string, afterId: number, limit: number): (JournaledItem & { position: number })[] {
    return guard(() =>
      this.#database
        .query<ItemRow, [string, number, number]>(
          `SELECT ${ITEM_COLUMNS} FROM items
           WHERE orderId = ? AND id > ? AND ${SQL.worthTelling} ORDER BY id LIMIT ?`,
        )
        .all(orderId, afterId, limit)
        .map((row) => ({ ...itemOf(row), position: row.position })),
    );
  }

  /** Forgets a source's list, to list it anew. */
  clearSource(orderId: string, position: number): void {
    this.#transaction(() => {
      this.#database.query("DELETE FROM items WHERE orderId = ? AND position = ?").run(orderId, position);
      this.#database
        .query("DELETE FROM completeLists WHERE orderId = ? AND position = ?")
        .run(orderId, position);
    });
  }

  /**
   * Forgets the items of a run that has ended, but for those that failed.
   * @returns whether some are left: call again after letting other work run
   */
  trimEnded(orderId: string, keepFailed: boolean): boolean {
    const kept = keepFailed ? `AND NOT ${SQL.notThere}` : "";
    const { changes } = guard(() =>
      this.#database
        .query(
          `DELETE FROM items WHERE id IN (SELECT id FROM items WHERE orderId = ? ${kept} LIMIT ${DELETE_ROWS})`,
        )
        .run(orderId),
    );
    return changes === DELETE_ROWS;
  }

  /** Forgets an order and all that belongs to it, but for items: see trimEnded. */
  deleteOrder(orderId: string): void {
    this.#transaction(() => {
      this.#database.query("DELETE FROM orders WHERE id = ?").run(orderId);
      this.#database.query("DELETE FROM completeLists WHERE orderId = ?").run(orderId);
    });
  }

  close(): void {
    // As long as a statement lives, SQLite keeps the file open and locked.
    for (const statement of [this.#addItem, this.#settleItem, this.#addBytes, this.#toDo])
      statement.finalize();
    this.files.close();
    this.#database.close();
  }

  #changeState(orderId: string, position: number, from: ItemState, to: ItemState): number {
    return guard(
      () =>
        this.#database
          .query("UPDATE items SET state = ? WHERE orderId = ? AND position = ? AND state = ?")
          .run(to, orderId, position, from).changes,
    );
  }

  #transaction(work: () => void): void {
    guard(() => this.#database.transaction(work)());
  }
}

/**
 * Whether an index over some of the items has more entries than there are such items: damage took a row
 * out of them. SQLite's check does not look for that, and stumbles over it when the row has gone.
 */
function hasStaleEntries(database: Database): boolean {
  const [inRows, inIndexes] = [
    `SELECT total(${SQL.toDo}) AS toDo, total(${SQL.notThere}) AS notThere, total(isPruning = 1) AS byPath
       FROM items NOT INDEXED`,
    `SELECT (SELECT count(*) FROM items INDEXED BY itemsToDo WHERE ${SQL.toDo}) AS toDo,
       (SELECT count(*) FROM items INDEXED BY itemsNotThere WHERE ${SQL.notThere}) AS notThere,
       (SELECT count(*) FROM items INDEXED BY itemsByPath WHERE isPruning = 1) AS byPath`,
  ].map((sql) => database.query<Record<string, number>, []>(sql).get());
  return !Bun.deepEquals(inRows, inIndexes);
}

const standingSchema = z.tuple([z.number(), z.number(), z.number(), z.number(), z.number()]);

const orderStateSchema = z.enum(["running", "waiting", "done", "cancelled"]);

function orderOf(row: OrderRow): JournaledOrder {
  if (row.checksum !== orderChecksum(row, row.request, row.result)) throw damaged(`order ${row.id}`);
  return {
    id: row.id,
    request: orderRequestSchema.parse(JSON.parse(row.request)),
    state: orderStateSchema.parse(row.state),
    createdMs: row.createdMs,
    startedMs: row.startedMs,
    dueMs: row.dueMs ?? undefined,
    bytesTransferred: row.bytesTransferred,
    result: row.result === null ? undefined : orderResultSchema.parse(JSON.parse(row.result)),
  };
}

function itemOf(row: ItemRow): JournaledItem {
  const { id, path, sizeBytes, mtimeUs, mode, target, state, attempts } = row;
  const kind = ITEM_KINDS[row.kind];
  if (kind === undefined || typeof target !== "string") throw damaged(`item ${id}`);
  const item: JobItem = { kind, path, sizeBytes, mtimeUs, mode, target };
  if (row.checksum !== itemChecksum(row.orderId, row.position, item)) throw damaged(`item ${id}`);
  return { ...item, id, state, attempts, code: row.code ?? undefined, message: row.message ?? undefined };
}

function orderChecksum(
  order: Pick<OrderRow, "id" | "state" | "createdMs" | "startedMs"> & { dueMs?: number | null | undefined },
  request: string,
  result: string | null,
): number {
  const { id, state, createdMs, startedMs, dueMs } = order;
  return checksumOf(JSON.stringify([id, state, createdMs, startedMs, dueMs ?? null, request, result]));
}

function listChecksum(
  orderId: string,
  position: number,
  items: number | undefined,
  standing: string | undefined,
): number {
  return checksumOf(`${orderId} ${position} ${items} ${standing}`);
}

function itemChecksum(orderId: string, position: number, item: JobItem): number {
  const { kind, path, sizeBytes, mtimeUs, mode, target } = item;
  return checksumOf(
    `${orderId} ${position} ${kind} ${sizeBytes} ${mtimeUs} ${mode} ${target.length} ${target} ${path}`,
  );
}
