/** Any change of the tables raises the version; a journal of another version is set aside. */
export const JOURNAL_VERSION = 3;

/**
 * What became of an item so far. The numbers are code words at a distance of four bits, so that a
 * damaged state is none at all rather than another one.
 */
export const ITEM_STATE = {
  /** Listed and not settled. */
  waiting: 0x0f,
  /** Failed in a way that may pass: tried again in the source's next pass. */
  again: 0x33,
  done: 0x55,
  unchanged: 0x66,
  /** Was tried and failed for good. */
  failed: 0x3c,
  /** Left out by configuration. */
  skipped: 0x5a,
  /** Would have been fetched, were it not a dry run. */
  planned: 0x96,
  /** Not in the list: found in the mirror and moved to the trash, or to be. */
  pruned: 0x99,
  /** Never to be fetched: its name is not to be used, or the source may not read it. Counts as failed. */
  refused: 0x69,
} as const;
export type ItemState = (typeof ITEM_STATE)[keyof typeof ITEM_STATE];

const TO_DO = `state IN (${ITEM_STATE.waiting}, ${ITEM_STATE.again})`;
const NOT_THERE = `state IN (${ITEM_STATE.failed}, ${ITEM_STATE.refused})`;
const WORTH_TELLING = `state IN (${ITEM_STATE.done}, ${ITEM_STATE.planned}, ${ITEM_STATE.pruned})`;
export const SQL = {
  toDo: TO_DO,
  notThere: NOT_THERE,
  worthTelling: WORTH_TELLING,
  states: Object.values(ITEM_STATE).join(", "),
};

/** Numbers of the kinds of items. */
export const ITEM_KINDS = ["file", "directory", "symlink"] as const;

/** Columns `checksum` guard what SQLite does not: a flipped bit that leaves the row a valid one. */
export const JOURNAL_SCHEMA = `
  CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    createdMs INTEGER NOT NULL,
    startedMs INTEGER NOT NULL,
    dueMs INTEGER,
    bytesTransferred INTEGER NOT NULL,
    result TEXT,
    checksum INTEGER NOT NULL
  ) WITHOUT ROWID;

  CREATE TABLE completeLists (
    orderId TEXT NOT NULL,
    position INTEGER NOT NULL,
    items INTEGER NOT NULL,
    -- What it held besides, and was in the mirror already: counts, as JSON.
    standing TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (orderId, position)
  ) WITHOUT ROWID;

  -- Ids are never used again: a late settlement must not meet another item.
  CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    orderId TEXT NOT NULL,
    position INTEGER NOT NULL,
    path TEXT NOT NULL,
    kind INTEGER NOT NULL,
    sizeBytes INTEGER NOT NULL,
    mtimeUs INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    target TEXT NOT NULL,
    -- Whether files that are not listed are deleted: then paths are looked up.
    isPruning INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    code TEXT,
    message TEXT
  );
  CREATE INDEX itemsToDo ON items (orderId, position, state, id) WHERE ${TO_DO};
  CREATE INDEX itemsNotThere ON items (orderId, position, id) WHERE ${NOT_THERE};
  CREATE INDEX itemsByPath ON items (orderId, position, path) WHERE isPruning = 1;

  -- What was fetched: what a verification compares with.
  CREATE TABLE files (
    directory TEXT NOT NULL,
    path TEXT NOT NULL,
    sizeBytes INTEGER NOT NULL,
    mtimeUs INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    digest TEXT NOT NULL,
    pieceBytes INTEGER NOT NULL,
    chain TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (directory, path)
  ) WITHOUT ROWID;
`;
