import { contentTable, type ContentOptions } from "../options/content-options.ts";
import { contentService } from "../transfer/content-service.ts";
import { Server } from "../transfer/server.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { serverSettings } from "./doors.ts";
import { announce } from "./listening.ts";
import { openServedRoot } from "./served-root.ts";
import { onShutdown } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const contentCommand = defineDrayCommand({ table: contentTable, run: runContent });

async function runContent(options: ContentOptions, io: CommandIo): Promise<number> {
  const root = openServedRoot(options.directory, true);
  const settings = await serverSettings(options, io.log);
  const server = new Server(settings, contentService(root, AGENT), io.log);
  const ended = onShutdown(options.graceMs, () => server.stop());
  const open = `everybody who can reach it can read ${options.directory}`;
  await announce(server, options.json, io, open, settings.security);
  return ended;
}
