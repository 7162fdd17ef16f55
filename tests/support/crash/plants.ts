import type { Operation } from "./operations.ts";
import type { Recording } from "./recording.ts";

/** What a program with a bug would have done instead. */
export type Plant = (operations: readonly Operation[]) => Operation[];

export function planted({ start, operations }: Recording, plant: Plant): Recording {
  const changed = plant(operations);
  const isOther =
    changed.length !== operations.length || changed.some((operation, at) => operation !== operations[at]);
  if (!isOther) throw new Error("the plant has changed nothing");
  return { start, operations: changed };
}

/** Syncs that are never made. @param shown of the operations: call and path */
export function withoutSyncs(shown: RegExp): Plant {
  return (operations) =>
    operations.filter(
      (operation) =>
        (operation.kind !== "sync-begins" && operation.kind !== "sync-ends") || !shown.test(operation.shown),
    );
}

/** Renames of files whose contents are synced before, each made before that sync. */
export const renamedBeforeSync: Plant = (operations) => {
  const changed: Operation[] = [];
  for (const operation of operations) {
    const last =
      operation.kind === "names" && operation.parts.length === 2 ? operation.parts[1]!.inode : undefined;
    const at = changed.findLastIndex((before) => before.kind === "sync-begins" && before.of === last);
    if (last === undefined || at < 0) changed.push(operation);
    else changed.splice(at, 0, operation);
  }
  return changed;
};

/** Each sync that matches is made only behind the next write. */
export function syncedAfterNextWrite(shown: RegExp): Plant {
  return (operations) => {
    const changed = [...operations];
    for (const ended of operations) {
      if (ended.kind !== "sync-ends" || !shown.test(ended.shown)) continue;
      const end = changed.indexOf(ended);
      const write = changed.findIndex(({ kind }, at) => at > end && kind === "write");
      const begin = changed.findIndex((each) => each.kind === "sync-begins" && each.sync === ended.sync);
      if (write < 0) continue;
      changed.splice(write + 1, 0, changed[begin]!, ended);
      changed.splice(end, 1);
      changed.splice(begin, 1);
    }
    return changed;
  };
}
