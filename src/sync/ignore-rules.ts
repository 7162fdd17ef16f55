import ignore, { type Ignore } from "ignore";
import { DrayError } from "../errors/dray-error.ts";
import type { Tree } from "./ports.ts";

export const IGNORE_FILE = ".drayignore";

const MAX_FILE_BYTES = 1024 * 1024;

/** What programs leave beside a file while they work on it, and what systems put into every folder. */
export const DEFAULT_IGNORES: readonly string[] = [
  // Editors: vim, Emacs, Kate, gedit, JetBrains, and backups with a tilde.
  ".*.sw?",
  ".*.un~",
  "4913",
  "*~",
  ".#*",
  "\\#*#",
  ".*.kate-swp",
  ".goutputstream-*",
  "*___jb_tmp___",
  "*___jb_old___",
  // Offices: Microsoft's and LibreOffice.
  "~$*",
  "~*.tmp",
  ".~lock.*#",
  // Systems.
  ".DS_Store",
  "._*",
  "Thumbs.db",
  "desktop.ini",
  ".nfs????????*",
  ".fuse_hidden*",
  // Downloads under way.
  "*.crdownload",
];

/**
 * What is not synced though it could be: the defaults, then what `.drayignore` at the root says, in the syntax
 * of gitignore; it may take a default back with `!`.
 */
export class IgnoreRules {
  readonly #rules: Ignore;

  /** @param text of a `.drayignore` */
  constructor(text = "") {
    this.#rules = ignore({ ignorecase: false })
      .add([...DEFAULT_IGNORES])
      .add(text);
  }

  /**
   * As the tree has them now; the defaults alone without the file.
   * @throws a system error; DrayError "refused" for a file that is too large or no file
   */
  static from(tree: Tree): IgnoreRules {
    const path = [IGNORE_FILE];
    if (tree.stat(path) === undefined) return new IgnoreRules();
    const file = tree.open(path);
    try {
      const bytes = new Uint8Array(file.stat().sizeBytes);
      if (bytes.length > MAX_FILE_BYTES)
        throw new DrayError("refused", `${IGNORE_FILE} is larger than ${MAX_FILE_BYTES} bytes`);
      return new IgnoreRules(new TextDecoder().decode(bytes.subarray(0, file.read(bytes, 0))));
    } finally {
      file.close();
    }
  }

  /** @param isDirectory matters for rules with a slash at their end */
  isIgnored(name: string, isDirectory: boolean): boolean {
    return this.#rules.ignores(isDirectory ? `${name}/` : name);
  }
}
