import type { Inode } from "../simulated-inode.ts";
import type { SimulatedDisk } from "../simulated-disk.ts";

/** One content that somebody has written, by whole bytes. */
export interface Content {
  readonly md5: string;
  /** For people: `#3 "a" of client 1`. */
  readonly label: string;
  /** A whole content, not a state on the way to one. */
  readonly isWhole: boolean;
}

/** All contents of a world. */
export class Contents {
  readonly #known = new Map<string, Content>();
  #count = 0;

  /** New bytes that no other content shares, but for those of no size. */
  make(sizeBytes: number, filler: number): Buffer {
    const number = ++this.#count;
    const bytes = Buffer.alloc(sizeBytes);
    const mark = `#${number.toString(36)}.`;
    for (let at = 0; at < sizeBytes; at++)
      bytes[at] = at < mark.length ? mark.charCodeAt(at) : 97 + ((number * 7 + at * filler) % 26);
    return bytes;
  }

  learn(bytes: Uint8Array, label: string, isWhole: boolean): Content {
    const md5 = md5Of(bytes);
    const known = this.#known.get(md5);
    if (known !== undefined && (known.isWhole || !isWhole)) return known;
    const content = { md5, label, isWhole };
    this.#known.set(md5, content);
    return content;
  }

  get(md5: string): Content | undefined {
    return this.#known.get(md5);
  }

  label(md5: string): string {
    return this.#known.get(md5)?.label ?? `a content that nobody wrote (${md5.slice(0, 8)})`;
  }
}

export function md5Of(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("md5").update(bytes).digest("hex");
}

export interface FoundFile {
  readonly name: string;
  readonly inode: Inode;
}

/** Files below a directory of a disk, without one of the names at the top. */
function* filesOf(
  directory: Inode | undefined,
  hidden: readonly string[] = [],
  below = "",
): Generator<FoundFile> {
  for (const [name, inode] of directory?.entries ?? []) {
    if (below === "" && hidden.includes(name)) continue;
    if (inode.kind === "directory") yield* filesOf(inode, [], `${below}${name}/`);
    else if (inode.kind === "file") yield { name: below + name, inode };
  }
}

/** What users see: everything but dray's own, and the list of a literal client. */
export function visibleFiles(disk: SimulatedDisk, root = disk.root): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name, inode } of filesOf(root, [".dray", "META-DATA"]))
    found.set(name, md5Of(inode.content().bytes));
  return found;
}

/** What is kept among the versions. */
export function versionContents(root: Inode | undefined): Set<string> {
  const found = new Set<string>();
  const versions = root?.entries.get(".dray")?.entries.get("versions");
  for (const { inode } of filesOf(versions)) found.add(md5Of(inode.content().bytes));
  return found;
}
