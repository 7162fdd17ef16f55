import { ContainedRoot } from "../disk/contained-root.ts";
import { Trash, trashLabel } from "../disk/trash.ts";
import { withContext } from "../errors/dray-error.ts";
import { parsePath } from "../wire/names.ts";
import type { Feed } from "./feed.ts";
import type { FullDisk } from "./full-disk.ts";
import type { Journal } from "./journal.ts";
import { NameFilter } from "./name-filter.ts";
import { runPrune } from "./prune-run.ts";

/** File times and the clock may differ by a few ticks of the kernel's coarse clock. */
const CLOCK_SLACK_MS = 20;
/** Items that are checked before other work gets its turn. */
const CHECKED_ITEMS = 2_048;

/** Only a complete list without a single trouble says what the source does not have. */
export function mayPrune({ run }: Feed): boolean {
  return run.isListComplete && run.error === undefined && run.failed === 0;
}

/** Whether all that is left to do has something in its way that is to be deleted. */
export function isHeldUp(feed: Feed): boolean {
  const { obstructed, again } = feed.run;
  return obstructed > 0 && obstructed === again && mayPrune(feed);
}

export interface PruningTools {
  journal: Journal;
  disk: FullDisk;
  mirrorDirectory: string;
  isStopped(): boolean;
}

/**
 * Moves what the feed's source does not have any more into the trash, or counts it in a dry run. What
 * goes wrong is told by the feed's run.
 * @returns false when the journal is damaged: then nobody knows what the source has
 */
export async function pruneFeed(feed: Feed, tools: PruningTools): Promise<boolean> {
  const { journal, disk, mirrorDirectory } = tools;
  const { run, order, orderId, position, sourceDirectory, request } = feed;
  const isOver = (): boolean => feed.isEnded || tools.isStopped();
  if (!(await isIntact(feed, journal, isOver))) return false;
  const root = new ContainedRoot(mirrorDirectory);
  const trash = feed.mode.dryRun
    ? undefined
    : new Trash(mirrorDirectory, trashLabel(order.startedMs, orderId));
  const filter = new NameFilter(request);
  const listed = run.filesListed + run.linksListed;
  try {
    run.guard = await runPrune({
      scope: {
        root,
        sourceDirectory,
        within: parsePath(run.source.path),
        changedBeforeMs: feed.hadCompany ? feed.listedAtMs - CLOCK_SLACK_MS : Number.POSITIVE_INFINITY,
        isKept: (path, kind) =>
          !filter.takes(path) || journal.isListed(orderId, position, path, kind === "directory"),
      },
      limits: request.delete!,
      counts: { kept: listed - run.newcomers - run.obstructed, listed },
      trash,
      isOver,
      gone: (items) => {
        for (const { path } of items) order.deleted(run, path);
        const gone = trash === undefined ? [] : items.map(({ path }) => ({ path, version: undefined }));
        disk.write(() => {
          journal.addItems(orderId, position, items, true);
          journal.settle(orderId, [], 0, sourceDirectory, gone);
        });
      },
      failed: (path, error) => {
        run.failed++;
        order.tellFailure(run, path, error.code, `it cannot be deleted: ${error.message}`);
      },
    });
  } catch (error) {
    run.error ??= withContext("cannot delete what the source does not have any more", error);
  } finally {
    trash?.close();
    root.close();
  }
  return true;
}

/** Reads the whole list again: a name that damage has changed would make a file look deleted at the source. */
async function isIntact(feed: Feed, journal: Journal, isOver: () => boolean): Promise<boolean> {
  let lastId: number | undefined = 0;
  while (lastId !== undefined && !isOver()) {
    try {
      lastId = journal.checkItems(feed.orderId, feed.position, lastId, CHECKED_ITEMS);
    } catch {
      return false; // whatever is wrong with it: the list is made anew
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return true;
}
