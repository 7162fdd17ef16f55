import { ContainedRoot } from "../disk/contained-root.ts";
import { withContext } from "../errors/dray-error.ts";
import { workIn } from "./working-directory.ts";

/**
 * @param isOnly whether it is all that this process serves
 * @throws DrayError when the directory that is to be served cannot be opened
 */
export function openServedRoot(directory: string, isOnly: boolean): ContainedRoot {
  try {
    return new ContainedRoot(isOnly ? workIn(directory) : directory);
  } catch (error) {
    throw withContext(`Cannot export ${directory}`, error);
  }
}
