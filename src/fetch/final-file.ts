import * as fs from "node:fs";
import type { ContainedDirectory } from "../disk/contained-root.ts";
import { type FileFacts, factsAt, isSameMtime } from "../disk/file-facts.ts";
import { syncDirectory } from "../disk/sync.ts";
import { DrayError, systemErrorCode } from "../errors/dray-error.ts";

/** What a server says of a file that it is about to send. */
export interface RemoteFacts {
  sizeBytes: number;
  mtimeUs: number;
  /** Permission bits. */
  mode: number;
}

/** Of one name; then somebody should tidy up. */
const MAX_BACKUPS = 10_000;

/**
 * What a fetch finds under the name that it is to fill: nothing, the very version (by size, modification
 * time and executable bit, as the mirror judges it), or another file.
 * @throws DrayError "refused" for what no file may replace; a system error
 */
export function standingFile(
  directory: ContainedDirectory,
  name: string,
  remote: RemoteFacts,
): "none" | "same" | "other" {
  const facts = factsAt(directory.entry(name));
  if (facts === undefined) return "none";
  if (facts.kind === "file") return isSame(facts, remote) ? "same" : "other";
  if (facts.kind === "symlink") return "other";
  const kind = facts.kind === "directory" ? "a directory" : "neither a file nor a directory";
  throw new DrayError("refused", `what has its name here is ${kind}, and is not replaced`);
}

function isSame(facts: FileFacts, remote: RemoteFacts): boolean {
  return (
    facts.sizeBytes === remote.sizeBytes &&
    isSameMtime(facts.mtimeUs, remote.mtimeUs) &&
    ((facts.mode & 0o111) !== 0) === ((remote.mode & 0o111) !== 0)
  );
}

/**
 * Gives the file that stands under a name a second one, `NAME~1~`-like, as `cp --backup=numbered` does, so
 * that a rename over the first one destroys nothing (DESIGN section 6, promise 3).
 * @param sync makes the second name durable before the first one is given away
 * @returns the second name; undefined when nothing stands there
 * @throws a system error; then nothing has changed
 */
export function keepStandingFile(
  directory: ContainedDirectory,
  name: string,
  sync: boolean,
): string | undefined {
  const backup = secondName(directory, name);
  if (backup !== undefined && sync) syncDirectory(directory.path);
  return backup;
}

function secondName(directory: ContainedDirectory, name: string): string | undefined {
  for (let version = 1; version <= MAX_BACKUPS; version++) {
    const backup = `${name}.~${version}~`;
    try {
      fs.linkSync(directory.entry(name), directory.entry(backup));
      return backup;
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === "ENOENT") return undefined;
      // Of a fetch that was killed between the two names: one is enough.
      if (code === "EEXIST" && isSameFile(directory, name, backup)) return backup;
      if (code === "EEXIST") continue;
      if (code === undefined || !NO_LINKS.has(code)) throw error;
      if (factsAt(directory.entry(backup)) !== undefined) continue;
      // A file system without hard links: then the name is empty for a moment.
      fs.renameSync(directory.entry(name), directory.entry(backup));
      return backup;
    }
  }
  throw new DrayError("refused", `there are ${MAX_BACKUPS} older versions of it already: remove some`);
}

function isSameFile(directory: ContainedDirectory, name: string, other: string): boolean {
  const [one, two] = [name, other].map((each) => factsAt(directory.entry(each)));
  return one !== undefined && one.inode === two?.inode && one.device === two.device;
}

const NO_LINKS: ReadonlySet<string> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);
