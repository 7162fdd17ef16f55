import { SYNC_STATUS } from "../../wire/sync-messages.ts";

/** What becomes of a chunk that was checked. */
export type ChunkVerdict =
  | { readonly keep: true; readonly reply: number }
  /** The file goes back to `cutToBytes`; undefined: all of it is dropped. */
  | { readonly keep: false; readonly reply: number; readonly cutToBytes: number | undefined };

/** A chunk on its way in. */
export interface ChunkPlace {
  readonly offsetBytes: number;
  readonly epoch: number;
}

const MAX_STRIKES = 3;

/**
 * Where the chunks of one file go that is being received, pure. Chunks are checked off this thread, so others may have been
 * written behind one that turns out bad: those are void then, whatever they hold.
 */
export class ReceivedFile {
  #sizeBytes = 0;
  #epoch = 0;
  #strikes = 0;
  #sizeStrikes = 0;

  /** Bytes so far, those that are not checked yet included. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  begin(): ChunkPlace {
    return { offsetBytes: this.#sizeBytes, epoch: this.#epoch };
  }

  /** Whether bytes of this chunk are still wanted: nothing before it turned out bad. */
  isWanted(place: ChunkPlace): boolean {
    return place.epoch === this.#epoch;
  }

  appended(bytes: number): void {
    this.#sizeBytes += bytes;
  }

  /** To be told in the order of the chunks. A chunk of nothing makes sense only where a file begins. */
  checked(place: ChunkPlace, lengthBytes: number, isGood: boolean): ChunkVerdict {
    if (!this.isWanted(place)) {
      return { keep: false, reply: SYNC_STATUS.badChecksum, cutToBytes: this.#sizeBytes };
    }
    const isEmpty = place.offsetBytes > 0 && lengthBytes === 0;
    if (isGood && !isEmpty) {
      this.#strikes = this.#sizeStrikes = 0;
      return { keep: true, reply: SYNC_STATUS.ok };
    }
    const strikes = isEmpty ? ++this.#sizeStrikes : ++this.#strikes;
    this.#epoch++;
    this.#sizeBytes = place.offsetBytes;
    if (strikes < MAX_STRIKES) {
      const reply = isEmpty ? SYNC_STATUS.badSize : SYNC_STATUS.badChecksum;
      return { keep: false, reply, cutToBytes: place.offsetBytes };
    }
    this.#sizeBytes = this.#strikes = this.#sizeStrikes = 0;
    const reply = isEmpty ? SYNC_STATUS.sizeAbort : SYNC_STATUS.checksumAbort;
    return { keep: false, reply, cutToBytes: undefined };
  }
}
