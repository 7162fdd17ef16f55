import * as fs from "node:fs";
import { isNotFound } from "../errors/dray-error.ts";
import { ContainedRoot } from "./contained-root.ts";
import { factsAt } from "./file-facts.ts";
import { isTempName } from "./publication.ts";

/**
 * Removes the temp files that a killed process left in a tree. Goes directory by directory and lets
 * other work run in between.
 * @param except names directly below the root that are left alone
 * @param olderThanMs files that changed later belong to a running process
 * @returns how many were removed
 */
export async function sweepTempFiles(
  rootPath: string,
  except: readonly string[],
  olderThanMs: number,
): Promise<number> {
  const root = new ContainedRoot(rootPath);
  const pending: string[][] = [[]];
  let removed = 0;
  try {
    for (let components = pending.pop(); components !== undefined; components = pending.pop()) {
      removed += sweepDirectory(root, components, except, olderThanMs, pending);
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    root.close();
  }
  return removed;
}

function sweepDirectory(
  root: ContainedRoot,
  components: readonly string[],
  except: readonly string[],
  olderThanMs: number,
  pending: string[][],
): number {
  let removed = 0;
  try {
    using directory = root.hold(components);
    for (const entry of fs.readdirSync(directory.path, { withFileTypes: true })) {
      if (components.length === 0 && except.includes(entry.name)) continue;
      if (entry.isDirectory()) pending.push([...components, entry.name]);
      else if (
        isTempName(entry.name) &&
        (factsAt(directory.entry(entry.name))?.ctimeMs ?? olderThanMs) < olderThanMs
      ) {
        fs.unlinkSync(directory.entry(entry.name));
        removed++;
      }
    }
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return removed;
}
