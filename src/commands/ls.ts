import { DrayError, withContext } from "../errors/dray-error.ts";
import { type LsOptions, lsTable } from "../options/ls-options.ts";
import { listedLine } from "../report/listed-line.ts";
import { hostAndPort } from "../report/source-label.ts";
import type { ListEntry } from "../wire/entries.ts";
import { parsePath } from "../wire/names.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { onServers } from "./on-servers.ts";

export const lsCommand = defineDrayCommand({ table: lsTable, run: runLs });

const CREDIT = 4;

function runLs(options: LsOptions, io: CommandIo): Promise<number> {
  const { directory, recursive, long, json, on } = options;
  const listed = componentsOf(directory).join("/");
  // Names are told as they are below what was asked for, as people know it from ls.
  const prefix = listed === "" ? "" : `${listed}/`;
  const shownName = ({ path }: ListEntry): string =>
    path.startsWith(prefix) ? path.slice(prefix.length) : path;
  const isShown = (entry: ListEntry): boolean => {
    if (entry.path === listed) return entry.kind !== "directory";
    return recursive || !shownName(entry).includes("/");
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
        await client.list(directory, CREDIT, async (entries) => {
          for (const entry of entries.filter(isShown)) {
            const { path, kind, size: sizeBytes, mtimeUs, mode } = entry;
            await outcome.doneWith("entry", target, { path, kind, sizeBytes, mtimeUs, mode });
            if (!json) lines.push(listedLine(entry, shownName(entry), long));
          }
          // All that is below may be any number of names, what is in one directory is not.
          if (recursive && lines.length > 0) await io.out.text(lines.splice(0).join(""));
        });
        if (lines.length > 0) await io.out.text(lines.sort().join(""));
      },
    },
    true,
  );
}

function componentsOf(directory: string): string[] {
  try {
    return parsePath(directory);
  } catch (error) {
    throw new DrayError("usage", withContext("DIR", error).message, { cause: error });
  }
}
