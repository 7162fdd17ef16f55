import type { OrderRequest } from "../wire/order.ts";
import type { FetchReason, Outcome } from "./job.ts";
import { ITEM_STATE } from "./journal-schema.ts";
import type { JournaledItem, Settlement } from "./journal.ts";
import type { OrderRun } from "./order-run.ts";
import type { SourceRun } from "./source-run.ts";

/** What is counted and told of an item belongs to one source of one run of an order. */
export interface SettlingRun {
  order: OrderRun;
  run: SourceRun;
  request: OrderRequest;
}

/** Outcomes after which an item is not simply put back. */
export type FinalOutcome = Exclude<Outcome, { kind: "returned" | "full" }>;

const ROT: Partial<Record<FetchReason, string>> = {
  rotten: "its contents are not what was fetched, though nobody changed it",
  changed: "it was changed since it was fetched",
  missing: "it has gone since it was fetched",
};

/** What an outcome means for an item: counts it, tells it, and says what the journal is to keep. */
export function settle(
  { order, run, request }: SettlingRun,
  item: JournaledItem,
  outcome: FinalOutcome,
): Settlement {
  const { id } = item;
  const attempts = item.attempts + 1;
  const settled = { id, attempts, failure: undefined };
  switch (outcome.kind) {
    case "directory":
      run.directories++;
      return { ...settled, state: ITEM_STATE.done };
    case "unchanged":
      run.unchanged++;
      run.sizes.add(outcome.sizeBytes);
      return { ...settled, state: ITEM_STATE.unchanged };
    case "fetched":
      run.sizes.add(outcome.sizeBytes);
      countReason({ order, run, request }, item.path, outcome.reason);
      return { ...settled, state: ITEM_STATE.done, note: outcome.reason };
    case "linked":
      run.links++;
      if (outcome.reason === undefined) return { ...settled, state: ITEM_STATE.unchanged };
      countReason({ order, run, request }, item.path, outcome.reason);
      return { ...settled, state: ITEM_STATE.done, note: outcome.reason };
    case "planned":
      if (item.kind === "file") run.plan(item.sizeBytes);
      countReason({ order, run, request }, item.path, outcome.reason);
      return { ...settled, state: ITEM_STATE.planned, note: outcome.reason };
    case "failed": {
      const { code, message, mayPass } = outcome;
      const failure = { code, message };
      // What is in the way goes between the first attempt and the second.
      const goesAway = outcome.isObstructed === true && request.delete !== undefined;
      const most = goesAway ? Math.max(2, request.attempts) : request.attempts;
      if ((mayPass || goesAway) && attempts < most) {
        run.again++;
        if (outcome.isObstructed) run.obstructed++;
        return { id, state: ITEM_STATE.again, attempts, failure };
      }
      run.failed++;
      order.tellFailure(run, item.path, code, message);
      return { id, state: ITEM_STATE.failed, attempts, failure };
    }
  }
}

function countReason({ order, run, request }: SettlingRun, path: string, reason: FetchReason): void {
  if (reason === "new") run.newcomers++;
  const rot = request.verify === true ? ROT[reason] : undefined;
  if (rot === undefined) return;
  run.rotten++;
  order.tellRot(run, path, rot);
}

/** Counts again what an earlier daemon settled. */
export function recount({ order, run, request }: SettlingRun, item: JournaledItem): void {
  const { kind, state, sizeBytes } = item;
  if (state === ITEM_STATE.pruned) return order.deleted(run, item.path);
  run.listedItems++;
  if (state === ITEM_STATE.skipped) return void run.skipped++;
  if (state === ITEM_STATE.refused) return void run.failed++;
  run.listed(kind, sizeBytes);
  if (state === ITEM_STATE.failed) run.failed++;
  if (state === ITEM_STATE.again) run.again++;
  const isPlanned = state === ITEM_STATE.planned;
  if (isPlanned && kind === "file") run.plan(sizeBytes);
  const isDone = state === ITEM_STATE.done || state === ITEM_STATE.unchanged;
  if ((isDone || isPlanned) && item.message === "new") run.newcomers++;
  const isRot = request.verify === true && ROT[item.message as FetchReason] !== undefined;
  if ((isDone || isPlanned) && isRot) run.rotten++;
  if (!isDone) return;
  if (kind === "directory") run.directories++;
  else if (kind === "symlink") run.links++;
  else run.sizes.add(sizeBytes);
  if (state === ITEM_STATE.unchanged && kind === "file") run.unchanged++;
}
