import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { isTempName } from "../disk/publication.ts";
import type { Backoff } from "../net/backoff.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import type { ListEntry } from "../wire/entries.ts";
import { CAPABILITY } from "../wire/messages.ts";
import { isWithin, parseListedName, parsePath } from "../wire/names.ts";
import type { OrderSource } from "../wire/order.ts";
import type { JobItem } from "./job.ts";

export interface ListSink {
  connected(): void;
  /** Resolves when there is room for more. */
  items(items: JobItem[]): Promise<void>;
  failed(path: string, code: ErrorCode, message: string): void;
  skipped(path: string, reason: string): void;
}

const DIAL_BACKOFF: Backoff = { attempts: 3, firstDelayMs: 250, maxDelayMs: 2_000 };
/** Batches of a list that may be under way: enough to hide the round trip. */
const LIST_CREDIT = 4;

/**
 * A source's manager (seed 000, "Mirror threads"): asks for the list of everything at and below the
 * source's path and puts what is to be mirrored into the queue.
 *
 * @param signal ends the listing early
 * @throws DrayError when there is no complete list
 */
export async function listSource(
  source: OrderSource,
  settings: ClientSettings,
  sink: ListSink,
  signal: AbortSignal,
): Promise<void> {
  const wanted = parsePath(source.path);
  const client = await Client.connectWithRetry(source, settings, DIAL_BACKOFF);
  const stop = (): void => client.close(asDrayError(signal.reason));
  signal.addEventListener("abort", stop);
  try {
    signal.throwIfAborted();
    client.require(CAPABILITY.content, "files");
    sink.connected();
    const path = wanted.length === 0 ? "." : wanted.join("/");
    await client.list(path, LIST_CREDIT, (entries) => {
      refuseUnlessMirrorable(entries[0], path);
      return sink.items(sift(entries, wanted, sink));
    });
  } finally {
    signal.removeEventListener("abort", stop);
    client.close();
  }
}

/** What is skipped inside a directory cannot be skipped when it is all that was asked for. */
function refuseUnlessMirrorable(first: ListEntry | undefined, path: string): void {
  if (first?.path !== path) return;
  if (first.kind === "symlink") throw new DrayError("refused", "it is a symbolic link");
  if (first.kind === "unfinished")
    throw new DrayError("refused", "its name is reserved for unfinished files");
  if (first.kind === "special") throw new DrayError("refused", "it is neither a file nor a directory");
}

/** The entries that are to be mirrored; the others are told to the sink. */
function sift(entries: readonly ListEntry[], wanted: readonly string[], sink: ListSink): JobItem[] {
  const items: JobItem[] = [];
  for (const entry of entries) {
    const { kind, path } = entry;
    if (kind === "symlink") sink.skipped(path, "a symbolic link");
    else if (kind === "special") sink.skipped(path, "neither a file nor a directory");
    else if (kind === "unfinished") sink.skipped(path, "its name is reserved for unfinished files");
    else if (kind === "unreadable") sink.failed(path, "refused", "the source may not read it");
    else if (kind === "unnameable")
      sink.failed(path, "name", "its name cannot be carried: not UTF-8, or too long");
    else {
      const problem = problemOf(entry, wanted);
      if (problem !== undefined) sink.failed(path, problem.code, problem.message);
      else items.push({ kind, path, sizeBytes: entry.size, mtimeUs: entry.mtimeUs, mode: entry.mode });
    }
  }
  return items;
}

/** Why a listed name is not to be used: a source may be hostile. */
function problemOf({ kind, path }: ListEntry, wanted: readonly string[]): DrayError | undefined {
  try {
    const components = parseListedName(path);
    if (!isWithin(components, wanted))
      return new DrayError("name", "the source listed it without being asked for it");
    if (kind === "file" && isTempName(components.at(-1)!))
      return new DrayError("name", "the name is reserved for unfinished files");
    return undefined;
  } catch (error) {
    return asDrayError(error);
  }
}
