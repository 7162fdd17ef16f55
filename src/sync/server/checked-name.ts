import type { SyncSubject } from "../../wire/sync-messages.ts";
import { syncedPath } from "../names.ts";
import type { TreePath } from "../ports.ts";

type CheckedName = { name: string; path: TreePath; shown: string } | { problem: string; shown: string };

/** What a message is about, for the file system and for messages; or why nothing can have this name. */
export function checkedName({ name, rawName }: SyncSubject): CheckedName {
  if (name === undefined)
    return { problem: "is not valid UTF-8", shown: Buffer.from(rawName.subarray(0, 200)).toString("latin1") };
  const checked = syncedPath(name, { isWindows: false });
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name;
  return "problem" in checked ? { problem: checked.problem, shown } : { name, path: checked.path, shown };
}
