import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type Random, seededRandom } from "./random.ts";

/** 2001-09-09 to 2033-05-18, so that no test depends on today. */
const MTIME_RANGE_SECONDS = [1_000_000_000, 2_000_000_000] as const;
const BLOCK_BYTES = 1024 * 1024;

export interface ManyFiles {
  seed: number;
  count: number;
  /** Spread over so many directories, two levels deep; 1 puts all into one. */
  directories: number;
  /** Sizes are spread evenly over the orders of magnitude between the two. */
  minBytes: number;
  maxBytes: number;
}

/**
 * Many files below `root`, the same for the same seed: contents, mtimes with microseconds, and every
 * tenth one executable. Gives the sum of their sizes in bytes.
 */
export function makeManyFiles(root: string, many: ManyFiles): number {
  const random = seededRandom(many.seed);
  const directories = Array.from({ length: many.directories }, (_, index) =>
    join(root, `group-${index % 10}`, `dir-${index}`),
  );
  for (const directory of directories) mkdirSync(directory, { recursive: true });
  let totalBytes = 0;
  for (let index = 0; index < many.count; index++) {
    const bytes = new Uint8Array(sizeBetween(random, many.minBytes, many.maxBytes));
    random.fill(bytes);
    const directory = directories[index % directories.length] ?? root;
    writeFixed(join(directory, `file-${index}.bin`), bytes, random, index % 10 === 0);
    totalBytes += bytes.byteLength;
  }
  return totalBytes;
}

/**
 * One file of any size in constant memory. Every block differs from every other. `sparse` writes only
 * one block in 64 and leaves holes between, for sizes that would take too long.
 */
export function makeLargeFile(
  path: string,
  large: { seed: number; sizeBytes: number; sparse?: boolean },
): void {
  const random = seededRandom(large.seed);
  const block = new Uint8Array(BLOCK_BYTES);
  random.fill(block);
  const stamp = new DataView(block.buffer);
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, "w");
  try {
    ftruncateSync(file, large.sizeBytes);
    const step = BLOCK_BYTES * (large.sparse === true ? 64 : 1);
    for (let offset = 0; offset < large.sizeBytes; offset += step) {
      for (let at = 0; at < BLOCK_BYTES; at += 4096) stamp.setFloat64(at, offset + at);
      writeSync(file, block, 0, Math.min(BLOCK_BYTES, large.sizeBytes - offset), offset);
    }
  } finally {
    closeSync(file);
  }
  setRandomMtime(path, random);
}

export interface OddTree {
  /** Relative paths of the regular files. */
  files: string[];
  /** Relative paths of the directories, empty ones included. */
  directories: string[];
  /** Relative paths of the symbolic links. */
  links: string[];
}

const ODD_NAMES = [
  "with space",
  " leading and trailing ",
  "comma,comma",
  "colon:9000:0",
  "line\nbreak",
  "tab\tand\rreturn",
  "quote'\"`$HOME;&|<>*?[x]{}!#~",
  "back\\slash",
  "-rf",
  "...",
  ".hidden",
  "täglich-größer",
  "e\u0301-decomposed",
  "日本語-🛒-ملف",
  "%2e%2e%2f",
  "C:",
  "x".repeat(255),
  "ü".repeat(127),
] as const;

/**
 * Everything that a file tree can hold and a careless program trips over: odd names for files and
 * directories, empty files and directories, executable files, deep nesting. `links` adds symbolic
 * links (to a file, to a directory, dangling, and out of the tree).
 */
export function makeOddTree(root: string, odd: { seed: number; links?: boolean }): OddTree {
  const random = seededRandom(odd.seed);
  const tree: OddTree = { files: [], directories: [], links: [] };
  const directory = (path: string): void => {
    mkdirSync(join(root, path), { recursive: true });
    tree.directories.push(path);
  };
  const file = (path: string, sizeBytes: number, executable = false): void => {
    const bytes = new Uint8Array(sizeBytes);
    random.fill(bytes);
    writeFixed(join(root, path), bytes, random, executable);
    tree.files.push(path);
  };
  mkdirSync(root, { recursive: true });
  for (const [index, name] of ODD_NAMES.entries()) {
    file(name, random.integer(1, 5000), index % 3 === 0);
    directory(`in ${index}`);
    directory(`in ${index}/${name}`);
    file(`in ${index}/${name}/file`, random.integer(1, 100));
  }
  for (const name of ["empty", "empty-executable"]) file(name, 0, name.endsWith("executable"));
  directory("empty-directory");
  for (let depth = 1; depth <= 20; depth++) directory(Array.from({ length: depth }, () => "deep").join("/"));
  file("deep/deep/deep/file", 100_000);
  if (odd.links === true) {
    const targets = {
      "link-to-file": "empty",
      "link-to-directory": "empty-directory",
      dangling: "nowhere",
      outside: "/etc",
    };
    for (const [name, target] of Object.entries(targets)) symlinkSync(target, join(root, name));
    tree.links.push(...Object.keys(targets));
  }
  return tree;
}

/** A file whose name is not UTF-8. Gives the name; throws EILSEQ where the file system refuses it. */
export function makeNonUtf8File(directory: string): Buffer {
  const name = Buffer.from([0x6e, 0x6f, 0x74, 0x2d, 0xff, 0xfe, 0x2d, 0x75, 0x74, 0x66, 0x38]);
  writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), name]), "not UTF-8");
  return name;
}

function writeFixed(path: string, bytes: Uint8Array, random: Random, executable: boolean): void {
  writeFileSync(path, bytes);
  chmodSync(path, executable ? 0o755 : 0o644);
  setRandomMtime(path, random);
}

function setRandomMtime(path: string, random: Random): void {
  const seconds = random.integer(...MTIME_RANGE_SECONDS) + random.integer(0, 999_999) / 1_000_000;
  utimesSync(path, seconds, seconds);
}

function sizeBetween(random: Random, minBytes: number, maxBytes: number): number {
  const low = Math.log(minBytes + 1);
  const high = Math.log(maxBytes + 1);
  return Math.min(maxBytes, Math.max(minBytes, Math.round(Math.exp(low + random.next() * (high - low)) - 1)));
}
