import { SYNC_STATUS } from "../../wire/sync-messages.ts";

const MAX_STRIKES = 3;

/** What a chunk is answered, and whether that ends the upload. */
export interface ChunkAnswer {
  readonly code: number;
  readonly isEnd: boolean;
}

/** Counts what goes wrong in a row with the chunks of one upload (decision 4). Pure. */
export class Strikes {
  #checksums = 0;
  #sizes = 0;

  good(): ChunkAnswer {
    this.#checksums = this.#sizes = 0;
    return { code: SYNC_STATUS.ok, isEnd: false };
  }

  badChecksum(): ChunkAnswer {
    return ++this.#checksums < MAX_STRIKES
      ? { code: SYNC_STATUS.badChecksum, isEnd: false }
      : { code: SYNC_STATUS.checksumAbort, isEnd: true };
  }

  badSize(): ChunkAnswer {
    return ++this.#sizes < MAX_STRIKES
      ? { code: SYNC_STATUS.badSize, isEnd: false }
      : { code: SYNC_STATUS.sizeAbort, isEnd: true };
  }
}
