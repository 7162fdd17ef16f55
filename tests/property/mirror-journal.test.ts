import { expect, test } from "bun:test";
import { copyFileSync, existsSync } from "node:fs";
import fc from "fast-check";
import { ITEM_STATE } from "../../src/mirror/journal-schema.ts";
import {
  Journal,
  type JournaledItem,
  type JournaledOrder,
  type ListedItem,
  type Settlement,
} from "../../src/mirror/journal.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { runs } from "./runs.ts";

const NOT_THERE: readonly number[] = [ITEM_STATE.failed, ITEM_STATE.refused];
const LEFT_OUT: readonly number[] = [ITEM_STATE.skipped, ITEM_STATE.refused];
const DONE_TO: readonly number[] = [ITEM_STATE.done, ITEM_STATE.planned, ITEM_STATE.pruned];
const ORDERS = ["a", "b"] as const;
const POSITIONS = [0, 1] as const;

interface Place {
  orderId: string;
  position: number;
}

interface ModelItem extends JournaledItem, Place {}

/** The journal as a list in memory, kept the naive way. */
class Model {
  items: ModelItem[] = [];
  readonly orders = new Map<string, JournaledOrder>();
  /** Sizes of complete lists, by place. */
  readonly completeLists = new Map<string, number>();
  /** Ids that were given, also those of items that are gone. */
  readonly ids: number[] = [];
  /** Ids of items whose paths can be looked up. */
  readonly pruning = new Set<number>();

  at({ orderId, position }: Place): ModelItem[] {
    return this.items.filter((item) => item.orderId === orderId && item.position === position);
  }

  /** @returns how many */
  change(place: Place, states: readonly number[], to: Partial<JournaledItem>): number {
    const changed = this.at(place).filter(({ state }) => states.includes(state));
    for (const item of changed) Object.assign(item, to);
    return changed.length;
  }

  remove(isGone: (item: ModelItem) => boolean): void {
    this.items = this.items.filter((item) => !isGone(item));
  }
}

const place = fc.record({ orderId: fc.constantFrom(...ORDERS), position: fc.constantFrom(...POSITIONS) });
const orderId = fc.constantFrom(...ORDERS);
const state = fc.constantFrom(...Object.values(ITEM_STATE));
const failure = fc.option(
  fc.record({
    code: fc.constantFrom("refused", "closed", "not-found"),
    message: fc.string({ unit: "binary" }),
  } as const),
  { nil: undefined },
);
const listedItem: fc.Arbitrary<ListedItem> = fc.record({
  kind: fc.constantFrom("file", "directory", "symlink"),
  path: fc.string({ unit: "binary", minLength: 1 }).filter((path) => path.isWellFormed()),
  sizeBytes: fc.maxSafeNat(),
  mtimeUs: fc.maxSafeInteger(),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  target: fc.string({ unit: "binary" }).filter((target) => target.isWellFormed()),
  state,
  failure,
} as const);

const order: fc.Arbitrary<JournaledOrder> = fc.record({
  id: orderId,
  request: fc.record({
    sources: fc.constant([{ host: "h", port: 1, path: "ü 日", delayMs: 5 }]),
    attempts: fc.integer({ min: 1, max: 100 }),
    patienceMs: fc.nat(1000),
    include: fc.constant([]),
    exclude: fc.constant(["*.tmp"]),
  }),
  state: fc.constantFrom("running", "waiting", "done", "cancelled"),
  createdMs: fc.maxSafeNat(),
  startedMs: fc.maxSafeNat(),
  dueMs: fc.option(fc.maxSafeNat(), { nil: undefined }),
  bytesTransferred: fc.nat(),
  result: fc.constant(undefined),
} as const);

const note = fc.option(fc.constantFrom("new", "changed", "rotten"), { nil: undefined });
const settlement = fc.record({ pick: fc.nat(), state, attempts: fc.nat(100), failure, note });

const step = fc.oneof(
  fc.record({ do: fc.constant("save" as const), order }),
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      place,
      items: fc.array(listedItem),
      isPruning: fc.boolean(),
    }),
  },
  fc.record({ do: fc.constant("complete" as const), place, size: fc.nat() }),
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      orderId,
      settlements: fc.array(settlement),
      receivedBytes: fc.nat(1e9),
    }),
  },
  fc.record({ do: fc.constant("startPass" as const), place }),
  fc.record({ do: fc.constant("retry" as const), place }),
  fc.record({ do: fc.constant("failRest" as const), place }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant("clear" as const), place }) },
  fc.record({ do: fc.constant("trim" as const), orderId, keepFailed: fc.boolean() }),
  fc.record({ do: fc.constant("delete" as const), orderId }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant("reopen" as const), isKilled: fc.boolean() }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Does one step to the journal and to the model. Everything but "reopen". */
function apply(journal: Journal, model: Model, one: Exclude<Step, { do: "reopen" }>): void {
  switch (one.do) {
    case "save":
      journal.saveOrder(one.order);
      model.orders.set(one.order.id, structuredClone(one.order));
      break;
    case "add":
      add(journal, model, one.place, one.items, one.isPruning);
      break;
    case "complete":
      journal.markListComplete(one.place.orderId, one.place.position, one.size);
      model.completeLists.set(JSON.stringify(one.place), one.size);
      break;
    case "settle": {
      settle(journal, model, one.orderId, one.settlements, one.receivedBytes);
      break;
    }
    case "startPass": {
      const changed = model.change(one.place, [ITEM_STATE.again], { state: ITEM_STATE.waiting });
      expect(journal.startPass(one.place.orderId, one.place.position)).toBe(changed);
      break;
    }
    case "retry": {
      const asNew = { state: ITEM_STATE.waiting, attempts: 0, code: undefined, message: undefined };
      model.change(one.place, [ITEM_STATE.failed], asNew);
      // What is left of an ended order is its list from now on.
      const key = JSON.stringify(one.place);
      const listed = model.at(one.place).filter(({ state }) => state !== ITEM_STATE.pruned);
      if (model.completeLists.has(key)) model.completeLists.set(key, listed.length);
      journal.retryFailed(one.place.orderId, one.place.position);
      break;
    }
    case "failRest": {
      const why = { code: "unreachable", message: "gone" } as const;
      const unsettled = [ITEM_STATE.waiting, ITEM_STATE.again];
      const changed = model.change(one.place, unsettled, { state: ITEM_STATE.failed, ...why });
      expect(journal.failRest(one.place.orderId, one.place.position, why.code, why.message)).toBe(changed);
      break;
    }
    case "clear": {
      const gone = new Set(model.at(one.place));
      journal.clearSource(one.place.orderId, one.place.position);
      model.remove((item) => gone.has(item));
      model.completeLists.delete(JSON.stringify(one.place));
      break;
    }
    case "trim":
      expect(journal.trimEnded(one.orderId, one.keepFailed)).toBe(false);
      model.remove(
        (item) => item.orderId === one.orderId && !(one.keepFailed && NOT_THERE.includes(item.state)),
      );
      break;
    case "delete":
      journal.deleteOrder(one.orderId);
      model.orders.delete(one.orderId);
      for (const position of POSITIONS)
        model.completeLists.delete(JSON.stringify({ orderId: one.orderId, position }));
      break;
  }
}

function add(
  journal: Journal,
  model: Model,
  to: Place,
  items: readonly ListedItem[],
  isPruning: boolean,
): void {
  const known = new Set(model.at(to).map(({ id }) => id));
  journal.addItems(to.orderId, to.position, items, isPruning);
  // Only the journal knows the ids; they tell the order in which items were listed.
  const ids = [...journal.items(to.orderId, to.position)].map(({ id }) => id).filter((id) => !known.has(id));
  expect(ids).toHaveLength(items.length);
  expect(ids.filter((id) => model.ids.includes(id))).toEqual([]);
  for (const [index, { failure, ...item }] of items.entries()) {
    const { code, message } = failure ?? { code: undefined, message: undefined };
    model.items.push({ ...to, ...item, id: ids[index]!, attempts: 0, code, message });
    if (isPruning) model.pruning.add(ids[index]!);
    model.ids.push(ids[index]!);
  }
}

/** Some of the items may be gone by now, as when the disk was full for a while: nothing else may change. */
function settle(
  journal: Journal,
  model: Model,
  orderId: string,
  settled: readonly {
    pick: number;
    state: Settlement["state"];
    attempts: number;
    failure: Settlement["failure"];
    note: string | undefined;
  }[],
  receivedBytes: number,
): void {
  const gone = new Set(model.ids.filter((id) => !model.items.some((item) => item.id === id)));
  const own = model.items.filter((item) => item.orderId === orderId).map(({ id }) => id);
  const ids = [...new Set([...own, ...gone])];
  const settlements =
    ids.length === 0
      ? []
      : settled.map(({ pick, note, ...rest }) => ({
          id: ids[pick % ids.length]!,
          ...rest,
          ...(note === undefined ? {} : { note }),
        }));
  journal.settle(orderId, settlements, receivedBytes);
  for (const { id, state, attempts, failure, note } of settlements) {
    const item = model.items.find((item) => item.id === id);
    const { code, message } = failure ?? { code: undefined, message: note };
    if (item !== undefined) Object.assign(item, { state, attempts, code, message });
  }
  const order = model.orders.get(orderId);
  if (order !== undefined) order.bytesTransferred += receivedBytes;
}

function check(journal: Journal, model: Model): void {
  const orders = [...model.orders.values()].sort(
    (a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1),
  );
  expect(journal.orders()).toEqual(orders);
  for (const orderId of ORDERS) {
    const toTell = model.items
      .filter((item) => item.orderId === orderId && DONE_TO.includes(item.state))
      .map(({ orderId: _orderId, ...item }) => item)
      .sort((a, b) => a.id - b.id);
    const afterId = toTell[0]?.id ?? 0;
    expect(journal.toTell(orderId, 0, 1000)).toEqual(toTell);
    expect(journal.toTell(orderId, afterId, 2)).toEqual(toTell.slice(1, 3));
    for (const position of POSITIONS) {
      const items = model
        .at({ orderId, position })
        .map(({ orderId: _orderId, position: _position, ...item }) => item)
        .sort((a, b) => a.id - b.id);
      expect([...journal.items(orderId, position)].sort((a, b) => a.id - b.id)).toEqual(items);
      expect([...journal.failed(orderId, position)]).toEqual(
        items.filter(({ state }) => NOT_THERE.includes(state)),
      );
      expect(journal.hasRefused(orderId, position)).toBe(
        items.some(({ state }) => state === ITEM_STATE.refused),
      );
      // What was found in the mirror and is not in the list does not count as listed.
      const listed = items.filter(({ state }) => state !== ITEM_STATE.pruned);
      const ways = new Set(listed.map(({ id }) => model.pruning.has(id)));
      expect(journal.isWhole(orderId, position, listed.length)).toBe(ways.size <= 1);
      expect(journal.isWhole(orderId, position, listed.length + 1)).toBe(false);
      checkLookUp(journal, model, { orderId, position }, items);
      const waiting = items.filter(({ state }) => state === ITEM_STATE.waiting);
      expect(journal.toDo(orderId, position, 0, 1000)).toEqual(waiting);
      const afterId = waiting[1]?.id ?? 0;
      expect(journal.toDo(orderId, position, afterId, 2)).toEqual(
        waiting.filter(({ id }) => id > afterId).slice(0, 2),
      );
      expect(journal.listSize(orderId, position)).toBe(
        model.completeLists.get(JSON.stringify({ orderId, position })),
      );
    }
  }
}

/** Whether paths are found by which it is decided what to delete. */
function checkLookUp(journal: Journal, model: Model, to: Place, items: readonly JournaledItem[]): void {
  for (const { path } of items.slice(0, 5)) {
    for (const isDirectory of [true, false]) {
      const isListed = items.some(
        (item) =>
          item.path === path &&
          model.pruning.has(item.id) &&
          item.state !== ITEM_STATE.pruned &&
          ((item.kind === "directory") === isDirectory || LEFT_OUT.includes(item.state)),
      );
      expect(journal.isListed(to.orderId, to.position, path, isDirectory)).toBe(isListed);
    }
  }
}

test("the journal does what a list in memory does, whenever it is closed or killed, and opened again", () => {
  using folder = ramFolder(10_000_000);
  let opened = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40, size: "max" }), (steps) => {
      let path = folder.join(`journal-${opened++}.db`);
      let journal = new Journal(path);
      const left: Journal[] = [];
      const model = new Model();
      try {
        for (const one of steps) {
          if (one.do === "reopen") {
            if (one.isKilled) {
              // What a killed process leaves: the files as they are.
              const copy = folder.join(`journal-${opened++}.db`);
              for (const suffix of ["", "-wal"])
                if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
              left.push(journal);
              path = copy;
            } else {
              journal.close();
            }
            journal = new Journal(path);
          } else {
            apply(journal, model, one);
          }
          check(journal, model);
        }
      } finally {
        for (const one of [...left, journal]) one.close();
      }
    }),
    runs(150),
  );
});
