import * as fs from "node:fs";
import * as path from "node:path";
import { isNotFound, systemErrorCode } from "../errors/dray-error.ts";
import { ContainedRoot } from "./contained-root.ts";

/** Below the directory that is mirrored or served; never listed, never taken from a peer. */
export const STATE_DIRECTORY = ".dray";
const TRASH = "trash";

/** Of one name that goes to one folder of the trash again and again. */
const MAX_VERSIONS = 10_000;
/** What a file system says that has no hard links, or no more of them for this file. */
const NO_LINKS = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

/**
 * Where deleted and replaced files go instead of away (DESIGN section 6, promise 3):
 * `.dray/trash/LABEL/PATH` below the directory that they were in, one rename each.
 */
export class Trash {
  readonly #path: string;
  readonly #toldFolders = new Set<string>();
  #root: ContainedRoot | undefined;

  /**
   * @param rootPath the directory whose files may be thrown away
   * @param label the name of the folder in the trash: a moment (see trashLabel), and what it was
   */
  constructor(rootPath: string, label: string) {
    this.#path = path.join(path.resolve(rootPath), STATE_DIRECTORY, TRASH, label);
  }

  /**
   * Moves a file or a directory with all that is in it. What has its name in the trash already stays,
   * and the newcomer is `NAME~1~`, `NAME~2~`…
   * @param root the directory of the constructor
   * @throws a system error; then it is where it was
   */
  move(root: ContainedRoot, components: readonly string[]): void {
    this.#take(root, components, fs.renameSync);
  }

  /**
   * Like move, but the file also stays where it is, until something is renamed over it: so its name is never
   * without a file. On a file system without hard links it is moved.
   * @returns whether it stayed
   */
  keep(root: ContainedRoot, components: readonly string[]): boolean {
    try {
      this.#take(root, components, fs.linkSync);
      return true;
    } catch (error) {
      if (!NO_LINKS.includes(systemErrorCode(error) ?? "")) throw error;
      this.move(root, components);
      return false;
    }
  }

  /**
   * Where names have changed by what went there out of a directory: the folder in which it ended up, and, when
   * it is the first of that directory, all folders above up to that of our state.
   */
  foldersChanged(components: readonly string[]): string[] {
    let folder = path.join(this.#path, ...components);
    const folders = [folder];
    if (this.#toldFolders.has(folder)) return folders;
    this.#toldFolders.add(folder);
    const top = path.dirname(path.dirname(this.#path));
    while (folder !== top) {
      folder = path.dirname(folder);
      folders.push(folder);
    }
    return folders;
  }

  #take(root: ContainedRoot, components: readonly string[], take: (from: string, to: string) => void): void {
    const name = components.at(-1)!;
    using from = root.hold(components.slice(0, -1));
    using to = this.#opened().hold(components.slice(0, -1), true);
    for (let version = 0; version < MAX_VERSIONS; version++) {
      const kept = to.entry(version === 0 ? name : `${name}~${version}~`);
      if (fs.lstatSync(kept, { throwIfNoEntry: false }) !== undefined) continue;
      take(from.entry(name), kept);
      return;
    }
    throw Object.assign(new Error(`the trash holds ${MAX_VERSIONS} of this name`), { code: "EEXIST" });
  }

  /** Removes a directory that holds nothing any more; one that does stays. @returns whether it is gone */
  removeEmptyDirectory(root: ContainedRoot, components: readonly string[]): boolean {
    using from = root.hold(components.slice(0, -1));
    try {
      fs.rmdirSync(from.entry(components.at(-1)!));
      return true;
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === "ENOTEMPTY" || code === "EEXIST" || isNotFound(error)) return false;
      throw error;
    }
  }

  close(): void {
    this.#root?.close();
    this.#root = undefined;
  }

  #opened(): ContainedRoot {
    if (this.#root === undefined) {
      fs.mkdirSync(this.#path, { recursive: true });
      this.#root = new ContainedRoot(this.#path);
    }
    return this.#root;
  }
}

/** `20261121T110532Z-what`: sorts by time, and holds nothing that a shell or a file system minds. */
export function trashLabel(nowMs: number, what: string): string {
  return `${new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, "")}-${what}`;
}

/**
 * Removes folders of the trash for good.
 * @param olderThanMs by when they were made, in milliseconds since 1970: their label says it
 * @returns how many folders were removed
 */
export async function sweepTrash(rootPath: string, olderThanMs: number): Promise<number> {
  const trash = path.join(path.resolve(rootPath), STATE_DIRECTORY, TRASH);
  let removed = 0;
  for (const label of await labelsIn(trash)) {
    const madeMs = momentOf(label);
    if (madeMs === undefined || madeMs >= olderThanMs) continue;
    await fs.promises.rm(path.join(trash, label), { recursive: true, force: true });
    removed++;
  }
  return removed;
}

async function labelsIn(trash: string): Promise<string[]> {
  try {
    return await fs.promises.readdir(trash);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

function momentOf(label: string): number | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-/.exec(label)?.slice(1).map(Number);
  if (parts === undefined) return undefined;
  const [year, month, day, hour, minute, second] = parts as [number, number, number, number, number, number];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}
