import { ContainedRoot } from "../disk/contained-root.ts";
import { withContext } from "../errors/dray-error.ts";
import { contentTable, type ContentOptions } from "../options/content-options.ts";
import { contentService } from "../transfer/content-service.ts";
import { Server } from "../transfer/server.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { announce } from "./listening.ts";
import { onShutdown } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const contentCommand = defineDrayCommand({ table: contentTable, run: runContent });

async function runContent(options: ContentOptions, io: CommandIo): Promise<number> {
  const root = openRoot(options.directory);
  const { bind: address, port, maxConnections } = options;
  const server = new Server({ address, port, maxConnections }, contentService(root, AGENT), io.log);
  const ended = onShutdown(options.graceMs, () => server.stop());
  await announce(server, options.json, io, `everybody who can reach it can read ${options.directory}`);
  return ended;
}

function openRoot(directory: string): ContainedRoot {
  try {
    return new ContainedRoot(directory);
  } catch (error) {
    throw withContext(`Cannot export ${directory}`, error);
  }
}
