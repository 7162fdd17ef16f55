import { DrayError, asDrayError, isNotFound, withContext } from "../errors/dray-error.ts";
import { type LsOptions, lsTable } from "../options/ls-options.ts";
import { listedLine } from "../report/listed-line.ts";
import { hostAndPort } from "../report/source-label.ts";
import type { Client } from "../transfer/client.ts";
import { exists } from "../upload/split-changes.ts";
import { fetchManifest } from "../upload/stored-manifest.ts";
import type { ListEntry } from "../wire/entries.ts";
import { parsePath } from "../wire/names.ts";
import { splitNameOf } from "../wire/split-names.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { onServers } from "./on-servers.ts";

export const lsCommand = defineDrayCommand({ table: lsTable, run: runLs });

const CREDIT = 4;

function runLs(options: LsOptions, io: CommandIo): Promise<number> {
  const { directory, recursive, long, json, on, all } = options;
  const listed = componentsOf(directory).join("/");
  // Names are told as they are below what was asked for, as people know it from ls.
  const prefix = listed === "" ? "" : `${listed}/`;
  const shownName = (path: string): string => (path.startsWith(prefix) ? path.slice(prefix.length) : path);
  const isShown = ({ path, kind }: ListEntry): boolean => {
    if (path === listed) return kind !== "directory";
    return recursive || !shownName(path).includes("/");
  };
  return onServers(
    options,
    io,
    {
      verb: "list",
      needs: "content",
      ask: async (client, target, outcome) => {
        if (on.length > 1 && !json) await io.out.line(`${hostAndPort(target.host, target.port)}:`);
        const lines: string[] = [];
        const show = async (entry: ListEntry, more: Record<string, unknown> = {}): Promise<void> => {
          const { path, kind, size: sizeBytes, mtimeUs, mode } = entry;
          await outcome.doneWith("entry", target, { path, kind, sizeBytes, mtimeUs, mode, ...more });
          if (!json) lines.push(listedLine(entry, shownName(path), long));
        };
        const splitNames: string[] = [];
        const takeSplit = (entry: ListEntry): boolean => {
          const found = all ? undefined : splitIn(entry.path, prefix);
          if (found === undefined || (found === entry.path && entry.kind !== "directory")) return false;
          if (found === entry.path && isShown(entry)) splitNames.push(splitNameOf(found)!);
          return true;
        };
        try {
          await client.list(directory, CREDIT, async (entries) => {
            for (const entry of entries) if (!takeSplit(entry) && isShown(entry)) await show(entry);
            // All that is below may be any number of names, what is in one directory is not.
            if (recursive && lines.length > 0) await io.out.text(lines.splice(0).join(""));
          });
        } catch (error) {
          if (!isNotFound(error) || all || listed === "" || (await splitEntry(client, listed)) === undefined)
            throw error;
          splitNames.push(listed);
        }
        for (const name of splitNames) {
          try {
            const split = await splitEntry(client, name);
            if (split !== undefined) await show(split.entry, split.more);
          } catch (error) {
            await outcome.failedWith(target, name, asDrayError(error));
          }
        }
        if (lines.length > 0) await io.out.text(lines.sort().join(""));
      },
    },
    true,
  );
}

/** The first directory of a split file on a path below `prefix`; undefined if there is none. */
function splitIn(path: string, prefix: string): string | undefined {
  if (!path.startsWith(prefix)) return undefined;
  for (let end = path.indexOf("/", prefix.length); end >= 0; end = path.indexOf("/", end + 1)) {
    if (splitNameOf(path.slice(0, end)) !== undefined) return path.slice(0, end);
  }
  return splitNameOf(path) === undefined ? undefined : path;
}

/**
 * A split file as an entry of a listing; undefined if there is no manifest, and so no file, or if an unsplit file
 * has the name, which counts and is listed by itself.
 * @throws DrayError when the manifest cannot be used
 */
async function splitEntry(
  client: Client,
  path: string,
): Promise<{ entry: ListEntry; more: Record<string, unknown> } | undefined> {
  try {
    const { manifest } = await fetchManifest(client, path);
    if (await exists(client, path)) return undefined;
    if (manifest instanceof DrayError) throw manifest;
    const { sizeBytes: size, mtimeUs, mode, parts, copies, root: sha256 } = manifest;
    const entry: ListEntry = { kind: "file", path, size, mtimeUs, mode, target: "" };
    return { entry, more: { parts: parts.length, copies, sha256 } };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function componentsOf(directory: string): string[] {
  try {
    return parsePath(directory);
  } catch (error) {
    throw new DrayError("usage", withContext("DIR", error).message, { cause: error });
  }
}
