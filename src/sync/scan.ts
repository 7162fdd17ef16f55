import { asDrayError, isNotFound } from "../errors/dray-error.ts";
import type { IgnoreRules } from "./ignore-rules.ts";
import { type NamePlatform, isReserved, syncedPath } from "./names.ts";
import type { ListedName, Stat, Tree, TreePath } from "./ports.ts";

/** One finding of a scan. */
export type Scanned =
  | { readonly kind: "file"; readonly name: string; readonly stat: Stat }
  /** Left out. `name` is for people when `why` is "unnameable", and empty for the root. */
  | { readonly kind: "skipped"; readonly name: string; readonly why: SkipReason; readonly detail: string };

export type SkipReason =
  "ignored" | "symlink" | "special" | "empty-directory" | "unreadable" | "unnameable" | "name";

/** What cannot be expressed on the wire (decision 27), as the end of a sentence that begins with the name. */
const DETAILS = {
  ignored: `is ignored by a rule`,
  symlink: "is a symbolic link",
  special: "is neither a file nor a directory",
  "empty-directory": "is an empty directory",
  unnameable: "has a name that is not UTF-8",
} as const;

const ANY_NAME: NamePlatform = { isWindows: false };

/**
 * Everything that is in the tree, or at and below one name, one entry at a time and in an order of its own; the `.dray` of
 * the root is left out without a word. Memory grows with the largest directories on the way down. Whoever drives it gives
 * others their turn now and then. What is skipped as "unreadable" may hold files: nothing at or below it counts as deleted.
 */
export function* scan(
  tree: Tree,
  rules: IgnoreRules,
  below = "",
  platform: NamePlatform = ANY_NAME,
): Generator<Scanned, void> {
  if (below === "") return yield* inside(tree, rules, platform, []);
  const path = below.split("/");
  // Nothing is looked for below what is ignored.
  for (let depth = 1; depth < path.length; depth++)
    if (rules.isIgnored(path.slice(0, depth).join("/"), true)) return;
  yield* at(tree, rules, platform, path);
}

function* inside(
  tree: Tree,
  rules: IgnoreRules,
  platform: NamePlatform,
  folder: TreePath,
): Generator<Scanned, void> {
  const prefix = folder.length === 0 ? "" : `${folder.join("/")}/`;
  let listed: ListedName[];
  try {
    listed = tree.list(folder);
  } catch (error) {
    if (!isNotFound(error) || folder.length === 0) yield unreadable(folder.join("/"), error);
    return;
  }
  if (listed.length === 0 && folder.length > 0) yield skipped(folder.join("/"), "empty-directory");
  for (const { name, isNameable } of listed.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!isNameable) yield skipped(prefix + name, "unnameable");
    else if (folder.length > 0 || !isReserved(name)) yield* at(tree, rules, platform, [...folder, name]);
  }
}

function* at(
  tree: Tree,
  rules: IgnoreRules,
  platform: NamePlatform,
  path: TreePath,
): Generator<Scanned, void> {
  const name = path.join("/");
  let stat: Stat | undefined;
  try {
    stat = tree.stat(path);
  } catch (error) {
    return yield unreadable(name, error);
  }
  if (stat === undefined) return;
  if (rules.isIgnored(name, stat.kind === "directory")) return yield skipped(name, "ignored");
  const checked = syncedPath(name, platform);
  if ("problem" in checked) return yield { kind: "skipped", name, why: "name", detail: checked.problem };
  if (stat.kind === "directory") yield* inside(tree, rules, platform, path);
  else if (stat.kind === "file") yield { kind: "file", name, stat };
  else yield skipped(name, stat.kind);
}

function skipped(name: string, why: keyof typeof DETAILS): Scanned {
  return { kind: "skipped", name, why, detail: DETAILS[why] };
}

function unreadable(name: string, error: unknown): Scanned {
  return {
    kind: "skipped",
    name,
    why: "unreadable",
    detail: `cannot be read: ${asDrayError(error).message}`,
  };
}
