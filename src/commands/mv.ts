import { asDrayError } from "../errors/dray-error.ts";
import { type MvOptions, mvTable } from "../options/mv-options.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { onServers } from "./on-servers.ts";

export const mvCommand = defineDrayCommand({ table: mvTable, run: runMv });

function runMv(options: MvOptions, io: CommandIo): Promise<number> {
  const { from } = options;
  const to = options.to.endsWith("/") ? `${options.to}${from.slice(from.lastIndexOf("/") + 1)}` : options.to;
  return onServers(options, io, {
    verb: "rename",
    needs: "writes",
    ask: async (client, target, outcome) => {
      try {
        await client.rename(from, to);
        await outcome.doneWith("renamed", target, { from, to });
      } catch (error) {
        await outcome.failedWith(target, from, asDrayError(error));
      }
    },
  });
}
