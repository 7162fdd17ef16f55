import { parseListedName, quoteName, windowsProblem } from "../wire/names.ts";
import { asDrayError } from "../errors/dray-error.ts";
import type { TreePath } from "./ports.ts";

/** Under this name the state of all files travels; no file of a user may have it (seed: "META-DATA file"). */
const META_DATA_NAME = "META-DATA";

export interface NamePlatform {
  /** Whether names have to be ones that Windows takes. */
  readonly isWindows: boolean;
}

/**
 * The path of a name from outside or from a scan, or why it may not be synced (decision 26), as the end of a sentence
 * that begins with the name: "is absolute", "is reserved".
 */
export function syncedPath(name: string, platform: NamePlatform): { path: TreePath } | { problem: string } {
  if (name === META_DATA_NAME) return { problem: "is reserved for the list of all files" };
  let path: string[];
  try {
    path = parseListedName(name);
  } catch (error) {
    return { problem: withoutName(asDrayError(error).message, name) };
  }
  for (const component of path) {
    if (isReserved(component)) return { problem: "is reserved for dray's own files" };
    const problem = platform.isWindows ? windowsProblem(component) : undefined;
    if (problem !== undefined) return { problem };
  }
  return { path };
}

function withoutName(message: string, name: string): string {
  const quoted = quoteName(name);
  const at = message.indexOf(quoted);
  return at < 0 ? message : message.slice(at + quoted.length + 1);
}

/** `.dray` and all that begins with `.dray-`, in any case: a case-insensitive file system does not tell them apart. */
export function isReserved(component: string): boolean {
  return /^\.dray(-|$)/i.test(component);
}

/** Two names with the same key are one file on a file system that ignores case or Unicode's spellings. */
export function twinKey(name: string): string {
  return name.normalize("NFD").toUpperCase().toLowerCase().normalize("NFC");
}

/** Finds names that differ only in case or Unicode spelling, in any component, from one that is there already. */
export class TwinIndex {
  /** By the key of each path and of each directory above it: its spelling, and how many names need it. */
  readonly #spellings = new Map<string, { spelling: string; users: number }>();

  /** @returns the spelling that is in the way, of the name or of a directory above it; undefined if there is none */
  twinOf(name: string): string | undefined {
    for (const prefix of prefixesOf(name)) {
      const known = this.#spellings.get(twinKey(prefix));
      if (known === undefined) return undefined;
      if (known.spelling !== prefix) return known.spelling;
    }
    return undefined;
  }

  /** @returns like twinOf; then the name was not added */
  add(name: string): string | undefined {
    const twin = this.twinOf(name);
    if (twin !== undefined) return twin;
    for (const prefix of prefixesOf(name)) {
      const key = twinKey(prefix);
      const known = this.#spellings.get(key);
      if (known === undefined) this.#spellings.set(key, { spelling: prefix, users: 1 });
      else known.users++;
    }
    return undefined;
  }

  /** Of a name that was added, once for each time. */
  remove(name: string): void {
    for (const prefix of prefixesOf(name)) {
      const key = twinKey(prefix);
      const known = this.#spellings.get(key);
      if (known === undefined || known.spelling !== prefix) return;
      if (--known.users === 0) this.#spellings.delete(key);
    }
  }
}

function* prefixesOf(name: string): Generator<string> {
  for (let slash = name.indexOf("/"); slash >= 0; slash = name.indexOf("/", slash + 1))
    yield name.slice(0, slash);
  yield name;
}
