import * as fs from "node:fs";
import { DrayError, isNotFound, systemErrorCode } from "../errors/dray-error.ts";
import type { ListEntry } from "../wire/entries.ts";
import { MAX_PATH_BYTES } from "../wire/names.ts";
import type { ContainedDirectory, ContainedRoot } from "./contained-root.ts";
import { type FileFacts, factsAt } from "./file-facts.ts";
import { isTempName } from "./publication.ts";

/** Whether a path from the root, and all below it, is left out as if it were not there. */
export type Hides = (path: string) => boolean;

export function isHidden(components: readonly string[], hides: Hides): boolean {
  return components.some((_, index) => hides(components.slice(0, index + 1).join("/")));
}

/**
 * Everything at and below a path, directories before what is in them, one entry at a time: memory
 * grows with the largest directories on the way down, never with the tree.
 *
 * What may not be read, and the temp files of publications, are entries of kinds of their own, so that
 * a listing never silently lacks something.
 *
 * @throws DrayError "not-found" (or a system error) at the first step when the path itself is not there
 */
export function* walk(
  root: ContainedRoot,
  components: readonly string[],
  hides: Hides = () => false,
): Generator<ListEntry, void> {
  if (isHidden(components, hides)) throw new DrayError("not-found", "no such file or directory");
  if (components.length > 0) {
    using parent = root.hold(components.slice(0, -1));
    const at = parent.entry(components.at(-1)!);
    const own = entryOf(parent, components.at(-1)!, factsAt(at), components.join("/"));
    if (own === undefined) throw new DrayError("not-found", "no such file or directory");
    if (own.kind !== "directory") return yield own;
    yield own;
  }
  yield* below(root, components, hides);
}

/** Entries that are looked at in one go, while their directory is open. */
const LOOK_AHEAD = 128;

function* below(
  root: ContainedRoot,
  components: readonly string[],
  hides: Hides,
): Generator<ListEntry, void> {
  const prefix = components.length === 0 ? "" : `${components.join("/")}/`;
  const names = namesIn(root, components);
  if (names === undefined) return yield plainEntry("unreadable", components.join("/") || ".");
  for (const shown of names.unnameable) yield plainEntry("unnameable", prefix + shown);
  for (let start = 0; start < names.plain.length; start += LOOK_AHEAD) {
    for (const entry of entriesOf(root, components, prefix, names.plain.slice(start, start + LOOK_AHEAD))) {
      if (hides(entry.path)) continue;
      yield entry;
      if (entry.kind === "directory")
        yield* below(root, [...components, entry.path.slice(prefix.length)], hides);
    }
  }
}

/** The names in one directory; undefined if it may not be read, none if it is gone. */
function namesIn(
  root: ContainedRoot,
  components: readonly string[],
): { plain: string[]; unnameable: string[] } | undefined {
  try {
    using directory = root.hold(components);
    const names = fs.readdirSync(directory.path);
    if (!names.some((name) => name.includes("\u{FFFD}"))) return { plain: names, unnameable: [] };
    const foreign = foreignNames(directory.path);
    const wellFormed = names.filter((name) => !name.includes("\u{FFFD}"));
    return { plain: [...wellFormed, ...foreign.readable], unnameable: foreign.unnameable };
  } catch (error) {
    return isNotFound(error) ? { plain: [], unnameable: [] } : undefined;
  }
}

function entriesOf(
  root: ContainedRoot,
  components: readonly string[],
  prefix: string,
  names: readonly string[],
): ListEntry[] {
  const entries: ListEntry[] = [];
  let directory: ContainedDirectory;
  try {
    directory = root.hold(components);
  } catch (error) {
    // Gone since its names were read: what is not there is not in the list.
    if (isNotFound(error)) return entries;
    return names.map((name) => plainEntry("unreadable", prefix + name));
  }
  using held = directory;
  const carried: string[] = [];
  for (const name of names) {
    if (isCarried(prefix, name)) carried.push(name);
    else entries.push(plainEntry("unnameable", shortened(prefix + name)));
  }
  for (const [index, seen] of held.look(carried).entries()) {
    const path = prefix + carried[index]!;
    try {
      if (seen instanceof Error) throw seen;
      const entry = entryOf(held, carried[index]!, seen, path);
      if (entry !== undefined) entries.push(entry);
    } catch {
      // The look itself is refused: the name is known, nothing else is.
      entries.push(plainEntry("unreadable", path));
    }
  }
  return entries;
}

function isCarried(prefix: string, name: string): boolean {
  const mostBytes = (prefix.length + name.length) * 3;
  return mostBytes <= MAX_PATH_BYTES || Buffer.byteLength(prefix + name) <= MAX_PATH_BYTES;
}

function entryOf(
  directory: ContainedDirectory,
  name: string,
  facts: FileFacts | undefined,
  path: string,
): ListEntry | undefined {
  if (facts === undefined) return undefined;
  const kind = facts.kind === "file" && isTempName(name) ? "unfinished" : facts.kind;
  const target = kind === "symlink" ? targetOf(directory.entry(name)) : "";
  return { kind, path, size: facts.sizeBytes, mtimeUs: facts.mtimeUs, mode: facts.mode, target };
}

function plainEntry(kind: "unreadable" | "unnameable", path: string): ListEntry {
  return { kind, path, size: 0, mtimeUs: 0, mode: 0, target: "" };
}

/** Where a link leads; empty when that is not UTF-8, too long, or gone. */
function targetOf(at: string): string {
  try {
    const raw = fs.readlinkSync(at, { encoding: "buffer" });
    const target = raw.toString("utf8");
    return raw.length <= MAX_PATH_BYTES && Buffer.compare(Buffer.from(target), raw) === 0 ? target : "";
  } catch (error) {
    if (isNotFound(error) || systemErrorCode(error) === "EINVAL") return "";
    throw error;
  }
}

/**
 * A name with U+FFFD in it is either spelled so or holds bytes that are not UTF-8: only the raw
 * bytes tell. Names without it are not looked at.
 */
export function foreignNames(path: string): { readable: string[]; unnameable: string[] } {
  const readable: string[] = [];
  const unnameable: string[] = [];
  for (const raw of fs.readdirSync(path, { encoding: "buffer" })) {
    const name = raw.toString("utf8");
    if (!name.includes("\u{FFFD}")) continue;
    if (Buffer.compare(Buffer.from(name), raw) === 0) readable.push(name);
    else unnameable.push(escapeBytes(raw));
  }
  return { readable, unnameable };
}

/** Bytes above ASCII as \xNN and the backslash doubled: readable, unique, and valid text. */
function escapeBytes(raw: Buffer): string {
  let text = "";
  for (const byte of raw) {
    if (byte === BACKSLASH) text += "\\\\";
    else text += byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`;
  }
  return text;
}

const BACKSLASH = 0x5c;

function shortened(path: string): string {
  return `${path.slice(0, 200)}… (${Buffer.byteLength(path)} bytes)`;
}
