import type { DirectorySyncs } from "../directory-syncs.ts";
import type { Hasher, Tree, TreePath } from "../ports.ts";
import { md5Text } from "./md5-text.ts";
import { stampOf } from "./path-record.ts";
import { isStamped, type LocalStamp } from "./reconcile.ts";

/**
 * The digest of a file, with the stamp that it had before and after. Content and name are durable then: what is agreed
 * on with the server must not be gone after a power loss, as if its user had deleted it.
 * @returns undefined when it is no regular file (any more), or was changed meanwhile
 * @throws a system error
 */
export async function hashFile(
  ports: { readonly tree: Tree; readonly hasher: Hasher },
  syncs: DirectorySyncs,
  path: TreePath,
): Promise<(LocalStamp & { readonly md5: string }) | undefined> {
  if (ports.tree.stat(path)?.kind !== "file") return undefined;
  const file = ports.tree.open(path);
  const digest = ports.hasher.begin();
  try {
    const before = stampOf(file.stat());
    digest.addRange(file, 0, before.sizeBytes);
    const md5 = md5Text(await digest.digest());
    await Promise.all([file.sync(), syncs.sync(path.slice(0, -1))]);
    const after = ports.tree.stat(path);
    return after?.kind === "file" && isStamped(before, after) ? { ...before, md5 } : undefined;
  } finally {
    digest.close();
    file.close();
  }
}
