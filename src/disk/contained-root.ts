import * as fs from "node:fs";
import * as path from "node:path";
import { DrayError, systemErrorCode } from "../errors/dray-error.ts";
import { quoteName, windowsProblem } from "../wire/names.ts";
import { type FileFacts, factsOf, hasFacts } from "./file-facts.ts";
import { type Look, NamedWay, lookAt } from "./quick-look.ts";

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants;
const DIRECTORY_FLAGS = O_RDONLY | (O_DIRECTORY ?? 0) | (O_NOFOLLOW ?? 0);

const ROOT_SHOWN = ".";
/** The path of a root that is the process's own working directory: what is below it is found the quickest way. */
const HERE = ".";

/** Directory descriptors that one root keeps open at most. */
const MAX_OPEN_DIRECTORIES = 128;

/**
 * A directory inside a contained root. Names that are joined to it are resolved from the directory
 * that was opened, not from a path that somebody may have bent in the meantime.
 */
export interface ContainedDirectory extends Disposable {
  /** A path for system calls on one entry; `name` is a single component. */
  entry(name: string): string;
  /** Looks at entries, links not followed: many together cost less than one by one. */
  look(names: readonly string[]): Look[];
  /** The directory itself, for listing and syncing. */
  readonly path: string;
  /** Its path from the root, for messages: peers see those, so they tell nothing of what is above. */
  readonly shownPath: string;
  /** Lets it go; the paths above must not be used any more. */
  [Symbol.dispose](): void;
}

/**
 * The only door to the file system for names from outside (DESIGN section 6, promise 4): walks
 * component by component and follows no symbolic link, so that no name and no link swapped in
 * during the walk leads out of the root.
 *
 * On Linux each directory is opened relative to its parent's descriptor, through /proc/self/fd:
 * what openat(2) does. Elsewhere each component is checked with lstat before it is used, which
 * refuses links but leaves a race to whoever can write to the tree.
 */
export class ContainedRoot {
  readonly #open = new Map<string, OpenDirectory>();
  readonly #root: OpenDirectory;
  readonly #path: string;
  #newestKey = "";
  #isClosed = false;

  /**
   * @param rootPath an existing directory; the root itself may be a link, since its owner named it
   * @throws DrayError or a system error when it cannot be opened
   */
  constructor(rootPath: string) {
    const absolute = path.resolve(rootPath);
    this.#path = isWorkedIn(absolute) ? HERE : absolute;
    this.#root = openDirectory(absolute, ROOT_SHOWN, O_RDONLY | (O_DIRECTORY ?? 0), [this.#path]);
  }

  /**
   * The directory at `components`, held open until it is disposed of.
   * @param create makes the directories that are missing
   * @throws DrayError "refused" for a symbolic link or something else in the way, "not-found"; a system error:
   *   ENOENT, EACCES…
   */
  hold(components: readonly string[], create = false): ContainedDirectory {
    if (this.#isClosed) throw new DrayError("internal", "the root is closed");
    const directory = this.#find(components, create);
    directory.holders++;
    return directory;
  }

  /**
   * A quick look whether `name` (components joined by `/`) is still the file that had these facts. Follows no
   * link inside the root, but looks by names and not from descriptor to descriptor.
   * @returns false also when that cannot be told: whoever asks has to look closer then
   */
  isStill(name: string, facts: FileFacts): boolean {
    const at = below(this.#path, name);
    try {
      for (let slash = name.indexOf("/"); slash >= 0; slash = name.indexOf("/", slash + 1)) {
        const directory = at.slice(0, at.length - name.length + slash);
        if (!fs.lstatSync(directory).isDirectory()) return false;
      }
      return hasFacts(fs.lstatSync(at), facts);
    } catch {
      return false;
    }
  }

  /**
   * Forgets the directories that were opened so far, so that later calls see renames and
   * replacements that happened meanwhile.
   */
  forget(): void {
    for (const directory of this.#open.values()) directory.retire();
    this.#open.clear();
  }

  close(): void {
    this.#isClosed = true;
    this.forget();
    this.#root.retire();
  }

  #find(components: readonly string[], create: boolean): OpenDirectory {
    if (components.length === 0) return this.#root;
    const key = components.join("/");
    const known = this.#open.get(key);
    if (known !== undefined) {
      this.#touch(key, known);
      return known;
    }
    const parent = this.#find(components.slice(0, -1), create);
    const opened = this.#descend(parent, components[components.length - 1]!, create);
    this.#open.set(key, opened);
    this.#newestKey = key;
    if (this.#open.size > MAX_OPEN_DIRECTORIES) this.#retireOldest(key);
    return opened;
  }

  #descend(parent: OpenDirectory, name: string, create: boolean): OpenDirectory {
    if (process.platform === "win32") refuseOnWindows(name);
    const at = parent.entry(name);
    const shown = parent === this.#root ? name : `${parent.shownPath}/${name}`;
    const way = [...parent.way, below(parent.way.at(-1)!, name)];
    try {
      return openDirectory(at, shown, DIRECTORY_FLAGS, way);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === "ENOTDIR" || code === "ELOOP") throw obstacle(at, shown, create);
      if (!create || code !== "ENOENT") throw error;
    }
    try {
      fs.mkdirSync(at);
    } catch (error) {
      if (systemErrorCode(error) !== "EEXIST") throw error; // another worker may have been faster
    }
    return openDirectory(at, shown, DIRECTORY_FLAGS, way);
  }

  /** The map's order is the order of use; files of one directory come one behind the other. */
  #touch(key: string, directory: OpenDirectory): void {
    if (key === this.#newestKey) return;
    this.#open.delete(key);
    this.#open.set(key, directory);
    this.#newestKey = key;
  }

  #retireOldest(exceptKey: string): void {
    for (const [key, directory] of this.#open) {
      if (key === exceptKey) continue;
      this.#open.delete(key);
      directory.retire();
      return;
    }
  }
}

/** A directory that is closed when it is retired and nobody holds it any more. */
class OpenDirectory implements ContainedDirectory {
  readonly path: string;
  readonly shownPath: string;
  /** The paths from the root's to its own, by names. */
  readonly way: readonly string[];
  #descriptor: number | undefined;
  #identity: FileFacts | undefined;
  #retired = false;
  holders = 0;

  constructor(path: string, shownPath: string, descriptor: number | undefined, way: readonly string[]) {
    this.path = path;
    this.shownPath = shownPath;
    this.way = way;
    this.#descriptor = descriptor;
  }

  /** @throws DrayError "name" for what is no single component: whatever checked it before us, it ends here */
  entry(name: string): string {
    return entryOf(this.path, name);
  }

  /** @throws DrayError "name", as `entry` does */
  look(names: readonly string[]): Look[] {
    return this.#lookByName(names) ?? lookAt(names, (name) => this.entry(name));
  }

  #lookByName(names: readonly string[]): Look[] | undefined {
    if (this.#descriptor === undefined) return undefined;
    const way = new NamedWay(this.way);
    if (!way.isWorthIt(names.length)) return undefined;
    this.#identity ??= factsOf(fs.fstatSync(this.#descriptor));
    return way.look(this.#identity, names, entryOf);
  }

  [Symbol.dispose](): void {
    this.holders--;
    this.#closeIfUnused();
  }

  retire(): void {
    this.#retired = true;
    this.#closeIfUnused();
  }

  #closeIfUnused(): void {
    if (!this.#retired || this.holders > 0 || this.#descriptor === undefined) return;
    fs.closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

function entryOf(directory: string, name: string): string {
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0")) {
    throw new DrayError("name", `the name ${quoteName(name)} may not be used`);
  }
  return below(directory, name);
}

function below(directory: string, name: string): string {
  return directory === HERE ? name : `${directory}/${name}`;
}

function isWorkedIn(absolute: string): boolean {
  try {
    const here = fs.statSync(HERE);
    const there = fs.statSync(absolute);
    return here.ino === there.ino && here.dev === there.dev;
  } catch {
    return false; // opening it tells what is wrong
  }
}

function openDirectory(at: string, shownPath: string, flags: number, way: readonly string[]): OpenDirectory {
  if (process.platform !== "linux") return checkedDirectory(at, shownPath, way);
  const descriptor = fs.openSync(at, flags);
  return new OpenDirectory(`/proc/self/fd/${descriptor}`, shownPath, descriptor, way);
}

function checkedDirectory(at: string, shownPath: string, way: readonly string[]): OpenDirectory {
  const stats = shownPath === ROOT_SHOWN ? fs.statSync(at) : fs.lstatSync(at);
  if (!stats.isDirectory()) {
    throw Object.assign(new Error("not a directory"), { code: "ENOTDIR" });
  }
  return new OpenDirectory(at, shownPath, undefined, way);
}

/** Something is where something else is to be: a file where a directory is to be, or the other way round. */
export class Obstacle extends DrayError {
  constructor(message: string) {
    super("refused", message);
  }
}

/** Why a component of a path cannot be walked through. */
function obstacle(at: string, shownPath: string, create: boolean): DrayError {
  const isLink = fs.lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  if (isLink) return new Obstacle(`${quoteName(shownPath)} is a symbolic link, and links are not followed`);
  if (create) return new Obstacle(`${quoteName(shownPath)} is in the way: it is not a directory`);
  return new DrayError("not-found", "no such file or directory");
}

function refuseOnWindows(name: string): void {
  const problem = windowsProblem(name);
  if (problem !== undefined) throw new DrayError("name", `the name ${quoteName(name)} ${problem}`);
}
