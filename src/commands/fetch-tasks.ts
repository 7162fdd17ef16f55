import { join } from "node:path";
import { CAN_SYNC_FILE_SYSTEM, syncFileSystem } from "../disk/file-system-sync.ts";
import { EXIT } from "../errors/codes.ts";
import { DrayError, asDrayError, systemErrorCode } from "../errors/dray-error.ts";
import { FinalError } from "../fetch/fetch-setting.ts";
import { fetchTree } from "../fetch/fetch-tree.ts";
import { OrderedOutput } from "../fetch/ordered-output.ts";
import { Remote } from "../fetch/remote.ts";
import { fetchManifest } from "../fetch/replica-inquiry.ts";
import { streamFile } from "../fetch/stream-file.ts";
import type { TreeResult } from "../report/fetch-events.ts";
import {
  type GivenTask,
  done,
  fetchFrom,
  fetchedFile,
  fileSetting,
  persistenceOf,
  wantedFile,
} from "./fetch-given.ts";
import { FetchPlace, settingFor } from "./fetch-place.ts";
import { fetchReplicated } from "./fetch-replicas.ts";

/** Connections for a directory: enough for a large file not to hold up the small ones. */
const TREE_CONNECTIONS = 4;
/** A few files are synced one by one: the whole file system may hold much that is not ours. */
const MAX_SYNCED_EACH = 64;
/** Failures that the result lists; each is an event of its own, too. */
const MAX_LISTED_FAILURES = 1_000;

export async function fetchOneFile(given: GivenTask): Promise<number> {
  const { options, settings } = given;
  const directory = options.directory!;
  using place = new FetchPlace(directory);
  const file = wantedFile(given);
  const setting = fileSetting(place, given);
  try {
    const fetched = await fetchFrom(given, file, setting);
    fetchedFile(given, file, fetched);
  } catch (error) {
    // A file that is split into parts has no name of its own there.
    if (asDrayError(error).code !== "not-found") throw error;
    await fetchReplicated(given, [settings.target], file, setting).catch((why: unknown) => {
      throw asDrayError(why).code === "not-found" ? error : why;
    });
  }
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
  }).catch(async (error: unknown) => {
    if (asDrayError(error).code !== "not-found" || !(await isSplit(remote, path))) throw error;
    const why = "it is split into parts, which come in any order: fetch it into a directory";
    throw new DrayError("unsupported", why, { cause: error });
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

async function isSplit(remote: Remote, path: string): Promise<boolean> {
  try {
    await fetchManifest(await remote.client(), path);
    return true;
  } catch {
    return false; // then the first error is all that there is to say
  }
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
