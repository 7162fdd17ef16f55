import * as path from "node:path";
import { DrayError, withContext } from "../errors/dray-error.ts";
import type { PutOptions } from "../options/put-options.ts";
import type { Named } from "../upload/local-files.ts";
import { parsePath, quoteName } from "../wire/names.ts";

/**
 * What the files of a command line are to be called on the servers.
 * @throws DrayError "usage" for a name that no server takes, and for two files with the same name
 */
export function putNames({ files, as, into }: Pick<PutOptions, "files" | "as" | "into">): Named[] {
  const taken = new Map<string, string>();
  return files.map((localPath) => {
    const components =
      as === undefined
        ? [...componentsOf(into ?? ".", "--into"), ...componentsOf(ownName(localPath), localPath)]
        : componentsOf(as, "--as");
    const name = components.join("/");
    const other = taken.get(name);
    if (other !== undefined) {
      throw new DrayError(
        "usage",
        `${quoteName(other)} and ${quoteName(localPath)} would both be called ${quoteName(name)}`,
      );
    }
    taken.set(name, localPath);
    return { localPath, components };
  });
}

/** `docs` for `a/docs/`; nothing for `.`, `..` and the root, whose contents go where they are put. */
function ownName(localPath: string): string {
  const name = path.basename(path.resolve(localPath));
  const isPlain = !/(?:^|[/\\])\.{1,2}[/\\]*$/.test(localPath);
  return isPlain && name !== "" ? name : ".";
}

function componentsOf(name: string, where: string): string[] {
  try {
    return parsePath(name);
  } catch (error) {
    throw new DrayError("usage", withContext(where, error).message, { cause: error });
  }
}
