import type { DrayError } from "../errors/dray-error.ts";
import { MirrorDaemon } from "../mirror/mirror-daemon.ts";
import { mirrorTable, type MirrorOptions } from "../options/mirror-options.ts";
import { exportingLine } from "../report/listening-line.ts";
import { THREAD_URL } from "../thread-url.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { announce } from "./listening.ts";
import { onShutdown } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const mirrorCommand = defineDrayCommand({ table: mirrorTable, run: runMirror });

async function runMirror(options: MirrorOptions, io: CommandIo): Promise<number> {
  const broken = Promise.withResolvers<never>();
  const settings = {
    ...options,
    bytesPerSecond: options.bytesPerSecond === 0 ? undefined : options.bytesPerSecond,
    address: options.bind,
    agent: AGENT,
    threadUrl: THREAD_URL,
  };
  const starting = MirrorDaemon.start(settings, io.log, (error: DrayError) => broken.reject(error));
  const ended = onShutdown(options.graceMs, async () => (await starting).finish());
  const daemon = await starting;
  await announce(daemon, options.json, io, `everybody who can reach it can have files pulled to here`);
  if (daemon.exportPort !== undefined) {
    await io.out.text(exportingLine({ address: daemon.address, port: daemon.exportPort }, options.json));
  }
  const exitCode = await Promise.race([ended, broken.promise]);
  await daemon.close();
  return exitCode;
}
