import type { ContainedRoot } from "../disk/contained-root.ts";
import { FileRead } from "../disk/file-read.ts";
import { type Hides, isHidden } from "../disk/walk.ts";
import { DrayError } from "../errors/dray-error.ts";
import { parsePath } from "../wire/names.ts";

/**
 * Opens what a peer asked for.
 * @throws DrayError "name", "not-found", "refused"; a system error
 */
export function openForSending(root: ContainedRoot, hides: Hides, path: string): FileRead {
  const components = parsePath(path);
  if (isHidden(components, hides)) throw new DrayError("not-found", "no such file or directory");
  const name = components.pop();
  if (name === undefined) throw new DrayError("refused", "it is a directory");
  using directory = root.hold(components);
  return new FileRead(directory, name);
}
