import * as fs from "node:fs";
import { isNotFound } from "../errors/dray-error.ts";
import { type ContainedDirectory, ContainedRoot } from "./contained-root.ts";
import { factsAt } from "./file-facts.ts";
import { isTempName, parkedName } from "./publication.ts";

/** How long a part of a large file is kept that nobody goes on with. */
const PART_KEPT_MS = 7 * 86_400_000;

/**
 * Cleans up after a killed process: removes its temp files, and parks its parts of large files so
 * that they can be gone on with. Goes directory by directory and lets other work run in between.
 * @param except names directly below the root that are left alone
 * @param olderThanMs files that changed later belong to a running process
 * @param doubtfulSinceMs parts that changed since then may not hold what was written, and are removed
 * @returns how many were removed
 */
export async function sweepTempFiles(
  rootPath: string,
  except: readonly string[],
  olderThanMs: number,
  doubtfulSinceMs = Infinity,
): Promise<number> {
  const root = new ContainedRoot(rootPath);
  const pending: string[][] = [[]];
  let removed = 0;
  try {
    for (let components = pending.pop(); components !== undefined; components = pending.pop()) {
      removed += sweepDirectory(root, components, except, { olderThanMs, doubtfulSinceMs }, pending);
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    root.close();
  }
  return removed;
}

/** Milliseconds since 1970, of changes of an inode: no program can set those, unlike the time of its contents. */
interface SweepTimes {
  olderThanMs: number;
  doubtfulSinceMs: number;
}

function sweepDirectory(
  root: ContainedRoot,
  components: readonly string[],
  except: readonly string[],
  times: SweepTimes,
  pending: string[][],
): number {
  let removed = 0;
  try {
    using directory = root.hold(components);
    for (const entry of fs.readdirSync(directory.path, { withFileTypes: true })) {
      if (components.length === 0 && except.includes(entry.name)) continue;
      if (entry.isDirectory()) pending.push([...components, entry.name]);
      else if (isTempName(entry.name) && sweepFile(directory, entry.name, times)) removed++;
    }
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return removed;
}

/** @returns whether the file was removed */
function sweepFile(directory: ContainedDirectory, name: string, times: SweepTimes): boolean {
  const { olderThanMs, doubtfulSinceMs } = times;
  const facts = factsAt(directory.entry(name));
  if (facts === undefined || facts.ctimeMs >= olderThanMs) return false;
  if (facts.kind !== "file" && facts.kind !== "symlink") return false;
  const parked = parkedName(name);
  const isOld = facts.ctimeMs < olderThanMs - PART_KEPT_MS;
  if (parked === undefined || facts.sizeBytes === 0 || isOld || facts.ctimeMs >= doubtfulSinceMs) {
    fs.unlinkSync(directory.entry(name));
    return true;
  }
  // Of two parts of one version the larger one is worth more.
  const other = name === parked ? undefined : factsAt(directory.entry(parked));
  if (other !== undefined && other.sizeBytes >= facts.sizeBytes) {
    fs.unlinkSync(directory.entry(name));
    return true;
  }
  if (name !== parked) fs.renameSync(directory.entry(name), directory.entry(parked));
  return false;
}
