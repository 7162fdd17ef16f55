import { hidesState } from "../disk/own-state.ts";
import { fileService } from "../fileserve/file-service.ts";
import type { EvictionQueue } from "../fileserve/cache-policy.ts";
import { FileCache } from "../fileserve/file-cache.ts";
import { LruQueue } from "../fileserve/lru-queue.ts";
import { S3FifoQueue } from "../fileserve/s3-fifo-queue.ts";
import { Writes } from "../fileserve/writes.ts";
import { fileserveTable, type FileserveOptions } from "../options/fileserve-options.ts";
import { cacheStatisticsLine } from "../report/cache-statistics.ts";
import { Server } from "../transfer/server.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { serverSettings } from "./doors.ts";
import { announce } from "./listening.ts";
import { openServedRoot } from "./served-root.ts";
import { onShutdown } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const fileserveCommand = defineDrayCommand({ table: fileserveTable, run: runFileserve });

const QUEUES: Record<FileserveOptions["cachePolicy"], (limitBytes: number) => EvictionQueue> = {
  "s3-fifo": (limitBytes) => new S3FifoQueue(limitBytes),
  lru: () => new LruQueue(),
};

function openWrites(options: FileserveOptions, io: CommandIo): Writes | undefined {
  const { writable, directory, keepTrashMs, maxFile, maxTotal } = options;
  if (!writable) return undefined;
  const limits = { maxFileBytes: maxFile, maxTotalBytes: maxTotal };
  return new Writes({ directory, keepTrashMs, ...limits }, io.log);
}

async function runFileserve(options: FileserveOptions, io: CommandIo): Promise<number> {
  const root = openServedRoot(options.directory);
  const { cacheSize, cachePolicy } = options;
  const settings = await serverSettings(options, io.log);
  const cache = new FileCache(root, cacheSize, QUEUES[cachePolicy](cacheSize));
  const writes = openWrites(options, io);
  const services = fileService({ root, cache, hides: hidesState }, AGENT, writes);
  const server = new Server(settings, services, io.log);
  const ended = onShutdown(options.graceMs, () => server.stop());
  const tell = async (): Promise<void> => {
    if (options.json) await io.out.event({ type: "statistics", ...cache.statistics });
    else io.log.info(cacheStatisticsLine(cache.statistics));
  };
  process.on("SIGUSR1", () => void tell());
  const more = writes === undefined ? "" : ", put files there, and change what others have put";
  const open = `everybody who can reach it can read ${options.directory}${more}`;
  await announce(server, options.json, io, open, settings.security);
  const exitCode = await ended;
  await writes?.stop();
  await tell();
  return exitCode;
}
