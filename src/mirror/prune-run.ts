import type { Trash } from "../disk/trash.ts";
import type { DrayError } from "../errors/dray-error.ts";
import type { OrderRequest } from "../wire/order.ts";
import { ITEM_STATE } from "./journal-schema.ts";
import type { ListedItem } from "./journal.ts";
import { type PruneCounts, type PruneScope, guardAgainst, prune, surplusIn } from "./pruning.ts";

export interface PruneRun {
  scope: PruneScope;
  limits: NonNullable<OrderRequest["delete"]>;
  counts: Omit<PruneCounts, "surplus">;
  /** Undefined in a dry run: nothing goes. */
  trash: Trash | undefined;
  /** Whether to leave off in the middle; what is left goes another time. */
  isOver(): boolean;
  /** Files and links that have gone, or would go. */
  gone(items: ListedItem[]): void;
  failed(path: string, error: DrayError): void;
}

/**
 * Moves what a source no longer has into the trash: first counts it all, then, if no guard objects,
 * goes through it again.
 * @returns why nothing was deleted, if a guard objects
 * @throws a system error when the tree cannot be walked
 */
export async function runPrune(run: PruneRun): Promise<string | undefined> {
  let surplus = 0;
  for (const found of surplusIn(run.scope)) {
    if (found === undefined) await breath();
    else if (found.entry.kind !== "directory") surplus++;
    if (run.isOver()) return undefined;
  }
  const objection = guardAgainst({ surplus, ...run.counts }, run.limits);
  if (objection !== undefined) return objection;
  let gone: ListedItem[] = [];
  const tell = (): void => {
    if (gone.length > 0) run.gone(gone);
    gone = [];
  };
  for (const found of surplusIn(run.scope)) {
    if (found === undefined || gone.length >= MAX_TOLD) {
      tell();
      await breath();
      if (run.isOver()) return undefined;
    }
    if (found === undefined) continue;
    const { entry, components } = found;
    const path = components.slice(1).join("/");
    const error = run.trash === undefined ? undefined : prune(run.scope.root, run.trash, found);
    if (error !== undefined) run.failed(path, error);
    else if (entry.kind !== "directory")
      gone.push(goneItem(found.entry.kind === "symlink", path, entry.size));
  }
  tell();
  return undefined;
}

/** Files that go before it is written down. */
const MAX_TOLD = 256;

function goneItem(isLink: boolean, path: string, sizeBytes: number): ListedItem {
  const kind = isLink ? "symlink" : "file";
  const nothing = { mtimeUs: 0, mode: 0, target: "", failure: undefined };
  return { kind, path, sizeBytes, ...nothing, state: ITEM_STATE.pruned, note: "not at the source any more" };
}

/** Lets other work run. */
function breath(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
