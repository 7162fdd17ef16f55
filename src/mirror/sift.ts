import type { Feed } from "./feed.ts";
import { ITEM_STATE } from "./journal-schema.ts";
import type { ListedItem } from "./journal.ts";
import { type Listed, listedOf } from "./standing.ts";

/** Looks which of these stand in the mirror (see `standing`), where no work of ours waits for the disk. */
export type LookAtListed = (listed: Listed) => Promise<Uint8Array | undefined>;

/**
 * Takes what is in the mirror already out of a source's list as it comes, so that a list in which nothing
 * has changed costs neither rows of the journal nor turns of the lanes. It only ever takes out what the
 * lanes would find unchanged; everything else, and all trouble, is left to them.
 */
export class Sift {
  readonly #feed: Feed;
  readonly #look: LookAtListed;
  /** Where contents are compared, metadata settle nothing; and where nothing is yet, nothing stands. */
  #isOfUse: boolean;
  /** Ends when all batches that came so far are listed. */
  #listed: Promise<void> = Promise.resolve();

  constructor(feed: Feed, look: LookAtListed) {
    this.#feed = feed;
    this.#look = look;
    this.#isOfUse = !feed.mode.checksum && !feed.mode.verify;
  }

  /**
   * Takes a batch. It is looked at while the one before is still being listed, and is listed behind it.
   * @param listed given what the journal needs: what does not stand, or all for an order that looks things up there
   * @returns when the batch before this one is listed
   */
  async take(items: ListedItem[], listed: (left: ListedItem[]) => Promise<void>): Promise<void> {
    const before = this.#listed;
    const left = this.#leave(items);
    this.#listed = before.then(async () => listed(await left));
    this.#listed.catch(() => {}); // whoever waits for it is told
    await before;
  }

  /** Resolves when all that was taken is listed. @throws what `listed` threw */
  async end(): Promise<void> {
    await this.#listed;
  }

  async #leave(items: ListedItem[]): Promise<ListedItem[]> {
    if (!this.#isOfUse) return items;
    const { sourceDirectory } = this.#feed;
    const stands = await this.#look(listedOf(sourceDirectory, items.filter(mayStand)));
    if (stands === undefined) {
      this.#isOfUse = false;
      this.#feed.isNew = true;
      return items;
    }
    if (this.#feed.isEnded) return items;
    const left: ListedItem[] = [];
    let index = 0;
    for (const item of items) {
      if (!mayStand(item) || stands[index++] === 0) left.push(item);
      else if (this.#feed.keepsItems) left.push({ ...item, state: settledState(item) });
      else this.#feed.run.stands(item.kind, item.sizeBytes, false);
    }
    return left;
  }
}

/** Links are few, and have to be read. */
function mayStand(item: ListedItem): item is ListedItem & { kind: "file" | "directory" } {
  return item.state === ITEM_STATE.waiting && item.kind !== "symlink";
}

function settledState({ kind }: ListedItem): ListedItem["state"] {
  return kind === "directory" ? ITEM_STATE.done : ITEM_STATE.unchanged;
}
