import { join } from "node:path";
import { CAN_SYNC_FILE_SYSTEM, syncFileSystem } from "../disk/file-system-sync.ts";
import { EXIT } from "../errors/codes.ts";
import { DrayError, systemErrorCode } from "../errors/dray-error.ts";
import { fetchFile } from "../fetch/fetch-file.ts";
import { FinalError } from "../fetch/fetch-setting.ts";
import { fetchTree } from "../fetch/fetch-tree.ts";
import { OrderedOutput } from "../fetch/ordered-output.ts";
import { type Persistence, Remote, type RemoteSettings } from "../fetch/remote.ts";
import { streamFile } from "../fetch/stream-file.ts";
import type { FetchOptions } from "../options/fetch-options.ts";
import type { TreeResult } from "../report/fetch-events.ts";
import { FetchPlace, settingFor } from "./fetch-place.ts";
import type { FetchView } from "./fetch-view.ts";

/** Connections for a directory: enough for a large file not to hold up the small ones. */
const TREE_CONNECTIONS = 4;
/** A few files are synced one by one: the whole file system may hold much that is not ours. */
const MAX_SYNCED_EACH = 64;
/** Failures that the result lists; each is an event of its own, too. */
const MAX_LISTED_FAILURES = 1_000;

export interface GivenTask {
  options: FetchOptions;
  /** The components of the path at the server. */
  wanted: readonly string[];
  settings: RemoteSettings;
  view: FetchView;
}

export async function fetchOneFile({ options, wanted, settings, view }: GivenTask): Promise<number> {
  const name = wanted.at(-1);
  if (name === undefined) throw new DrayError("refused", "it is a directory");
  const directory = options.directory!;
  const remote = new Remote(settings);
  using place = new FetchPlace(directory);
  const file = { path: wanted.join("/"), components: [name], expected: options.expect };
  const setting = settingFor(place, options, view, { withSums: options.sum ?? true, syncEach: true });
  const persistence = persistenceOf(options, settings);
  const fetched = await fetchFile(remote, file, setting, persistence, (part) => view.kept(directory, part));
  remote.drop(done());
  const { outcome, sizeBytes, sha256, backup } = fetched;
  const { transferredBytes: bytesTransferred, resumedBytes: bytesResumed } = view.counters;
  view.event({
    type: "result",
    file: file.path,
    path: join(directory, name),
    outcome,
    sizeBytes,
    bytesTransferred,
    bytesResumed,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(backup === undefined ? {} : { backup: join(directory, backup) }),
    durationMs: view.durationMs,
  });
  return EXIT.ok;
}

export async function fetchToStdout({ options, wanted, settings, view }: GivenTask): Promise<number> {
  const remote = new Remote(settings);
  const path = wanted.join("/");
  if (path === "") throw new DrayError("refused", "it is a directory");
  // Every failure also reaches the callback of its write; without a listener it would end the process.
  process.stdout.on("error", () => {});
  const output = new OrderedOutput(writeToStdout);
  const sums = { expected: options.expect, withSum: options.sum ?? false };
  const persistence = persistenceOf(options, settings);
  const streamed = await streamFile(remote, path, sums, output, view.counters, persistence, (sizeBytes) => {
    view.total.files = 1;
    view.total.bytes = sizeBytes;
  });
  remote.drop(done());
  const { sizeBytes, sha256 } = streamed;
  view.event({
    type: "result",
    file: path,
    path: "-",
    outcome: "fetched",
    sizeBytes,
    bytesTransferred: view.counters.transferredBytes,
    bytesResumed: 0,
    ...(sha256 === undefined ? {} : { sha256 }),
    durationMs: view.durationMs,
  });
  return EXIT.ok;
}

export async function fetchWholeTree({ options, wanted, settings, view }: GivenTask): Promise<number> {
  const directory = options.directory!;
  const main = new Remote(settings);
  const others = Array.from({ length: TREE_CONNECTIONS - 1 }, () => new Remote(settings, main));
  using place = new FetchPlace(directory);
  const setting = settingFor(place, options, view, { withSums: options.sum ?? false, syncEach: true });
  const result: TreeResult = {
    type: "result",
    file: options.file,
    path: wanted.length === 0 ? directory : join(directory, wanted.at(-1)!),
    ...{ files: 0, directories: 0, bytes: 0, bytesTransferred: 0, bytesResumed: 0 },
    ...{ unchanged: 0, skipped: 0, failed: 0, failures: [], durationMs: 0 },
  };
  const exitCodes = new Set<number>();
  try {
    await fetchTree([main, ...others], wanted, setting, persistenceOf(options, settings), {
      listed: (total) => {
        Object.assign(view.total, total);
        setting.syncEach = total.files <= MAX_SYNCED_EACH || !CAN_SYNC_FILE_SYSTEM;
      },
      file: (file, components, { outcome, sizeBytes, sha256, backup }) => {
        view.filesDone++;
        result.files++;
        result.bytes += sizeBytes;
        if (outcome === "unchanged") {
          result.unchanged++;
          view.counters.doneBytes += sizeBytes;
        }
        view.event({
          type: "file",
          file,
          path: join(directory, ...components),
          outcome,
          sizeBytes,
          ...(sha256 === undefined ? {} : { sha256 }),
          ...(backup === undefined ? {} : { backup: join(directory, ...components.slice(0, -1), backup) }),
        });
      },
      failed: (file, { code, message, exitCode }) => {
        result.failed++;
        exitCodes.add(exitCode);
        if (result.failures.length < MAX_LISTED_FAILURES) result.failures.push({ file, code, message });
        view.event({ type: "failure", file, code, message });
      },
      skipped: (file, reason) => {
        result.skipped++;
        view.event({ type: "skipped", file, reason });
      },
      directory: () => result.directories++,
      room: () => view.room(),
    });
  } catch (error) {
    const count = result.files - result.unchanged;
    if (count > 0) view.keptText = `; ${count} files were fetched, and the same command goes on from there`;
    throw error;
  } finally {
    for (const remote of [main, ...others]) remote.drop(done());
    if (!setting.syncEach && result.files > result.unchanged) await syncFileSystem(directory);
  }
  result.bytesTransferred = view.counters.transferredBytes;
  result.bytesResumed = view.counters.resumedBytes;
  result.durationMs = view.durationMs;
  view.event(result);
  if (result.failed === 0) return EXIT.ok;
  const [only, ...more] = exitCodes;
  return result.files === 0 && more.length === 0 ? only! : EXIT.partial;
}

function persistenceOf({ attempts }: FetchOptions, settings: RemoteSettings): Persistence {
  return { attempts, signal: settings.signal, retrying: (error, retry) => settings.retrying(error, retry) };
}

function writeToStdout(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error === null || error === undefined) return resolve();
      const isGone = systemErrorCode(error) === "EPIPE";
      const why = isGone ? "its reader went away" : error.message;
      reject(new FinalError("storage", `cannot write to standard output: ${why}`, { cause: error }));
    });
  });
}

function done(): DrayError {
  return new DrayError("interrupted", "done");
}
