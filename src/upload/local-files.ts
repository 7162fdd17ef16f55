import * as fs from "node:fs";
import * as path from "node:path";
import { ContainedRoot } from "../disk/contained-root.ts";
import { FileRead } from "../disk/file-read.ts";
import { walk } from "../disk/walk.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";

/** Something that the user named, and where it is to be on the servers. */
export interface Named {
  localPath: string;
  /** The components of its name there; a directory's contents come below them. */
  components: readonly string[];
}

/** A file that is to be put. */
export interface LocalFile {
  /** As the user would write it. */
  localPath: string;
  /** Its name on the servers. */
  path: string;
  sizeBytes: number;
  rootPath: string;
  components: readonly string[];
}

export type LocalItem =
  | { kind: "file"; file: LocalFile }
  | { kind: "skipped"; localPath: string; reason: string }
  | { kind: "failed"; localPath: string; error: DrayError };

const SKIPPED: Record<string, string> = {
  symlink: "it is a symbolic link",
  special: "it is neither a file nor a directory",
  unfinished: "dray is still writing it",
};

/**
 * Everything that is to be put, one item at a time: memory does not grow with the number of files.
 * What the user named may be a symbolic link; links in directories are skipped.
 */
export function* localItems(named: readonly Named[], recursive: boolean): Generator<LocalItem, void> {
  for (const one of named) {
    const { localPath } = one;
    try {
      const realPath = fs.realpathSync(localPath);
      const stats = fs.statSync(realPath);
      if (stats.isDirectory()) {
        if (!recursive)
          throw new DrayError("refused", "it is a directory (--recursive puts all that is below it)");
        yield* below(one, realPath);
      } else if (stats.isFile()) {
        const [rootPath, components] = [path.dirname(realPath), [path.basename(realPath)]];
        const file = {
          localPath,
          path: one.components.join("/"),
          sizeBytes: stats.size,
          rootPath,
          components,
        };
        yield { kind: "file", file };
      } else throw new DrayError("refused", SKIPPED["special"]!);
    } catch (error) {
      yield { kind: "failed", localPath, error: asDrayError(error) };
    }
  }
}

function* below({ localPath, components }: Named, rootPath: string): Generator<LocalItem, void> {
  const root = new ContainedRoot(rootPath);
  try {
    for (const entry of walk(root, [])) {
      const shown = path.join(localPath, entry.path);
      if (entry.kind === "directory") continue;
      if (entry.kind === "file") {
        const inside = entry.path.split("/");
        const name = [...components, ...inside].join("/");
        const file = { localPath: shown, path: name, sizeBytes: entry.size, rootPath, components: inside };
        yield { kind: "file", file };
      } else if (SKIPPED[entry.kind] !== undefined) {
        yield { kind: "skipped", localPath: shown, reason: SKIPPED[entry.kind]! };
      } else {
        const why = entry.kind === "unreadable" ? "permission denied" : "its name is not UTF-8, or too long";
        yield { kind: "failed", localPath: shown, error: new DrayError("refused", why) };
      }
    }
  } finally {
    root.close();
  }
}

/** Roots that are kept open at most. */
const MAX_ROOTS = 8;

/** Opens local files, and no link that somebody puts in their place. */
export class LocalOpener {
  readonly #roots = new Map<string, ContainedRoot>();

  /** @throws a system error; DrayError "refused" for what is no regular file any more */
  open({ rootPath, components }: LocalFile): FileRead {
    using directory = this.#root(rootPath).hold(components.slice(0, -1));
    return new FileRead(directory, components.at(-1)!);
  }

  close(): void {
    for (const root of this.#roots.values()) root.close();
    this.#roots.clear();
  }

  #root(rootPath: string): ContainedRoot {
    const known = this.#roots.get(rootPath);
    if (known !== undefined) return known;
    if (this.#roots.size >= MAX_ROOTS) this.close();
    const root = new ContainedRoot(rootPath);
    this.#roots.set(rootPath, root);
    return root;
  }
}
