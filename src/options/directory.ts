import { statSync } from "node:fs";
import { asDrayError, systemErrorCode } from "../errors/dray-error.ts";

/** Why a path is no directory that can be used; undefined if it is one, or if nothing is there yet. */
export function directoryProblem(path: string): string | undefined {
  try {
    return statSync(path).isDirectory() ? undefined : `${JSON.stringify(path)} is not a directory`;
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    return `${JSON.stringify(path)} cannot be used: ${asDrayError(error).message}`;
  }
}

/** Like directoryProblem, but a directory must be there. */
export function existingDirectoryProblem(path: string): string | undefined {
  const exists = statSync(path, { throwIfNoEntry: false }) !== undefined;
  return exists ? directoryProblem(path) : `there is no directory ${JSON.stringify(path)}`;
}
