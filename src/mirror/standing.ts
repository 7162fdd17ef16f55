import { type ContainedRoot } from "../disk/contained-root.ts";
import type { Look } from "../disk/quick-look.ts";
import { isNotFound } from "../errors/dray-error.ts";
import type { DistrustedSpan, JobItem } from "./job.ts";
import { reasonToFetch } from "./local-copy.ts";

/**
 * Files and directories of a list that may be in the mirror already, for a pool thread to look at. Columns
 * rather than items, which would cost more to pass on than to look at.
 */
export interface Listed {
  /** The directory below the mirror's that holds the source. */
  sourceDirectory: string;
  /** Paths from the source's root, as many as there are items, each ended by a NUL. */
  paths: string;
  /** Of each item, one behind the other: COLUMNS of them. */
  columns: Float64Array;
}

type Candidate = Pick<JobItem, "kind" | "path" | "sizeBytes" | "mtimeUs" | "mode">;

/** Size, modification time and mode; directories have a size that no file has. */
const COLUMNS = 3;
const DIRECTORY_SIZE = -1;

export function listedOf(sourceDirectory: string, candidates: readonly Candidate[]): Listed {
  const columns = new Float64Array(candidates.length * COLUMNS);
  let paths = "";
  let at = 0;
  for (const { kind, path, sizeBytes, mtimeUs, mode } of candidates) {
    paths += `${path}\0`;
    columns[at] = kind === "directory" ? DIRECTORY_SIZE : sizeBytes;
    columns[at + 1] = mtimeUs;
    columns[at + 2] = mode;
    at += COLUMNS;
  }
  return { sourceDirectory, paths, columns };
}

/**
 * Looks which of them stand in the mirror as they are listed, by all that metadata tells.
 * @returns one for each item: 1 if it stands, 0 if it does not, or if that cannot be told from here;
 *   undefined when there is nothing of the source at all
 */
export function standing(
  root: ContainedRoot,
  { sourceDirectory, paths, columns }: Listed,
  distrusted: DistrustedSpan | undefined,
): Uint8Array | undefined {
  if (!isThere(root, sourceDirectory)) return undefined;
  const stands = new Uint8Array(columns.length / COLUMNS);
  for (const [directory, { names, indexes }] of byDirectory(paths)) {
    const components = directory === "" ? [sourceDirectory] : [sourceDirectory, ...directory.split("/")];
    const looks = looksIn(root, components, names);
    for (const [position, look] of looks.entries()) {
      const index = indexes[position]!;
      if (isAsListed(look, columns, index * COLUMNS, distrusted)) stands[index] = 1;
    }
  }
  return stands;
}

function isAsListed(
  look: Look,
  columns: Float64Array,
  at: number,
  distrusted: DistrustedSpan | undefined,
): boolean {
  if (look === undefined || look instanceof Error) return false;
  const sizeBytes = columns[at]!;
  if (sizeBytes === DIRECTORY_SIZE) return look.kind === "directory";
  const item = { sizeBytes, mtimeUs: columns[at + 1]!, mode: columns[at + 2]! };
  return reasonToFetch(look, item, distrusted) === undefined;
}

/** Names of one directory, and which items they are. */
interface Siblings {
  names: string[];
  indexes: number[];
}

function byDirectory(paths: string): Map<string, Siblings> {
  const directories = new Map<string, Siblings>();
  const siblingsIn = (directory: string): Siblings => {
    const known = directories.get(directory);
    if (known !== undefined) return known;
    const first: Siblings = { names: [], indexes: [] };
    directories.set(directory, first);
    return first;
  };
  // Most are in the directory of the one before.
  let prefix = "";
  let siblings: Siblings | undefined;
  let start = 0;
  for (let index = 0; start < paths.length; index++) {
    const end = paths.indexOf("\0", start);
    const slash = paths.lastIndexOf("/", end);
    const nameStart = Math.max(start, slash + 1);
    const isBeside = nameStart - start === prefix.length && paths.startsWith(prefix, start);
    if (siblings === undefined || !isBeside) {
      prefix = paths.slice(start, nameStart);
      siblings = siblingsIn(prefix.slice(0, -1));
    }
    siblings.names.push(paths.slice(nameStart, end));
    siblings.indexes.push(index);
    start = end + 1;
  }
  return directories;
}

function isThere(root: ContainedRoot, sourceDirectory: string): boolean {
  try {
    root.hold([sourceDirectory])[Symbol.dispose]();
    return true;
  } catch (error) {
    return !isNotFound(error);
  }
}

function looksIn(root: ContainedRoot, components: readonly string[], names: readonly string[]): Look[] {
  try {
    using directory = root.hold(components);
    return directory.look(names);
  } catch {
    return []; // what is wrong here is found out, and told, when they are brought
  }
}
