import { systemErrorCode } from "../errors/dray-error.ts";
import type { Tree, TreePath } from "./ports.ts";

/**
 * Writes a file of dray's own state: afterwards, and after a crash, it holds the old or the new content.
 * Calls for one path must not overlap.
 * @throws a system error
 */
export async function replaceFile(tree: Tree, path: TreePath, portions: Iterable<Uint8Array>): Promise<void> {
  const fresh = [...path.slice(0, -1), `${path.at(-1)}.new`];
  try {
    tree.unlink(fresh);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
  const file = tree.create(fresh);
  try {
    let sizeBytes = 0;
    for (const portion of portions) {
      file.write(portion, sizeBytes);
      sizeBytes += portion.length;
    }
    await file.sync();
  } finally {
    file.close();
  }
  tree.rename(fresh, path);
  await tree.syncDirectory(path.slice(0, -1));
}
