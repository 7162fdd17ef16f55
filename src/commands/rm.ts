import { type DrayError, asDrayError, isNotFound } from "../errors/dray-error.ts";
import { type RmOptions, rmTable } from "../options/rm-options.ts";
import type { Target } from "../options/target-list.ts";
import type { Client } from "../transfer/client.ts";
import { removeSplit } from "../upload/split-changes.ts";
import { parsePath } from "../wire/names.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { onServers, type Outcome } from "./on-servers.ts";

export const rmCommand = defineDrayCommand({ table: rmTable, run: runRm });

/** Requests that are under way at the same time. */
const WINDOW = 64;

function runRm(options: RmOptions, io: CommandIo): Promise<number> {
  const ask = async (client: Client, target: Target, outcome: Outcome): Promise<void> => {
    const names = options.names.values();
    const worker = async (): Promise<void> => {
      for (const path of names) {
        try {
          await removeEveryForm(client, path);
          await outcome.doneWith("removed", target, { path });
        } catch (error) {
          await outcome.failedWith(target, path, asDrayError(error));
        }
      }
    };
    await Promise.all(Array.from({ length: WINDOW }, worker));
  };
  return onServers(options, io, { verb: "remove", needs: "writes", ask });
}

/** A name may be that of a file, of a split one, or of both: then none of them is to come to light again. */
async function removeEveryForm(client: Client, name: string): Promise<void> {
  let absent: DrayError | undefined;
  try {
    await client.remove(name);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    absent = asDrayError(error);
  }
  const splitFiles = await removeSplit(client, splitName(name));
  if (splitFiles === 0 && absent !== undefined) throw absent;
}

function splitName(name: string): string {
  return parsePath(name).join("/");
}
