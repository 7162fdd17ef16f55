import { isNotFound, systemErrorCode } from "../errors/dray-error.ts";
import type { Tree, TreePath } from "./ports.ts";

/** Below the root of a synced folder; nothing in it is ever synced. */
export const STATE_FOLDER = ".dray";

export const STAGING_PATH: TreePath = [STATE_FOLDER, "staging"];
export const VERSIONS_PATH: TreePath = [STATE_FOLDER, "versions"];
export const META_DATA_PATH: TreePath = [STATE_FOLDER, "META-DATA"];
export const ROOT_ID_PATH: TreePath = [STATE_FOLDER, "root-id"];
export const CONTROL_NAME = "control";
export const DATABASE_NAME = "sync.db";

/** Makes a directory and those above it. @throws a system error; DrayError "refused" */
export function makeDirectories(tree: Tree, path: TreePath): void {
  for (let depth = 1; depth <= path.length; depth++) {
    const directory = path.slice(0, depth);
    if (tree.stat(directory)?.kind !== "directory") tree.makeDirectory(directory);
  }
}

/**
 * Removes the directories above `path` that hold nothing any more.
 * @param keptDepth directories of so many components stay; 0: all may go, but for the root
 * @throws a system error
 */
export function removeEmptyParents(tree: Tree, path: TreePath, keptDepth = 0): void {
  for (let depth = path.length - 1; depth > keptDepth; depth--) {
    try {
      if (tree.list(path.slice(0, depth)).length > 0) return;
      tree.removeDirectory(path.slice(0, depth));
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === "ENOTEMPTY" || code === "EEXIST") return;
      if (!isNotFound(error)) throw error;
    }
  }
}
