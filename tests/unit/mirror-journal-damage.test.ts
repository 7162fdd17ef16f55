import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { asDrayError } from "../../src/errors/dray-error.ts";
import type { FileRecord } from "../../src/mirror/file-records.ts";
import type { FetchedVersion } from "../../src/mirror/job.ts";
import { ITEM_STATE } from "../../src/mirror/journal-schema.ts";
import {
  Journal,
  type JournaledItem,
  type JournaledOrder,
  type ListedItem,
} from "../../src/mirror/journal.ts";
import { StateDirectory } from "../../src/mirror/state-directory.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { type Random, seededRandom } from "../support/random.ts";

setDefaultTimeout(120_000);

/** DRAY_TEST_SEED damages other places. */
const SEED = Number(process.env["DRAY_TEST_SEED"] ?? 0);
const folder = ramFolder(100_000_000);
afterAll(() => folder[Symbol.dispose]());

const ORDERS = ["10f0a3c1", "22b6d3f0"];
const POSITIONS = [0, 1];
const DIRECTORY = "10.0.0.1_9000";
/** Of the second source, what it does not have is deleted. */
function isPruning(position: number): boolean {
  return position === 1;
}

/** All that a mirror reads from a journal. */
interface Content {
  orders: JournaledOrder[];
  sources: { listSize: number | undefined; items: JournaledItem[] | "damaged" }[];
  files: FileRecord[];
}

interface Files {
  database: Buffer;
  /** What was not yet moved into the database; empty after an orderly end. */
  wal: Buffer;
  /** What the journal said after each step; the last one is what it has to say now. */
  history: Content[];
}

const killed = write(false);
const ended = write(true);

/** Without what only informs: counts of attempts and bytes, reasons of failures. Those are not worth a checksum. */
function contentOf(journal: Journal): Content {
  const sources = ORDERS.flatMap((orderId) =>
    POSITIONS.map((position) => ({
      listSize: journal.listSize(orderId, position),
      items: itemsOf(journal, orderId, position),
    })),
  );
  const orders = journal.orders().map((order) => ({ ...order, bytesTransferred: 0 }));
  return { orders, sources, files: filesOf(journal) };
}

/** What is known of files, and how they came. What is damaged of that is not believed. */
function filesOf(journal: Journal): FileRecord[] {
  const paths = [...new Set(ORDERS.flatMap((_, index) => pathsOf(index)))];
  return paths.flatMap((path) => journal.files.get(DIRECTORY, path) ?? []);
}

/** Damage that is noticed is as good as none: the source is listed anew. */
function itemsOf(journal: Journal, orderId: string, position: number): JournaledItem[] | "damaged" {
  try {
    const items = [...journal.items(orderId, position)];
    const listSize = journal.listSize(orderId, position) ?? items.length;
    if (items.length !== listSize || !journal.isWhole(orderId, position, listSize)) return "damaged";
    return items.map((item) => ({ ...item, attempts: 0, code: undefined, message: undefined }));
  } catch (error) {
    expect(asDrayError(error).code).toBe("integrity");
    return "damaged";
  }
}

/** A journal in the middle of its life, with every kind of row in it. */
function write(isEnded: boolean): Files {
  const path = folder.join(`whole-${isEnded}.db`);
  const journal = new Journal(path);
  const history = [contentOf(journal)];
  const step = (work: () => void): void => {
    work();
    history.push(contentOf(journal));
  };
  for (const [index, id] of ORDERS.entries()) {
    const order = orderOf(id, index);
    step(() => journal.saveOrder(order));
    for (const position of POSITIONS) {
      step(() => journal.addItems(id, position, listed(120, `${index} ${position}`), isPruning(position)));
      if (position === 0) step(() => journal.markListComplete(id, position, 120));
      const items = journal.toDo(id, position, 0, 60);
      step(() =>
        journal.settle(
          id,
          items.map(({ id: itemId }, at) => ({
            id: itemId,
            state: [ITEM_STATE.done, ITEM_STATE.unchanged, ITEM_STATE.again, ITEM_STATE.failed][at % 4]!,
            attempts: 1,
            failure: at % 4 < 2 ? undefined : { code: "closed", message: "the connection ended too early" },
          })),
          12_345,
          DIRECTORY,
          items.map((item) => ({ path: item.path, version: versionOf(item) })),
        ),
      );
    }
  }
  const done = history.at(-1)!.orders[1]!;
  step(() =>
    journal.saveOrder({ ...done, state: "waiting", dueMs: 1_700_000_900_000, result: resultOf(done.id) }),
  );
  if (isEnded) journal.close();
  const files = {
    database: readFileSync(path),
    wal: existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : Buffer.alloc(0),
    history,
  };
  if (!isEnded) journal.close();
  return files;
}

function orderOf(id: string, index: number): JournaledOrder {
  return {
    id,
    request: {
      sources: POSITIONS.map((position) => ({
        host: "10.0.0.1",
        port: 9000 + position,
        path: "docs",
        delayMs: 0,
      })),
      attempts: 5,
      patienceMs: 60_000,
      include: [],
      exclude: [],
      ...(index === 1 ? { everyMs: 60_000 } : {}),
    },
    state: "running",
    createdMs: 1_700_000_000_000 + index,
    startedMs: 1_700_000_000_000 + index,
    dueMs: undefined,
    bytesTransferred: 0,
    result: undefined,
  };
}

function resultOf(orderId: string): JournaledOrder["result"] {
  const counts = {
    files: 7,
    directories: 1,
    bytes: 700,
    bytesTransferred: 700,
    unchanged: 0,
    links: 0,
    skipped: 0,
    deleted: 0,
    rotten: 0,
    failed: 0,
  };
  const sizes = { sizeMean: 100, sizeVariance: 0, sizeStddev: 0 };
  return { type: "result", orderId, ...counts, ...sizes, durationMs: 12, sources: [], failures: [] };
}

function listed(count: number, tag: string): ListedItem[] {
  return Array.from({ length: count }, (_, index) => ({
    kind: index % 10 === 0 ? "directory" : index % 10 === 1 ? "symlink" : "file",
    path: `docs/${tag}/${"sub/".repeat(index % 3)}file-${index}.bin`,
    sizeBytes: index * 1000,
    mtimeUs: 1_600_000_000_000_000 + index,
    mode: 0o644,
    target: index % 10 === 1 ? `../file-${index}` : "",
    state: index % 20 === 0 ? ITEM_STATE.skipped : ITEM_STATE.waiting,
    failure: index % 20 === 0 ? { code: "refused", message: "a symbolic link" } : undefined,
  }));
}

function pathsOf(index: number): string[] {
  return POSITIONS.flatMap((position) => listed(60, `${index} ${position}`).map(({ path }) => path));
}

function versionOf({ sizeBytes, mtimeUs, mode }: JournaledItem): FetchedVersion {
  return { sizeBytes, mtimeUs, mode, digest: "xxh3", pieceBytes: 262_144, chain: "0123456789abcdef" };
}

let mirrors = 0;

/** Tries every case, and throws what was wrong with some of them. */
function forEach<T>(cases: Iterable<T>, check: (one: T) => void): void {
  const wrong = new Set<string>();
  for (const one of cases) {
    try {
      check(one);
    } catch (error) {
      wrong.add(error instanceof Error ? error.message : String(error));
    }
  }
  expect([...wrong].slice(0, 10)).toEqual([]);
}

/** Starts from damaged files, as a mirror does, and checks that nothing wrong comes of it. */
function startFrom(
  database: Buffer,
  wal: Buffer,
  isKnown: (content: Content) => boolean,
): "set aside" | "intact" {
  const directory = folder.join(`mirror-${mirrors++}`);
  mkdirSync(`${directory}/.dray`, { recursive: true });
  const path = `${directory}/.dray/journal.db`;
  writeFileSync(path, database);
  if (wal.length > 0) writeFileSync(`${path}-wal`, wal);
  const state = new StateDirectory(directory, Date.now());
  const told: string[] = [];
  const journal = state.openJournal((message) => told.push(message));
  try {
    if (told.length > 0) {
      expect(told).toHaveLength(1);
      const aside = /kept as "([^"]+)"/.exec(told[0]!)?.[1];
      expect(told[0]).toContain("journal");
      // Merely opening it may change its head and fill its last page, and nothing else.
      const kept = readFileSync(aside!).subarray(100, database.length);
      expect(kept.equals(database.subarray(100))).toBe(true);
      expect(journal.orders()).toEqual([]);
    } else {
      const content = contentOf(journal);
      if (!isKnown(content))
        throw new Error(`Taken as it is: ${differences(killed.history.at(-1)!, content)}`);
    }
    goOn(journal);
  } finally {
    journal.close();
    state.close(true);
    rmSync(directory, { recursive: true });
  }
  return told.length > 0 ? "set aside" : "intact";
}

/** All that a mirror does to its journal: after a start without complaint none of it may stumble over damage. */
function goOn(journal: Journal): void {
  for (const [index, id] of ORDERS.entries()) {
    for (const position of POSITIONS) {
      if (itemsOf(journal, id, position) === "damaged") journal.clearSource(id, position);
      journal.startPass(id, position);
      const items = journal.toDo(id, position, 0, 1000);
      const known = [...journal.items(id, position)].filter(({ path }) => !path.includes("pruned"));
      // What the list holds is never taken for what the source does not have.
      const isFound = ({ path, kind }: JournaledItem): boolean =>
        journal.isListed(id, position, path, kind === "directory");
      if (isPruning(position)) expect(known.filter((item) => !isFound(item))).toEqual([]);
      journal.addItems(id, position, [{ ...listed(2, "pruned")[1]!, state: ITEM_STATE.pruned }], true);
      const settled = items.map((item) => ({
        id: item.id,
        state: ITEM_STATE.done,
        attempts: 1,
        failure: undefined,
      }));
      journal.settle(id, settled, 5);
      expect(journal.toDo(id, position, 0, 1000)).toEqual([]);
      expect([...journal.failed(id, position)].every(({ path }) => path.startsWith("docs/"))).toBe(true);
      journal.retryFailed(id, position);
      journal.failRest(id, position, "closed", "gone");
    }
    journal.saveOrder({ ...orderOf(id, index), state: "done" });
    expect(journal.trimEnded(id, true)).toBe(false);
    for (const position of POSITIONS) journal.clearSource(id, position);
    journal.deleteOrder(id);
  }
}

/** Whether it is one of those, but for sources whose damage was noticed. */
function isOneOf(history: readonly Content[]): (content: Content) => boolean {
  return (content) =>
    history.some(
      (known) =>
        Bun.deepEquals(content.orders, known.orders) &&
        content.files.every((file) => known.files.some((one) => Bun.deepEquals(file, one))) &&
        content.sources.every(
          (source, index) =>
            source.items === "damaged" ||
            Bun.deepEquals(source, known.sources[index]!) ||
            source.listSize === undefined,
        ),
    );
}

/** The first few, for the reader of a failed test. */
function differences(expected: Content, actual: Content): string {
  const found: string[] = [];
  const compare = (left: unknown, right: unknown, where: string): void => {
    if (Bun.deepEquals(left, right)) return;
    if (typeof left === "object" && typeof right === "object" && left !== null && right !== null) {
      for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
        compare(left[key as keyof typeof left], right[key as keyof typeof right], `${where}.${key}`);
      }
    } else {
      found.push(`${where} is ${JSON.stringify(right)}, not ${JSON.stringify(left)}`);
    }
  };
  compare(expected, actual, "journal");
  return found.slice(0, 5).join("; ");
}

const whole = isOneOf([killed.history.at(-1)!]);
const once = isOneOf(killed.history);

function flipped(bytes: Buffer, random: Random, flips: number, range = bytes.length): Buffer {
  const copy = Buffer.from(bytes);
  for (let flip = 0; flip < flips; flip++) copy[random.integer(0, range - 1)]! ^= 1 << random.integer(0, 7);
  return copy;
}

describe("a journal that is whole", () => {
  test("of a killed mirror, and of one that has ended, says what it said", () => {
    expect(startFrom(killed.database, killed.wal, whole)).toBe("intact");
    expect(startFrom(ended.database, ended.wal, whole)).toBe("intact");
    expect(ended.wal).toHaveLength(0);
  });
});

describe("bits that are flipped in the journal of", () => {
  test.each([
    ["a mirror that has ended, anywhere", Number.POSITIVE_INFINITY, 350],
    ["a mirror that has ended, in its head", 100, 250],
    ["a mirror that has ended, in the description of its tables", 4096, 250],
  ])("%s, are noticed or do no harm", (_, range, count) => {
    const random = seededRandom(SEED + (range === Number.POSITIVE_INFINITY ? 1 : range));
    const seen = new Set<string>();
    forEach(Array(count).keys(), (index) => {
      const damaged = flipped(
        ended.database,
        random,
        1 + (index % 3),
        Math.min(range, ended.database.length),
      );
      seen.add(startFrom(damaged, ended.wal, whole));
    });
    expect([...seen].sort()).toEqual(["intact", "set aside"]);
  });

  test("a killed mirror, in what was written last, take back steps and nothing else", () => {
    const random = seededRandom(SEED + 2);
    forEach(Array(150).keys(), (index) =>
      startFrom(killed.database, flipped(killed.wal, random, 1 + (index % 3)), once),
    );
  });
});

describe("a journal that is cut", () => {
  test("after an orderly end, is noticed at every length", () => {
    const random = seededRandom(SEED + 3);
    const { length } = ended.database;
    const lengths = [0, 1, 15, 16, 99, 100, 4095, 4096, length - 4096, length - 1];
    for (let index = 0; index < 100; index++) lengths.push(random.integer(0, length - 1));
    forEach(lengths, (cut) => {
      const start = startFrom(ended.database.subarray(0, cut), Buffer.alloc(0), whole);
      // SQLite takes missing bytes at the end of the last page for zeros, which they may have been.
      if (cut <= length - 4096) expect(`at ${cut}: ${start}`).toBe(`at ${cut}: set aside`);
    });
  });

  test("in what was written last, takes back steps and nothing else", () => {
    const random = seededRandom(SEED + 4);
    forEach(Array(100).keys(), () =>
      startFrom(killed.database, killed.wal.subarray(0, random.integer(1, killed.wal.length - 1)), once),
    );
  });
});

test("sectors of zeros, as a power loss leaves them, are noticed or do no harm", () => {
  forEach(Array(Math.ceil(ended.database.length / 512)).keys(), (sector) => {
    const damaged = Buffer.from(ended.database);
    damaged.fill(0, sector * 512, (sector + 1) * 512);
    startFrom(damaged, ended.wal, whole);
  });
});
