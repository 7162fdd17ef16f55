import * as path from "node:path";
import type { DrayError } from "../errors/dray-error.ts";
import { MirrorDaemon } from "../mirror/mirror-daemon.ts";
import { mirrorTable, type MirrorOptions } from "../options/mirror-options.ts";
import { exportingLine } from "../report/listening-line.ts";
import { THREAD_URL } from "../thread-url.ts";
import type { ClientSecurity } from "../transfer/security.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { clientSecurity, onHangup, serverSettings } from "./doors.ts";
import { announce } from "./listening.ts";
import { onShutdown } from "./shutdown.ts";
import { AGENT } from "./version.ts";
import { workIn } from "./working-directory.ts";

export const mirrorCommand = defineDrayCommand({ table: mirrorTable, run: runMirror });

async function runMirror(options: MirrorOptions, io: CommandIo): Promise<number> {
  const broken = Promise.withResolvers<never>();
  const doors = await serverSettings(options, io.log);
  const loadSources = (): Promise<ClientSecurity> => sourceSecurity(options, io);
  const sourceDoors = await loadSources();
  const settings = {
    ...options,
    mirrorDirectory: path.resolve(options.mirrorDirectory),
    ...doors,
    bytesPerSecond: options.bytesPerSecond === 0 ? undefined : options.bytesPerSecond,
    sourceSecurity: sourceDoors,
    agent: AGENT,
    threadUrl: THREAD_URL,
  };
  const starting = MirrorDaemon.start(settings, io.log, (error: DrayError) => broken.reject(error));
  if (sourceDoors.token !== undefined || sourceDoors.tls !== undefined) {
    onHangup("sources", io.log, async () => {
      const renewed = await loadSources();
      (await starting).renewSourceSecurity(renewed);
    });
  }
  const ended = onShutdown(options.graceMs, async () => (await starting).finish());
  const daemon = await starting;
  workIn(settings.mirrorDirectory);
  const open = `everybody who can reach it can have files pulled to here`;
  await announce(daemon, options.json, io, open, doors.security);
  if (daemon.exportPort !== undefined) {
    await io.out.text(exportingLine({ address: daemon.address, port: daemon.exportPort }, options.json));
  }
  const exitCode = await Promise.race([ended, broken.promise]);
  await daemon.close();
  return exitCode;
}

function sourceSecurity(options: MirrorOptions, io: CommandIo): Promise<ClientSecurity> {
  const { sourceTokenFile, sourceTls, sourceTlsCa, sourceTlsCert, sourceTlsKey } = options;
  return clientSecurity(
    {
      tokenFile: sourceTokenFile,
      tls: sourceTls,
      tlsCa: sourceTlsCa,
      tlsCert: sourceTlsCert,
      tlsKey: sourceTlsKey,
    },
    (message) => io.log.warn(message),
  );
}
