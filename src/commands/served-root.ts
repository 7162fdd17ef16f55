import { ContainedRoot } from "../disk/contained-root.ts";
import { withContext } from "../errors/dray-error.ts";

/** @throws DrayError when the directory that is to be served cannot be opened */
export function openServedRoot(directory: string): ContainedRoot {
  try {
    return new ContainedRoot(directory);
  } catch (error) {
    throw withContext(`Cannot export ${directory}`, error);
  }
}
