import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { isTempName } from "../disk/publication.ts";
import type { Backoff } from "../net/backoff.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import type { ListEntry } from "../wire/entries.ts";
import { CAPABILITY } from "../wire/messages.ts";
import { isWithin, parseListedName, parsePath } from "../wire/names.ts";
import type { OrderSource } from "../wire/order.ts";
import { ITEM_STATE, type ItemState } from "./journal-schema.ts";
import type { ListedItem } from "./journal.ts";
import { staysInside } from "./mirrored-link.ts";
import type { NameFilter } from "./name-filter.ts";

export interface ListSink {
  connected(): void;
  /** A batch of what is to be mirrored, and of what cannot or is not to be. */
  items(items: ListedItem[]): Promise<void>;
}

const DIAL_BACKOFF: Backoff = { attempts: 3, firstDelayMs: 250, maxDelayMs: 2_000 };
/** Batches of a list that may be under way: enough to hide the round trip. */
const LIST_CREDIT = 4;

/**
 * A source's manager (seed 000, "Mirror threads"): asks for the list of everything at and below the
 * source's path and tells what is to be mirrored.
 *
 * @param copiesLinks whether symbolic links are mirrored as links
 * @param signal ends the listing early
 * @throws DrayError when there is no complete list
 */
export async function listSource(
  source: OrderSource,
  filter: NameFilter,
  copiesLinks: boolean,
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
      refuseUnlessMirrorable(entries[0], path, copiesLinks);
      const taken = entries.filter((entry) => filter.takes(entry.path));
      return sink.items(sift(taken, wanted, copiesLinks));
    });
  } finally {
    signal.removeEventListener("abort", stop);
    client.close();
  }
}

/** What is skipped inside a directory cannot be skipped when it is all that was asked for. */
function refuseUnlessMirrorable(first: ListEntry | undefined, path: string, copiesLinks: boolean): void {
  if (first?.path !== path) return;
  if (first.kind === "symlink" && !copiesLinks) throw new DrayError("refused", "it is a symbolic link");
  if (first.kind === "unfinished")
    throw new DrayError("refused", "its name is reserved for unfinished files");
  if (first.kind === "special") throw new DrayError("refused", "it is neither a file nor a directory");
}

/** What becomes of each entry: most are to be fetched, some are settled before they begin. */
function sift(entries: readonly ListEntry[], wanted: readonly string[], copiesLinks: boolean): ListedItem[] {
  return entries.map((entry) => {
    switch (entry.kind) {
      case "symlink":
        if (!copiesLinks) return settled(entry, ITEM_STATE.skipped, "refused", "a symbolic link");
        return linkItem(entry, wanted);
      case "special":
        return settled(entry, ITEM_STATE.skipped, "refused", "neither a file nor a directory");
      case "unfinished":
        return settled(entry, ITEM_STATE.skipped, "refused", "its name is reserved for unfinished files");
      case "unreadable":
        return settled(entry, ITEM_STATE.refused, "refused", "the source may not read it");
      case "unnameable":
        return settled(
          entry,
          ITEM_STATE.refused,
          "name",
          "its name cannot be carried: not UTF-8, or too long",
        );
      default: {
        const problem = problemOf(entry, wanted);
        if (problem !== undefined) return settled(entry, ITEM_STATE.refused, problem.code, problem.message);
        const { kind, path, size: sizeBytes, mtimeUs, mode } = entry;
        const state = ITEM_STATE.waiting;
        return { kind, path, sizeBytes, mtimeUs, mode, target: "", state, failure: undefined };
      }
    }
  });
}

/** A link that leads elsewhere would give whoever reads the mirror what is not in it. */
function linkItem(entry: ListEntry, wanted: readonly string[]): ListedItem {
  const problem = problemOf(entry, wanted);
  if (problem !== undefined) return settled(entry, ITEM_STATE.refused, problem.code, problem.message);
  const { path, target, mtimeUs, mode } = entry;
  if (!staysInside(path, target)) {
    return settled(entry, ITEM_STATE.skipped, "refused", "a symbolic link that leads out of the mirror");
  }
  const waiting = { state: ITEM_STATE.waiting, failure: undefined };
  return { kind: "symlink", path, sizeBytes: 0, mtimeUs, mode, target, ...waiting };
}

function settled(entry: ListEntry, state: ItemState, code: ErrorCode, message: string): ListedItem {
  return {
    kind: "file",
    path: entry.path,
    sizeBytes: 0,
    mtimeUs: 0,
    mode: 0,
    target: "",
    state,
    failure: { code, message },
  };
}

/** Why a listed name is not to be used: a source may be hostile. */
function problemOf({ kind, path }: ListEntry, wanted: readonly string[]): DrayError | undefined {
  try {
    const components = parseListedName(path);
    if (!isWithin(components, wanted))
      return new DrayError("name", "the source listed it without being asked for it");
    if (kind !== "directory" && isTempName(components.at(-1)!))
      return new DrayError("name", "the name is reserved for unfinished files");
    return undefined;
  } catch (error) {
    return asDrayError(error);
  }
}
