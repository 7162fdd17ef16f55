import { isTempName } from "./publication.ts";
import { STATE_DIRECTORY } from "./trash.ts";

/** What clients never see of a directory that is served: our own state, and files that are not whole yet. */
export function hidesState(path: string): boolean {
  return path === STATE_DIRECTORY || isTempName(path.slice(path.lastIndexOf("/") + 1));
}
