import type { CacheStatistics } from "../fileserve/file-cache.ts";
import { fileserveTable, type FileserveOptions } from "../options/fileserve-options.ts";
import { cacheStatisticsLine } from "../report/cache-statistics.ts";
import { listeningLine } from "../report/listening-line.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { serverSettings } from "./doors.ts";
import { FileserveInstance } from "./fileserve-instance.ts";
import { announce } from "./listening.ts";
import { onShutdown } from "./shutdown.ts";

export const fileserveCommand = defineDrayCommand({ table: fileserveTable, run: runFileserve });

async function runFileserve(options: FileserveOptions, io: CommandIo): Promise<number> {
  const { cacheSize, instances: count, port, graceMs } = options;
  const settings = await serverSettings(options, io.log);
  const cacheBytes = Math.floor(cacheSize / count);
  const instances = Array.from({ length: count }, (_, index) => {
    const own = { ...settings, port: port === 0 ? 0 : port + index };
    return new FileserveInstance(options, own, cacheBytes, io);
  });
  const ended = onShutdown(graceMs, async () => {
    await Promise.all(instances.map(({ server }) => server.stop()));
  });
  const tell = async (): Promise<void> => {
    const statistics = sumOf(instances.map((instance) => instance.statistics));
    if (options.json) await io.out.event({ type: "statistics", ...statistics });
    else io.log.info(cacheStatisticsLine(statistics));
  };
  process.on("SIGUSR1", () => void tell());
  const more = options.writable ? ", put files there, and change what others have put" : "";
  const open = `everybody who can reach it can read ${options.directory}${more}`;
  const [first, ...others] = instances;
  await announce(first!.server, options.json, io, open, settings.security);
  for (const { server } of others) await io.out.text(listeningLine(server, options.json));
  const exitCode = await ended;
  await Promise.all(instances.map((instance) => instance.close()));
  await tell();
  return exitCode;
}

function sumOf([first, ...others]: readonly CacheStatistics[]): CacheStatistics {
  const sum = { ...first! };
  const keys = Object.keys(sum) as (keyof CacheStatistics)[];
  for (const one of others) for (const key of keys) sum[key] += one[key];
  return sum;
}
