import type { ContainedRoot } from "../disk/contained-root.ts";
import { factsAt } from "../disk/file-facts.ts";
import { isTempName } from "../disk/publication.ts";
import type { Trash } from "../disk/trash.ts";
import { walk } from "../disk/walk.ts";
import { type DrayError, asDrayError, isNotFound } from "../errors/dray-error.ts";
import type { EntryKind, ListEntry } from "../wire/entries.ts";
import type { OrderRequest } from "../wire/order.ts";

/** What is counted before anything is deleted. */
export interface PruneCounts {
  /** Files and links in the mirror that the source's list lacks. */
  surplus: number;
  /** Files and links of the list that the mirror had before this run. */
  kept: number;
  /** Files and links of the list. */
  listed: number;
}

/** So few may always go: a per cent of next to nothing means nothing. */
const ALWAYS_ALLOWED = 10;

/**
 * Whether deleting is to be stopped (DESIGN section 3): a mistake at the source must not empty the mirror.
 * Pure.
 * @returns why nothing may be deleted; undefined if it may
 */
export function guardAgainst(
  { surplus, kept, listed }: PruneCounts,
  { maxFiles, maxPercent }: NonNullable<OrderRequest["delete"]>,
): string | undefined {
  if (surplus === 0) return undefined;
  const files = surplus === 1 ? "1 file" : `${surplus} files`;
  if (listed === 0) return `the source has no files at all; ${files} would have been deleted`;
  if (surplus > maxFiles)
    return `${files} would have been deleted, more than the ${maxFiles} that are allowed`;
  const percent = (100 * surplus) / (surplus + kept);
  if (surplus > ALWAYS_ALLOWED && percent > maxPercent) {
    return `${files} of ${surplus + kept} would have been deleted, more than the ${maxPercent} % that are allowed`;
  }
  return undefined;
}

export interface PruneScope {
  root: ContainedRoot;
  /** `host_port`. */
  sourceDirectory: string;
  /** What was ordered, as components; none for everything. */
  within: readonly string[];
  /** In milliseconds since 1970: what changed later came behind the list, by another order. */
  changedBeforeMs: number;
  /** Whether the source has this under this path, or the order is not for it. */
  isKept(path: string, kind: EntryKind): boolean;
}

/** One thing in the mirror that the source does not have. */
export interface Surplus {
  entry: ListEntry;
  components: string[];
}

/** How many entries are looked at before other work gets its turn. */
const SLICE = 256;

/**
 * Everything in the mirror that the source's list lacks, a directory behind all that is in it.
 * `undefined` from time to time: a moment for other work.
 */
export function* surplusIn(scope: PruneScope): Generator<Surplus | undefined, void> {
  const { root, sourceDirectory, within } = scope;
  const directories: Surplus[] = [];
  let looked = 0;
  try {
    for (const entry of walk(root, [sourceDirectory, ...within])) {
      if (++looked % SLICE === 0) yield undefined;
      const components = entry.path.split("/");
      const path = components.slice(1).join("/");
      yield* leaveDirectories(directories, components);
      if (path === "" || scope.isKept(path, entry.kind)) continue;
      if (entry.kind === "directory") directories.push({ entry, components });
      else if (isPrunable(entry) && !isNewer(scope, components)) yield { entry, components };
    }
  } catch (error) {
    if (!isNotFound(error)) throw error; // nothing was ever mirrored here
  }
  yield* leaveDirectories(directories, []);
}

/** Directories that the walk has left, the innermost first. */
function* leaveDirectories(directories: Surplus[], components: readonly string[]): Generator<Surplus, void> {
  for (let last = directories.at(-1); last !== undefined; last = directories.at(-1)) {
    if (last.components.every((component, index) => components[index] === component)) return;
    directories.pop();
    yield last;
  }
}

/** A link that is being made has a temporary name, too. */
function isPrunable({ kind, path }: ListEntry): boolean {
  if (isTempName(path.slice(path.lastIndexOf("/") + 1))) return false;
  return kind === "file" || kind === "symlink" || kind === "special";
}

function isNewer({ root, changedBeforeMs }: PruneScope, components: readonly string[]): boolean {
  if (changedBeforeMs === Number.POSITIVE_INFINITY) return false;
  using directory = root.hold(components.slice(0, -1));
  const facts = factsAt(directory.entry(components.at(-1)!));
  return facts === undefined || facts.ctimeMs >= changedBeforeMs;
}

/**
 * Moves one thing into the trash; a directory only goes when it is empty.
 * @returns the error, if it cannot go
 */
export function prune(
  root: ContainedRoot,
  trash: Trash,
  { entry, components }: Surplus,
): DrayError | undefined {
  try {
    if (entry.kind === "directory") trash.removeEmptyDirectory(root, components);
    else trash.move(root, components);
    return undefined;
  } catch (error) {
    return isNotFound(error) ? undefined : asDrayError(error);
  }
}
