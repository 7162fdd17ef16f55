import { isNotFound } from "../errors/dray-error.ts";
import { parsePath } from "../wire/names.ts";
import { type OwnedTree, versionOf } from "./owned-tree.ts";
import { type FileVersion, type OwnerJournal, isSame } from "./owner-journal.ts";

/** Paths that are looked at in one go. */
const CHUNK = 200;

/**
 * Forgets the owners of what is not there any more: versions that a crash kept from becoming visible,
 * and files that somebody removed or changed on the server itself.
 */
export class OwnerTidy {
  readonly #owners: OwnerJournal;
  readonly #tree: OwnedTree;
  readonly #isBusy: (path: string) => boolean;
  #isStopped = false;
  #running: Promise<number> | undefined;

  /** @param isBusy whether a change is under way for a path: then it is left alone */
  constructor(owners: OwnerJournal, tree: OwnedTree, isBusy: (path: string) => boolean) {
    this.#owners = owners;
    this.#tree = tree;
    this.#isBusy = isBusy;
  }

  /** Goes through all of it, and lets other work run in between. @returns the bytes of what was forgotten */
  run(): Promise<number> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running?.catch(() => {}); // told to whoever began it
  }

  async #run(): Promise<number> {
    let forgottenBytes = 0;
    let last = "";
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#isStopped) return forgottenBytes;
      const paths = this.#owners.pathsAfter(last, CHUNK);
      if (paths.length === 0) return forgottenBytes;
      last = paths.at(-1)!;
      this.#tree.root.forget();
      forgottenBytes += this.#forgetMissing(paths.filter((path) => !this.#isBusy(path)));
    }
  }

  #forgetMissing(paths: readonly string[]): number {
    const there: FileVersion[] = [];
    const gone: string[] = [];
    let forgottenBytes = 0;
    for (const path of paths) {
      const known = this.#owners.versionsOf(path);
      const actual = this.#actual(path);
      const kept = known.find((version) => actual !== undefined && isSame(version, actual));
      for (const version of known) if (version !== kept) forgottenBytes += version.sizeBytes;
      if (kept === undefined) gone.push(path);
      else if (known.length > 1) there.push(kept);
    }
    if (there.length + gone.length > 0) this.#owners.settle(there, gone);
    return forgottenBytes;
  }

  /** What is there; undefined if it is no file, or cannot be reached. */
  #actual(path: string): FileVersion | undefined {
    const components = parsePath(path);
    try {
      const facts = this.#tree.look(components);
      return facts?.kind === "file" ? versionOf(components, facts) : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
