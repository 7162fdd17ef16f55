import { DrayError, isNotFound } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import { quoteName } from "../wire/names.ts";
import { manifestPath, splitDirectory } from "../wire/split-names.ts";

const LIST_CREDIT = 4;
/** Files of one split file on one server: far more than it can have, even of several versions. */
const MAX_FILES = 100_000;
/** Requests that are under way at the same time. */
const WINDOW = 64;

/**
 * All files that a server has of a split file, of all its versions, and what interrupted puts have left.
 * @returns none if it has no such file
 */
export async function splitFilesOf(client: Client, name: string): Promise<string[]> {
  const paths: string[] = [];
  try {
    await client.list(splitDirectory(name), LIST_CREDIT, (entries) => {
      for (const { kind, path } of entries) if (kind === "file") paths.push(path);
      if (paths.length > MAX_FILES)
        throw new DrayError("refused", `there are more than ${MAX_FILES} files in its directory`);
    });
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
  return paths;
}

/**
 * Removes a split file from one server: the manifest first, so that nobody is led to parts that are gone.
 * @returns how many files that were; 0 if there is no such file
 */
export async function removeSplit(client: Client, name: string): Promise<number> {
  const paths = await splitFilesOf(client, name);
  const manifest = manifestPath(name);
  if (paths.includes(manifest)) await client.remove(manifest);
  const parts = paths.filter((path) => path !== manifest);
  await eachOf(parts, (path) => client.remove(path));
  return paths.length;
}

/**
 * Renames a split file on one server: the manifest last, so that the same call again goes on where it was.
 * @returns how many files that were; 0 if there is no such file
 * @throws DrayError "refused" when something has the new name
 */
export async function renameSplit(client: Client, from: string, to: string): Promise<number> {
  const paths = await splitFilesOf(client, from);
  const manifest = manifestPath(from);
  if (!paths.includes(manifest)) return 0;
  for (const taken of [to, manifestPath(to)]) {
    if (await exists(client, taken))
      throw new DrayError("refused", `something is called ${quoteName(to)} already`);
  }
  const prefix = splitDirectory(from);
  const newPath = (path: string): string => splitDirectory(to) + path.slice(prefix.length);
  await eachOf(
    paths.filter((path) => path !== manifest),
    (path) => client.rename(path, newPath(path)),
  );
  await client.rename(manifest, newPath(manifest));
  return paths.length;
}

/** Whether a server has a file of this name, split or not. */
export async function existsInAnyForm(client: Client, name: string): Promise<boolean> {
  return (await exists(client, name)) || (await exists(client, manifestPath(name)));
}

/** Whether a server has a file under exactly this name. */
export async function exists(client: Client, path: string): Promise<boolean> {
  const range = { path, offset: 0, length: 0, delayMs: 0, digest: "xxh3" } as const;
  try {
    await client.fetch(range, { head: () => {}, piece: () => {}, complete: () => {} });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

async function eachOf(paths: readonly string[], work: (path: string) => Promise<void>): Promise<void> {
  const next = paths.values();
  const worker = async (): Promise<void> => {
    for (const path of next) await work(path);
  };
  await Promise.all(Array.from({ length: WINDOW }, worker));
}
