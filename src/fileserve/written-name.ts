import { isTempName } from "../disk/publication.ts";
import { STATE_DIRECTORY } from "../disk/trash.ts";
import { DrayError } from "../errors/dray-error.ts";
import { parsePath, quoteName, windowsProblem } from "../wire/names.ts";

/**
 * The components of a name under which a client may have a file.
 * @throws DrayError "name" for what may not be used, and for what the server keeps for itself
 */
export function parseWrittenName(path: string): string[] {
  const components = parsePath(path);
  const problem = problemOf(path, components);
  if (problem !== undefined) throw new DrayError("name", `the name ${quoteName(path)} ${problem}`);
  return components;
}

function problemOf(path: string, components: readonly string[]): string | undefined {
  if (components.length === 0 || path.endsWith("/")) return "is that of a directory";
  // On some file systems both spellings are the same directory.
  if (components[0]!.toLowerCase() === STATE_DIRECTORY) return "is kept by the server for itself";
  if (components.some((component) => isTempName(component.toLowerCase())))
    return "is one of those that dray gives to unfinished files";
  if (process.platform !== "win32") return undefined;
  return components.map(windowsProblem).find((found) => found !== undefined);
}
