import * as fs from "node:fs";
import { EXIT } from "../errors/codes.ts";
import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { type SyncServerOptions, syncServerTable } from "../options/sync-server-options.ts";
import { versionLimits } from "../options/version-options.ts";
import { listeningLine } from "../report/listening-line.ts";
import { syncServerStatusText } from "../report/sync-server-status.ts";
import { askControl, serveControl } from "../sync/real-control.ts";
import { openRealPorts } from "../sync/real-ports.ts";
import { hubStatus } from "../sync/server/hub-status.ts";
import type { HubSettings } from "../sync/server/hub-settings.ts";
import { Hub } from "../sync/server/hub.ts";
import { THREAD_URL } from "../thread-url.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { isLoopback } from "./listening.ts";
import { onShutdown } from "./shutdown.ts";
import { SyncServerView } from "./sync-server-view.ts";

export const syncServerCommand = defineDrayCommand({ table: syncServerTable, run: runSyncServer });

const STATUS_TIMEOUT_MS = 10_000;
/** Uploads of all connections, for each one's share. */
const UPLOADS_IN_ALL = 8;

function runSyncServer(options: SyncServerOptions, io: CommandIo): Promise<number> {
  return options.status ? tellStatus(options, io) : serve(options, io);
}

async function serve(options: SyncServerOptions, io: CommandIo): Promise<number> {
  const { directory, threads, json, graceMs } = options;
  makeDirectory(directory);
  const setAside = (why: string, keptAs: string): void =>
    io.log.warn(`The server's record was damaged (${why}); it is kept as ${keptAs}, and a new one is begun`);
  const ports = openPorts({ rootPath: directory, threadUrl: THREAD_URL, threads }, setAside);
  const view = new SyncServerView(io, json);
  const hub = new Hub(ports, hubSettings(options), view);
  try {
    await hub.recover();
    const { send, receive } = hub.listen();
    const control = serveControl(directory, (request) => answer(hub, request.type));
    const ended = onShutdown(graceMs, () => hub.stop());
    await io.out.text(sideLine(send, "send", json) + sideLine(receive, "receive", json));
    warnIfOpen(options, io);
    view.follow(hub);
    const exitCode = await ended;
    control.close();
    return exitCode;
  } catch (error) {
    throw withContext(`Cannot serve ${directory}`, error);
  } finally {
    view.close();
    hub.terminate();
    ports.close();
  }
}

function openPorts(
  ...[settings, setAside]: Parameters<typeof openRealPorts>
): ReturnType<typeof openRealPorts> {
  try {
    return openRealPorts(settings, setAside);
  } catch (error) {
    throw withContext(`Cannot serve ${settings.rootPath}`, error);
  }
}

function makeDirectory(directory: string): void {
  try {
    fs.mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw withContext(`Cannot make the directory ${directory}`, asDrayError(error));
  }
}

function hubSettings(options: SyncServerOptions): HubSettings {
  const { swapPorts, sendPort = 0, receivePort = 0, bind, maxUploads } = options;
  return {
    address: bind,
    sendPort: swapPorts ? receivePort : sendPort,
    receivePort: swapPorts ? sendPort : receivePort,
    maxConnections: options.maxConnections,
    maxPerAddress: options.maxPerAddress,
    maxUploads,
    maxUploadsInAll: maxUploads * UPLOADS_IN_ALL,
    maxNames: options.maxFiles,
    maxChunkBytes: options.maxChunk,
    maxFileBytes: options.maxFile,
    chunkBytes: options.chunkSize,
    leaseMs: options.leaseMs,
    answerTimeoutMs: options.answerTimeoutMs,
    keepAliveMs: options.keepAliveMs,
    workers: options.workers,
    versions: versionLimits(options),
    acceptsMissing: options.acceptMissing,
  };
}

function sideLine(
  bound: { address: string; port: number },
  channel: "send" | "receive",
  json: boolean,
): string {
  const { address, port } = bound;
  if (json) return `${JSON.stringify({ type: "listening", channel, address, port })}\n`;
  const what = channel === "send" ? "Sending updates" : "Taking updates";
  return listeningLine(bound, false).replace("Listening", what);
}

function warnIfOpen({ bind, directory }: SyncServerOptions, io: CommandIo): void {
  if (isLoopback(bind)) return;
  io.log.warn(
    `listening on ${bind}: the sync protocol has neither authentication nor encryption, so everybody who can reach it can read, change and delete everything in ${directory}`,
  );
}

function* answer(hub: Hub, question: string): Generator<object, void> {
  if (question !== "status") throw new DrayError("unsupported", `a sync server cannot answer "${question}"`);
  yield* hubStatus(hub);
}

async function tellStatus({ directory, json }: SyncServerOptions, io: CommandIo): Promise<number> {
  const lines = await askControl(directory, { type: "status" }, STATUS_TIMEOUT_MS);
  if (lines === undefined) throw new DrayError("unreachable", `no sync server runs on ${directory}`);
  for (const line of json ? [] : syncServerStatusText(lines)) await io.out.line(line);
  for (const line of json ? lines : []) await io.out.event({ ...line, type: String(line["type"]) });
  if (json) await io.out.event({ type: "result" });
  return EXIT.ok;
}
