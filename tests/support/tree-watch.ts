import { closeSync, fstatSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const TEMP_NAME = /^\.dray-.*\.tmp$/;
const PART_NAME = /^\.dray-part.*\.tmp$/;
const PAUSE_MS = 10;

/** One file as it was seen; as long as these stay the same, nobody has written to it. */
interface Seen {
  stamp: string;
  digest: bigint;
}

/** What a look at a tree finds. */
export interface TreeLook {
  /** Files under their final name that hold the source's newest version. */
  files: number;
  /** Bytes of those, and of parts of large files that are to be gone on with. */
  keptBytes: number;
  /** Files that are not published, by their path. */
  temps: string[];
}

/**
 * Looks from outside at a tree that is being mirrored: whatever is visible under a final name has to
 * be a whole file that the source has, or had.
 */
export class TreeWatch {
  /** What was seen and may not be, one line each. */
  readonly violations: string[] = [];
  readonly #tree: string;
  readonly #source: string;
  /** Digests that each path may have. */
  readonly #allowed = new Map<string, Set<bigint>>();
  readonly #newest = new Map<string, bigint>();
  readonly #seen = new Map<string, Seen>();
  #isWatching = false;
  #ended: Promise<void> = Promise.resolve();

  /**
   * @param tree the mirror's copy; it need not be there yet
   * @param source what it is a copy of, as it is now; see `sourceChanged`
   */
  constructor(tree: string, source: string) {
    this.#tree = tree;
    this.#source = source;
    this.sourceChanged();
  }

  /** The source has other versions now; the older ones may stay visible until they are replaced. */
  sourceChanged(): void {
    for (const path of filesBelow(this.#source)) {
      const digest = digestOf(readFileSync(join(this.#source, path)));
      this.#newest.set(path, digest);
      const allowed = this.#allowed.get(path) ?? new Set();
      this.#allowed.set(path, allowed.add(digest));
    }
  }

  /** Looks at everything once. */
  look(): TreeLook {
    const look: TreeLook = { files: 0, keptBytes: 0, temps: [] };
    for (const path of filesBelow(this.#tree)) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const file = this.#read(path, TEMP_NAME.test(name));
      if (file === undefined) continue; // renamed meanwhile
      if (TEMP_NAME.test(name)) {
        look.temps.push(path);
        if (PART_NAME.test(name)) look.keptBytes += file.sizeBytes;
      } else if (file.digest === this.#newest.get(path)) {
        look.files++;
        look.keptBytes += file.sizeBytes;
      } else if (this.#allowed.get(path)?.has(file.digest!) !== true) {
        this.violations.push(`${path} was visible with ${file.sizeBytes} bytes that the source never had`);
      }
    }
    return look;
  }

  /** Looks again and again until `stop`. */
  start(): void {
    this.#isWatching = true;
    this.#ended = this.#watch();
  }

  async stop(): Promise<void> {
    this.#isWatching = false;
    await this.#ended;
  }

  async #watch(): Promise<void> {
    while (this.#isWatching) {
      this.look();
      await Bun.sleep(PAUSE_MS);
    }
  }

  #read(path: string, isTemp: boolean): { sizeBytes: number; digest: bigint | undefined } | undefined {
    let descriptor: number;
    try {
      descriptor = openSync(join(this.#tree, path), "r");
    } catch {
      return undefined;
    }
    try {
      const { ino, ctimeNs, mtimeNs, size } = fstatSync(descriptor, { bigint: true });
      const sizeBytes = Number(size);
      if (isTemp) return { sizeBytes, digest: undefined };
      const stamp = `${ino} ${ctimeNs} ${mtimeNs} ${size}`;
      let seen = this.#seen.get(path);
      if (seen?.stamp !== stamp) {
        seen = { stamp, digest: digestOf(readFileSync(descriptor)) };
        this.#seen.set(path, seen);
      }
      return { sizeBytes, digest: seen.digest };
    } finally {
      closeSync(descriptor);
    }
  }
}

function digestOf(bytes: Uint8Array): bigint {
  return Bun.hash.xxHash3(bytes);
}

/** Relative paths of everything that is no directory; nothing if the tree is not there. */
function filesBelow(root: string): string[] {
  const found: string[] = [];
  const visit = (directory: string): void => {
    for (const entry of entriesOf(join(root, directory))) {
      const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else found.push(path);
    }
  };
  visit("");
  return found;
}

function entriesOf(directory: string): { name: string; isDirectory(): boolean }[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return []; // not made yet
  }
}
