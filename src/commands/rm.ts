import { asDrayError } from "../errors/dray-error.ts";
import { type RmOptions, rmTable } from "../options/rm-options.ts";
import type { Target } from "../options/target-list.ts";
import type { Client } from "../transfer/client.ts";
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
          await client.remove(path);
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
