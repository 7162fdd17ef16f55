import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { hostname } from "node:os";
import * as path from "node:path";
import { EXIT } from "../errors/codes.ts";
import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { syncClientTable, type SyncClientOptions } from "../options/sync-client-options.ts";
import { versionLimits } from "../options/version-options.ts";
import { syncClientStatusText } from "../report/sync-client-status.ts";
import { syncClientVersionLines } from "../report/sync-client-versions.ts";
import { countOf } from "../report/units.ts";
import { AGENT_DEFAULTS, type AgentSettings } from "../sync/client/agent-settings.ts";
import { Agent } from "../sync/client/agent.ts";
import { answerControl } from "../sync/client/control-answers.ts";
import { historyOf, restoreVersion, restStatus } from "../sync/client/at-rest.ts";
import { askControl, serveControl } from "../sync/real-control.ts";
import { realClock } from "../sync/real-clock.ts";
import { openRealPorts } from "../sync/real-ports.ts";
import { RealTree } from "../sync/real-tree.ts";
import { STATE_FOLDER } from "../sync/state-folder.ts";
import { openStore, type Store } from "../sync/store.ts";
import { THREAD_URL } from "../thread-url.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { onShutdown } from "./shutdown.ts";
import { SyncClientView } from "./sync-client-view.ts";

export const syncClientCommand = defineDrayCommand({ table: syncClientTable, run: runSyncClient });

const CONTROL_TIMEOUT_MS = 10_000;
const PLATFORM = { isWindows: process.platform === "win32" };

function runSyncClient(options: SyncClientOptions, io: CommandIo): Promise<number> {
  if (options.status) return tellStatus(options, io);
  if (options.history !== undefined) return tellHistory(options.history, options, io);
  if (options.restore !== undefined) return restore(options.restore, options, io);
  if (options.approve) return command("approve", options, io);
  if (options.bringBack) return command("bring-back", options, io);
  return sync(options, io);
}

async function sync(options: SyncClientOptions, io: CommandIo): Promise<number> {
  const { folder, threads, json, graceMs } = options;
  makeFolder(folder);
  const setAside = (why: string, keptAs: string): void =>
    io.log.warn(
      `What was known of this folder was damaged (${why}); it is kept as ${keptAs}, and everything is compared anew`,
    );
  const view = new SyncClientView(io, json);
  const ports = guarded(folder, () =>
    openRealPorts({ rootPath: folder, threadUrl: THREAD_URL, threads }, setAside),
  );
  try {
    const agent = guarded(
      folder,
      () => new Agent(ports, agentSettings(options), (event) => view.event(event)),
    );
    const control = serveControl(folder, (request) => answerControl(agent, request));
    const ended = onShutdown(graceMs, () => agent.stop());
    view.follow();
    await agent.start();
    const exitCode = await ended;
    control.close();
    if (json) await io.out.event({ type: "result" });
    return exitCode;
  } catch (error) {
    throw withContext(`Cannot sync ${folder}`, error);
  } finally {
    view.close();
    ports.close();
  }
}

function agentSettings(options: SyncClientOptions): AgentSettings {
  const { host = "", sendPort = 0, receivePort = 0, swapPorts } = options;
  return {
    ...AGENT_DEFAULTS,
    host,
    sendPort: swapPorts ? receivePort : sendPort,
    receivePort: swapPorts ? sendPort : receivePort,
    chunkBytes: options.chunkSize,
    windowBytes: Math.max(AGENT_DEFAULTS.windowBytes, 2 * options.chunkSize),
    hostName: hostname(),
    platform: PLATFORM,
    settle: { ...AGENT_DEFAULTS.settle, firstMs: options.settleMs, deleteGraceMs: options.deleteGraceMs },
    guard: { ...AGENT_DEFAULTS.guard, maxFiles: options.maxDeletes },
    versions: versionLimits(options),
    resurrects: options.offlineDeletes === "resurrect",
    lockedRetryMs: options.retryLockedMs,
    rescanMs: options.rescanMs,
    dialTimeoutMs: options.timeoutMs,
  };
}

function guarded<T>(folder: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw withContext(`Cannot sync ${folder}`, error);
  }
}

function makeFolder(folder: string): void {
  try {
    fs.mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw withContext(`Cannot make the folder ${folder}`, asDrayError(error));
  }
}

async function tellStatus(options: SyncClientOptions, io: CommandIo): Promise<number> {
  const { folder, json } = options;
  const lines = (await askControl(folder, { type: "status" }, CONTROL_TIMEOUT_MS)) ?? statusAtRest(options);
  for (const line of json ? [] : syncClientStatusText(lines)) await io.out.line(line);
  for (const line of json ? lines : []) await io.out.event({ ...line, type: String(line["type"]) });
  if (json) await io.out.event({ type: "result" });
  return EXIT.ok;
}

function statusAtRest({ folder }: SyncClientOptions): Record<string, unknown>[] {
  if (!fs.existsSync(path.join(folder, STATE_FOLDER))) {
    throw new DrayError("not-found", `${folder} was never synced`);
  }
  const ports = openRealPorts({ rootPath: folder, threadUrl: THREAD_URL, threads: 1 }, () => {});
  try {
    const files = [...restStatus(ports)].map((file) => ({ type: "file", ...file }));
    return [{ type: "client", state: "stopped" }, ...files];
  } finally {
    ports.close();
  }
}

async function tellHistory(name: string, options: SyncClientOptions, io: CommandIo): Promise<number> {
  const { json } = options;
  const versions = await withStore(options, async ({ store }) => historyOf(store, name, PLATFORM));
  if (versions.length === 0) throw new DrayError("not-found", `no earlier content of ${name} is kept`);
  for (const line of json ? [] : syncClientVersionLines(versions)) await io.out.line(line);
  for (const { id, atMs, reason, sizeBytes, md5 } of json ? versions : []) {
    await io.out.event({ type: "version", id, atMs, reason, sizeBytes, md5 });
  }
  if (json) await io.out.event({ type: "result", versions: versions.length });
  return EXIT.ok;
}

async function restore(what: string, options: SyncClientOptions, io: CommandIo): Promise<number> {
  const { name, versionId } = splitVersion(what);
  const { id, sizeBytes } = await withStore(options, (ports) =>
    restoreVersion(ports, name, versionId, PLATFORM),
  );
  if (options.json) await io.out.event({ type: "result", name, version: id, sizeBytes });
  else await io.out.line(`${name} is as it was in version ${id}`);
  return EXIT.ok;
}

/** `plan.txt@2026…`: what stands behind the last @ is a version if it looks like one. */
function splitVersion(what: string): { name: string; versionId: string | undefined } {
  const match = /^(.+)@(\d{4}[\dTZ.-]*)$/s.exec(what);
  return match === null ? { name: what, versionId: undefined } : { name: match[1]!, versionId: match[2] };
}

/** The folder's versions; a client that runs on it is not disturbed. */
async function withStore<T>(
  options: SyncClientOptions,
  work: (ports: { tree: RealTree; store: Store }) => Promise<T>,
): Promise<T> {
  const { folder } = options;
  if (!fs.existsSync(path.join(folder, STATE_FOLDER))) {
    throw new DrayError("not-found", `${folder} was never synced`);
  }
  const tree = new RealTree(path.resolve(folder));
  try {
    const random = { bytes: (count: number) => new Uint8Array(randomBytes(count)) };
    return await work({ tree, store: openStore({ tree, clock: realClock, random }, versionLimits(options)) });
  } finally {
    tree.close();
  }
}

async function command(type: string, { folder, json }: SyncClientOptions, io: CommandIo): Promise<number> {
  const answer = await askControl(folder, { type }, CONTROL_TIMEOUT_MS);
  if (answer === undefined) throw new DrayError("unreachable", `no sync client runs on ${folder}`);
  const files = Number(answer[0]?.["files"] ?? 0);
  if (json) {
    await io.out.event({ type: "result", files });
  } else {
    const what = type === "approve" ? "are deleted on the other side" : "are fetched again";
    await io.out.line(files === 0 ? "Nothing is held back" : `${countOf(files, "file")} ${what}`);
  }
  return EXIT.ok;
}
