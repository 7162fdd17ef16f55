import * as fs from "node:fs";
import { type FileFacts, factsAt } from "./file-facts.ts";

/** What a look at a name found: nothing (`undefined`), or an error when it may not be looked at. */
export type Look = FileFacts | undefined | Error;

/** Looks at entries, links not followed, at the paths that `pathOf` makes of their names. */
export function lookAt(names: readonly string[], pathOf: (name: string) => string): Look[] {
  return names.map((name) => {
    const path = pathOf(name);
    try {
      return factsAt(path);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  });
}

/** A change of a directory that is older than this shows in its ctime, however coarse the file system's clock. */
const SETTLED_MS = 2_000;

/**
 * The directories from a root down to the one that is looked into, by their names.
 *
 * A path through a descriptor (/proc/self/fd/N/name) is safe from links that are swapped in, and more than
 * twice as expensive to look at as one of names. So a look at many names goes by their paths, and is
 * believed only if nothing on the way can have been bent meanwhile: before and behind it, every directory
 * on the way must be one and have the same inode and ctime. Whoever puts something else in the place of a
 * directory changes the ctime of the one above, also when he puts it back, and nobody can set that.
 */
export class NamedWay {
  readonly #paths: readonly string[];

  /** @param paths from the root's, which may be a link since its owner named it, down */
  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** Whether that costs less for so many names than looking through a descriptor. */
  isWorthIt(count: number): boolean {
    return count > 2 * this.#paths.length;
  }

  /**
   * @param held the directory that the last one on the way has to be
   * @returns undefined when it cannot be believed, and is to be done through the descriptor
   */
  look(
    held: Pick<FileFacts, "inode" | "device">,
    names: readonly string[],
    pathOf: (directory: string, name: string) => string,
  ): Look[] | undefined {
    const before = this.#stamps();
    const settledBeforeMs = Date.now() - SETTLED_MS;
    if (before === undefined || before.some(({ ctimeMs }) => ctimeMs > settledBeforeMs)) return undefined;
    const last = before.at(-1)!;
    if (last.ino !== held.inode || last.dev !== held.device) return undefined;
    const directory = this.#paths.at(-1)!;
    const looks = lookAt(names, (name) => pathOf(directory, name));
    // By its name a directory may be out of reach, too far down, or forbidden, where a descriptor is not.
    if (looks.some((look) => look instanceof Error)) return undefined;
    const after = this.#stamps();
    return after?.every((stats, index) => isUntouched(before[index]!, stats)) === true ? looks : undefined;
  }

  /** From the root down, so that a change above shows that what is seen below may be elsewhere. */
  #stamps(): fs.Stats[] | undefined {
    const stamps: fs.Stats[] = [];
    try {
      for (const path of this.#paths) {
        const stats = stamps.length === 0 ? fs.statSync(path) : fs.lstatSync(path);
        if (!stats.isDirectory()) return undefined;
        stamps.push(stats);
      }
    } catch {
      return undefined; // whatever it is, the descriptor tells
    }
    return stamps;
  }
}

function isUntouched(before: fs.Stats, after: fs.Stats): boolean {
  return before.ino === after.ino && before.dev === after.dev && before.ctimeMs === after.ctimeMs;
}
