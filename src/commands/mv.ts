import { DrayError, asDrayError, isNotFound } from "../errors/dray-error.ts";
import { showTarget } from "../net/dial.ts";
import { type MvOptions, mvTable } from "../options/mv-options.ts";
import type { Client } from "../transfer/client.ts";
import { existsInAnyForm, renameSplit } from "../upload/split-changes.ts";
import { fetchManifest } from "../upload/stored-manifest.ts";
import { serverText } from "../wire/manifest.ts";
import { parsePath, quoteName } from "../wire/names.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { onServers } from "./on-servers.ts";

export const mvCommand = defineDrayCommand({ table: mvTable, run: runMv });

function runMv(options: MvOptions, io: CommandIo): Promise<number> {
  const { from } = options;
  const to = options.to.endsWith("/") ? `${options.to}${from.slice(from.lastIndexOf("/") + 1)}` : options.to;
  const named = new Set(options.on.map(showTarget));
  return onServers(options, io, {
    verb: "rename",
    needs: "writes",
    ask: async (client, target, outcome) => {
      try {
        await renameEveryForm(client, from, to, named);
        await outcome.doneWith("renamed", target, { from, to });
      } catch (error) {
        await outcome.failedWith(target, from, asDrayError(error));
      }
    },
  });
}

async function renameEveryForm(
  client: Client,
  from: string,
  to: string,
  named: ReadonlySet<string>,
): Promise<void> {
  const [oldName, newName] = [from, to].map((name) => parsePath(name).join("/")) as [string, string];
  if (await existsInAnyForm(client, newName))
    throw new DrayError("refused", `something is called ${quoteName(newName)} already`);
  try {
    await client.rename(from, to);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    await assertAllNamed(client, oldName, named, error);
    if ((await renameSplit(client, oldName, newName)) === 0) throw error;
  }
}

/** Parts under two names are of no use to anybody. */
async function assertAllNamed(
  client: Client,
  name: string,
  named: ReadonlySet<string>,
  notFound: unknown,
): Promise<void> {
  const { manifest } = await fetchManifest(client, name).catch((error: unknown) => {
    throw isNotFound(error) ? notFound : error;
  });
  if (manifest instanceof DrayError) throw manifest;
  const others = manifest.servers.map(serverText).filter((server) => !named.has(server));
  if (others.length === 0) return;
  const shown = others.slice(0, 5).join(", ") + (others.length > 5 ? ` and ${others.length - 5} more` : "");
  throw new DrayError("refused", `the file is split, and has parts on ${shown}: name all its servers`);
}
