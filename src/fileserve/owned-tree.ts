import type { ContainedDirectory, ContainedRoot } from "../disk/contained-root.ts";
import { type FileFacts, factsAt } from "../disk/file-facts.ts";
import { DrayError, isNotFound } from "../errors/dray-error.ts";
import type { FileVersion, OwnerJournal } from "./owner-journal.ts";

/** The served tree as one who may change parts of it sees it: what is there, and whose it is. */
export class OwnedTree {
  readonly root: ContainedRoot;
  readonly #owners: OwnerJournal;

  constructor(root: ContainedRoot, owners: OwnerJournal) {
    this.root = root;
    this.#owners = owners;
  }

  /**
   * The version that is there, if it is the owner's.
   * @returns undefined if nothing is there
   * @throws DrayError "refused" for what is somebody else's, nobody's, or no file
   */
  find(components: readonly string[], owner: string): FileVersion | undefined {
    const facts = this.look(components);
    if (facts === undefined) return undefined;
    if (facts.kind !== "file") throw new DrayError("refused", `it is a ${NAMES[facts.kind] ?? facts.kind}`);
    const version = versionOf(components, facts);
    const actual = this.#owners.ownerOf(version);
    if (actual === owner) return version;
    if (actual !== undefined) throw new DrayError("refused", "it belongs to another client");
    throw new DrayError(
      "refused",
      "it belongs to no client: it was not put here by one, or was changed on the server since",
    );
  }

  /** @throws DrayError "refused" when the way there leads through something that is no directory */
  look(components: readonly string[]): FileFacts | undefined {
    try {
      using directory = this.root.hold(components.slice(0, -1));
      return factsAt(directory.entry(components.at(-1)!));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /**
   * The nearest directory on the way to a file that exists already.
   * @throws DrayError "refused" when something is in the way
   */
  holdNearest(components: readonly string[]): ContainedDirectory {
    for (let depth = components.length - 1; depth > 0; depth--) {
      try {
        return this.root.hold(components.slice(0, depth));
      } catch (error) {
        if (!isNotFound(error)) throw error;
        const facts = this.look(components.slice(0, depth));
        if (facts !== undefined)
          throw new DrayError(
            "refused",
            `"${components.slice(0, depth).join("/")}" is in the way: it is not a directory`,
          );
      }
    }
    return this.root.hold([]);
  }
}

const NAMES: Record<string, string> = { symlink: "symbolic link", special: "special file" };

export function versionOf(components: readonly string[], facts: FileFacts): FileVersion {
  return { path: components.join("/"), sizeBytes: facts.sizeBytes, mtimeUs: facts.mtimeUs };
}
