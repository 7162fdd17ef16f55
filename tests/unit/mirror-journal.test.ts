import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { asDrayError } from "../../src/errors/dray-error.ts";
import { ITEM_STATE } from "../../src/mirror/journal-schema.ts";
import { Journal, type JournaledOrder, type ListedItem } from "../../src/mirror/journal.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { type TempFolder } from "../support/temp.ts";

let folder: TempFolder;
let journal: Journal;

beforeEach(() => {
  folder = ramFolder(50_000_000);
  journal = new Journal(folder.join("journal.db"));
});
afterEach(() => {
  journal.close();
  folder[Symbol.dispose]();
});

const order: JournaledOrder = {
  id: "0af1",
  request: {
    sources: [{ host: "a.example", port: 9000, path: ".", delayMs: 0 }],
    attempts: 5,
    patienceMs: 60_000,
    include: [],
    exclude: [],
  },
  state: "running",
  createdMs: 1_700_000_000_000,
  startedMs: 1_700_000_000_001,
  dueMs: undefined,
  bytesTransferred: 0,
  result: undefined,
};

function file(path: string, sizeBytes = 10): ListedItem {
  return {
    kind: "file",
    path,
    sizeBytes,
    mtimeUs: 1,
    mode: 0o644,
    target: "",
    state: ITEM_STATE.waiting,
    failure: undefined,
  };
}

function files(count: number): ListedItem[] {
  return Array.from({ length: count }, (_, index) => file(`file-${index}`));
}

function reopen(): void {
  journal.close();
  journal = new Journal(folder.join("journal.db"));
}

/** Changes the journal behind its back. */
function tamper(sql: string): void {
  journal.close();
  const database = new Database(folder.join("journal.db"), { readwrite: true });
  try {
    database.run(sql);
  } finally {
    database.close();
  }
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return asDrayError(error).code;
  }
  return "no error";
}

/** What a mirror reads when it starts. */
function readAll(): void {
  const opened = new Journal(folder.join("journal.db"));
  try {
    for (const { id } of opened.orders()) {
      const listSize = opened.listSize(id, 0)!;
      const items = [...opened.items(id, 0)];
      if (items.length !== listSize || !opened.isWhole(id, 0, listSize))
        throw new Error("not whole, so it is listed anew");
    }
  } finally {
    opened.close();
  }
}

describe("a journal", () => {
  test("lets nobody else in while it is open", () => {
    expect(codeOf(() => new Journal(folder.join("journal.db")))).toBe("refused");
    reopen();
  });

  test("keeps what a name and a number can hold", () => {
    const paths = ["a/b", "ü/日本語", "new\nline", "\u0000nul", "'; DROP TABLE items; --", "x".repeat(4096)];
    const sizes = [0, 1, 2 ** 31, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER];
    journal.addItems(
      "0af1",
      0,
      paths.map((path, index) => file(path, sizes[index])),
    );
    reopen();
    const items = journal.toDo("0af1", 0, 0, 100);
    expect(items.map(({ path }) => path)).toEqual(paths);
    expect(items.map(({ sizeBytes }) => sizeBytes)).toEqual(sizes);
  });

  test("adds a batch whole or not at all", () => {
    const batch = [...files(5), { ...file("bad"), path: null as unknown as string }];
    expect(codeOf(() => journal.addItems("0af1", 0, batch))).not.toBe("no error");
    expect([...journal.items("0af1", 0)]).toEqual([]);
  });

  test("never gives an id again: a late settlement meets no other item", () => {
    journal.addItems("0af1", 0, files(3));
    const ids = journal.toDo("0af1", 0, 0, 10).map(({ id }) => id);
    journal.clearSource("0af1", 0);
    reopen();
    journal.addItems("0af1", 0, files(3));
    const late = ids.map((id) => ({ id, state: ITEM_STATE.done, attempts: 1, failure: undefined }));
    journal.settle("0af1", late, 0);
    expect(journal.toDo("0af1", 0, 0, 10)).toHaveLength(3);
  });

  test("forgets a large run in slices, and keeps what failed", () => {
    const items = files(45_000);
    journal.addItems("0af1", 0, items);
    journal.addItems("other", 0, files(2));
    const failed = journal.toDo("0af1", 0, 0, 7).map(({ id }) => ({
      id,
      state: ITEM_STATE.failed,
      attempts: 1,
      failure: { code: "closed", message: "gone" } as const,
    }));
    journal.settle("0af1", failed, 0);
    let slices = 1;
    while (journal.trimEnded("0af1", true)) slices++;
    expect(slices).toBeGreaterThan(1);
    expect([...journal.items("0af1", 0)]).toHaveLength(7);
    while (journal.trimEnded("0af1", false)) slices++;
    expect([...journal.items("0af1", 0)]).toEqual([]);
    expect([...journal.items("other", 0)]).toHaveLength(2);
  });
});

describe("damage that leaves the tables valid is noticed in", () => {
  test.each([
    "id = '0af2'",
    "request = replace(request, '9000', '9001')",
    "request = replace(request, 'a.example', 'b.example')",
    "state = 'done'",
    "state = 'rtnning'",
    "createdMs = createdMs + 1",
    "startedMs = startedMs - 4096",
    "dueMs = 5",
    "result = '{}'",
    "checksum = checksum + 1",
  ])("an order: %s", (change) => {
    journal.saveOrder(order);
    journal.markListComplete(order.id, 0, 0);
    tamper(`UPDATE orders SET ${change}`);
    expect(codeOf(readAll)).toBe("integrity");
  });

  test.each([
    "path = 'file-7'",
    "path = '../../etc/passwd'",
    "kind = 1",
    "kind = 7",
    "target = '/etc'",
    "isPruning = 1",
    "sizeBytes = sizeBytes + 65536",
    "mtimeUs = mtimeUs + 1",
    "mode = 493",
    "checksum = checksum + 1",
    "orderId = 'elsewhere'",
    "position = 1",
    "state = state + 1",
    "state = state + 2",
  ])("an item: %s", (change) => {
    journal.saveOrder(order);
    journal.addItems(order.id, 0, files(5));
    journal.markListComplete(order.id, 0, 5);
    tamper(`UPDATE items SET ${change} WHERE id = 3`);
    expect(codeOf(readAll)).not.toBe("no error");
  });

  test("an intact journal: then there is nothing to notice", () => {
    journal.saveOrder(order);
    journal.addItems(order.id, 0, files(5));
    journal.markListComplete(order.id, 0, 5);
    tamper("PRAGMA user_version");
    expect(codeOf(readAll)).toBe("no error");
  });
});

test("a damaged count of a list is none: the source is listed anew", () => {
  journal.markListComplete(order.id, 0, 5);
  expect(journal.listSize(order.id, 0)).toBe(5);
  tamper("UPDATE completeLists SET items = 4");
  journal = new Journal(folder.join("journal.db"));
  expect(journal.listSize(order.id, 0)).toBeUndefined();
});

describe("what a list held besides its items", () => {
  const standing = {
    directories: 3,
    sizes: { count: 7, sumBytes: 2 ** 50 + 1, mean: 1 / 3, squaredDistance: 1e300 },
  };

  test("is not believed after another boot: the list is made anew, others are not", () => {
    journal.saveOrder(order);
    journal.addItems(order.id, 1, files(2));
    journal.markListComplete(order.id, 0, 5, standing);
    journal.markListComplete(order.id, 1, 2);
    journal.markListComplete("ended", 0, 5, standing);
    journal.lookAgain();
    expect(journal.listSize(order.id, 0)).toBeUndefined();
    expect(journal.listSize(order.id, 1)).toBe(2);
    expect(journal.listSize("ended", 0)).toBe(5);
  });

  test("is known to the next mirror, until the list is made anew or only what failed is left of it", () => {
    journal.markListComplete(order.id, 0, 5, standing);
    reopen();
    expect(journal.listSize(order.id, 0)).toBe(5);
    expect(journal.standing(order.id, 0)).toEqual(standing);
    expect(journal.standing(order.id, 1).sizes.count).toBe(0);
    journal.retryFailed(order.id, 0);
    expect(journal.listSize(order.id, 0)).toBe(0);
    expect(journal.standing(order.id, 0)).toMatchObject({ directories: 0, sizes: { count: 0 } });
    journal.clearSource(order.id, 0);
    expect(journal.listSize(order.id, 0)).toBeUndefined();
  });

  test("is not known when it is damaged: the source is listed anew", () => {
    journal.markListComplete(order.id, 0, 5, standing);
    tamper("UPDATE completeLists SET standing = replace(standing, '7', '6')");
    journal = new Journal(folder.join("journal.db"));
    expect(journal.listSize(order.id, 0)).toBeUndefined();
  });
});

test("a journal of another version is not used", () => {
  tamper("PRAGMA user_version = 99");
  expect(codeOf(readAll)).toBe("integrity");
  expect(readAll).toThrow(/version 99/);
});
