import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ITEM_STATE } from "../../src/mirror/journal-schema.ts";
import type { JournaledItem, ListedItem } from "../../src/mirror/journal.ts";
import { Journal } from "../../src/mirror/journal.ts";
import { OrderRun } from "../../src/mirror/order-run.ts";
import { type FinalOutcome, type SettlingRun, recount, settle } from "../../src/mirror/settlement.ts";
import type { OrderEvent, OrderRequest } from "../../src/wire/order.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { runs } from "./runs.ts";

const ID = "0af1";

interface Watched extends SettlingRun {
  events: OrderEvent[];
}

function runOf(wishes: Partial<OrderRequest>): Watched {
  const request: OrderRequest = {
    sources: [{ host: "h", port: 1, path: ".", delayMs: 0 }],
    ...{ attempts: 3, patienceMs: 0, include: [], exclude: [] },
    ...wishes,
  };
  const events: OrderEvent[] = [];
  const order = new OrderRun(ID, request, 0, 0, (event) => events.push(event));
  return { order, run: order.sources[0]!, request, events };
}

/** All that a run of a source counts and a later daemon has to count again. */
function countsOf({ run, order }: SettlingRun): Record<string, unknown> {
  const { listedItems, filesListed, bytesListed, linksListed, directories, unchanged, links, skipped } = run;
  const { newcomers, planned, deleted, rotten, failed, again, sizes } = run;
  const { durationMs: _, failures: __, ...result } = order.end(1, []);
  return {
    ...{ listedItems, filesListed, bytesListed, linksListed, directories, unchanged, links, skipped },
    ...{ newcomers, planned, deleted, rotten, failed, again },
    ...{ count: sizes.count, sum: sizes.sumBytes, mean: sizes.mean, result },
  };
}

const reason = fc.constantFrom("new", "changed", "rotten", "missing");
const failed: fc.Arbitrary<FinalOutcome> = fc.record({
  kind: fc.constant("failed"),
  code: fc.constantFrom("refused", "closed"),
  // A reason of a failure must not be taken for a reason to fetch.
  message: fc.constantFrom("no", "new", "rotten", "missing"),
  mayPass: fc.boolean(),
});
const outcomes = {
  directory: fc.oneof(fc.constant<FinalOutcome>({ kind: "directory" }), failed),
  symlink: fc.oneof(
    fc.record({ kind: fc.constant("linked"), reason: fc.option(reason, { nil: undefined }) }),
    fc.record({ kind: fc.constant("planned"), reason }),
    failed,
  ) as fc.Arbitrary<FinalOutcome>,
  file: fc.oneof(
    fc.record({ kind: fc.constant("fetched"), reason }),
    fc.constant({ kind: "unchanged" }),
    fc.record({ kind: fc.constant("planned"), reason }),
    failed,
  ) as fc.Arbitrary<FinalOutcome>,
};

const sized = fc.record({ sizeBytes: fc.nat(10_000), attempts: fc.nat(3) });
const item = fc.constantFrom("directory", "symlink", "file", "file").chain((kind) =>
  fc.record({
    kind: fc.constant(kind),
    sized,
    outcome: fc.option(outcomes[kind], { nil: undefined }),
    setAside: fc.option(fc.constantFrom(ITEM_STATE.skipped, ITEM_STATE.refused), { nil: undefined, freq: 4 }),
  }),
);

const wishes = fc.record({
  verify: fc.option(fc.constant(true as const), { nil: undefined }),
  dryRun: fc.option(fc.constant(true as const), { nil: undefined }),
  pruned: fc.nat(3),
});

test("what a daemon has settled, the next one counts as the same", () => {
  using folder = ramFolder(20_000_000);
  let journals = 0;
  fc.assert(
    fc.property(fc.array(item, { maxLength: 40 }), wishes, (items, { verify, dryRun, pruned }) => {
      const terms = { ...(verify ? { verify } : {}), ...(dryRun ? { dryRun } : {}) };
      const first = runOf(terms);
      const path = folder.join(`${journals++}.db`);
      let journal = new Journal(path);
      const listed = items.map(({ kind, sized, setAside }, index): ListedItem => ({
        ...{ kind, path: `path ${index}`, sizeBytes: kind === "file" ? sized.sizeBytes : 0 },
        ...{ mtimeUs: 0, mode: 0, target: "", state: setAside ?? ITEM_STATE.waiting },
        failure: setAside === undefined ? undefined : { code: "refused", message: "new" },
      }));
      journal.addItems(ID, 0, listed, true);
      first.run.listedItems = listed.length;
      for (const { kind, sizeBytes, state } of listed) {
        if (state === ITEM_STATE.skipped) first.run.skipped++;
        else if (state === ITEM_STATE.refused) first.run.failed++;
        else first.run.listed(kind, sizeBytes);
      }
      for (const journaled of journal.toDo(ID, 0, 0, 1_000)) {
        const { outcome, sized } = items[Number(journaled.path.slice("path ".length))]!;
        if (outcome === undefined) continue;
        const { sizeBytes } = journaled;
        const whole: FinalOutcome =
          outcome.kind === "fetched" || outcome.kind === "unchanged" ? { ...outcome, sizeBytes } : outcome;
        journal.settle(ID, [settle(first, { ...journaled, attempts: sized.attempts }, whole)], 0);
      }
      const gone = listed.slice(0, pruned).map((one): ListedItem => {
        const { failure: _, ...rest } = one;
        const found = { path: `${one.path} gone`, kind: "file", state: ITEM_STATE.pruned } as const;
        return { ...rest, ...found, failure: undefined, note: "not at the source any more" };
      });
      journal.addItems(ID, 0, gone, true);
      for (const one of gone) first.order.deleted(first.run, one.path);

      journal.close();
      journal = new Journal(path);
      const second = runOf(terms);
      for (const journaled of journal.items(ID, 0)) recount(second, journaled);
      journal.close();
      expect(countsOf(second)).toEqual(countsOf(first));
    }),
    runs(300),
  );
});

describe("an outcome", () => {
  const file: JournaledItem = {
    ...{ id: 7, kind: "file", path: "docs/a", sizeBytes: 5, mtimeUs: 0, mode: 0, target: "" },
    ...{ state: ITEM_STATE.waiting, attempts: 0, code: undefined, message: undefined },
  };
  const fetched = (reason: "new" | "changed" | "rotten" | "missing"): FinalOutcome => ({
    kind: "fetched",
    sizeBytes: 5,
    reason,
  });

  test("of a verification is told as rot, whatever is wrong with the file", () => {
    for (const reason of ["rotten", "changed", "missing"] as const) {
      const verifying = runOf({ verify: true });
      expect(settle(verifying, file, fetched(reason))).toMatchObject({
        state: ITEM_STATE.done,
        note: reason,
      });
      expect(verifying.run.rotten).toBe(1);
      expect(verifying.events).toMatchObject([{ type: "rot", path: "docs/a" }]);
    }
  });

  test("of any other order is none", () => {
    for (const reason of ["new", "changed", "missing"] as const) {
      const ordinary = runOf({});
      settle(ordinary, file, fetched(reason));
      expect([ordinary.run.rotten, ordinary.events]).toEqual([0, []]);
    }
  });

  test("that may pass is tried again as often as the order says, and then told as a failure", () => {
    const failed = { kind: "failed", code: "closed", message: "gone", mayPass: true } as const;
    const settling = runOf({ attempts: 3 });
    for (const attempts of [0, 1]) {
      expect(settle(settling, { ...file, attempts }, failed).state).toBe(ITEM_STATE.again);
    }
    expect(settling.events).toEqual([]);
    expect(settle(settling, { ...file, attempts: 2 }, failed)).toMatchObject({
      state: ITEM_STATE.failed,
      attempts: 3,
      failure: { code: "closed", message: "gone" },
    });
    expect(settling.events).toMatchObject([{ type: "failure", path: "docs/a", code: "closed" }]);
    expect([settling.run.again, settling.run.failed]).toEqual([2, 1]);
    expect(settle(settling, file, { ...failed, mayPass: false }).state).toBe(ITEM_STATE.failed);
  });
});
