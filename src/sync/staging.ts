import type { OpenFile, Random, Tree, TreePath } from "./ports.ts";
import { STAGING_PATH, makeDirectories } from "./state-folder.ts";

const NAME_BYTES = 12;

/** Files that are being received, in `.dray/staging`: nobody sees them until they are published. */
export class Staging {
  readonly #tree: Tree;
  readonly #random: Random;

  /** Makes the folder if it is missing. @throws a system error; DrayError "refused" */
  constructor(tree: Tree, random: Random) {
    this.#tree = tree;
    this.#random = random;
    makeDirectories(tree, STAGING_PATH);
  }

  /** A new, empty file that nobody else has. @throws a system error; DrayError "refused" */
  create(): StagedFile {
    const path = [...STAGING_PATH, Buffer.from(this.#random.bytes(NAME_BYTES)).toString("hex")];
    return new Staged(this.#tree, path, this.#tree.create(path));
  }

  /** Removes what an earlier run left; only while nothing is staged. @returns how many files. @throws a system error */
  clear(): number {
    const left = this.#tree.list(STAGING_PATH);
    for (const { name } of left) this.#tree.unlink([...STAGING_PATH, name]);
    return left.length;
  }
}

/** Who grows faster than this is written to the disk meanwhile, so that the last sync has little left to do. */
const SYNC_STEP_BYTES = 64 * 1024 * 1024;

/** A file that grows out of sight. published() or discard() ends it. */
export interface StagedFile {
  readonly path: TreePath;
  readonly file: OpenFile;
  readonly sizeBytes: number;
  /** @throws a system error, ENOSPC among them: the size is then as it was before */
  append(bytes: Uint8Array): void;
  /** Forgets what is behind `sizeBytes`. @throws a system error */
  cutBack(sizeBytes: number): void;
  /** Makes content, size and times durable. @throws (the promise) a system error, of an earlier attempt as well */
  sync(): Promise<void>;
  /** It has another name now, and this one no more. */
  published(): void;
  /** Removes it; if the disk refuses that, the next start does. Harmless after publication, and when called again. */
  discard(): void;
}

class Staged implements StagedFile {
  readonly path: TreePath;
  readonly file: OpenFile;
  readonly #tree: Tree;
  #sizeBytes = 0;
  #syncAtBytes = SYNC_STEP_BYTES;
  /** The system tells a failed write once: whoever syncs early has to remember it. */
  #early: Promise<void> | undefined;
  #isOver = false;

  constructor(tree: Tree, path: TreePath, file: OpenFile) {
    this.#tree = tree;
    this.path = path;
    this.file = file;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  append(bytes: Uint8Array): void {
    this.file.write(bytes, this.#sizeBytes);
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes >= this.#syncAtBytes && this.#early === undefined) this.#syncEarly();
  }

  cutBack(sizeBytes: number): void {
    this.file.truncate(sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  async sync(): Promise<void> {
    await this.#early;
    await this.file.sync();
  }

  published(): void {
    this.#isOver = true;
    this.file.close();
  }

  discard(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.file.close();
    try {
      this.#tree.unlink(this.path);
    } catch {
      // It stays until clear(): out of sight, and nobody can do anything about it now.
    }
  }

  #syncEarly(): void {
    this.#syncAtBytes = this.#sizeBytes + SYNC_STEP_BYTES;
    this.#early = this.file.sync();
    // A failure stays, and sync() throws it.
    this.#early.then(
      () => (this.#early = undefined),
      () => {},
    );
  }
}
