import { restNeededMs } from "../disk/file-rest.ts";
import { type FileFacts, isSameVersion } from "../disk/file-facts.ts";
import type { DigestKind } from "../wire/digest.ts";

/** Those of 128 GiB, in pieces of 256 KiB with XXH3-64. */
const MAX_BYTES = 4 * 1024 * 1024;
/** One file's share at most: a file in tiny pieces does not put out all others. */
const MAX_ENTRY_BYTES = MAX_BYTES / 4;
/** What an entry costs beside its digests, about. */
const ENTRY_OVERHEAD_BYTES = 512;

/** Which sums of a file. */
export interface SumsOf {
  path: string;
  pieceBytes: number;
  digest: DigestKind;
}

interface Entry {
  facts: FileFacts;
  digests: Uint8Array;
  costBytes: number;
}

/**
 * Sums of files as they were when they were last read, for those who ask what a file ought to be and compare what
 * they get with it. Who asks whether the bytes are still right on the disk must not be answered from here.
 *
 * Bounded in bytes; who was asked for longest ago goes first.
 */
export class SumsMemory {
  readonly #maxBytes: number;
  /** The one that was used last is the last one. */
  readonly #entries = new Map<string, Entry>();
  #usedBytes = 0;

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** @returns the digests of all pieces, one behind the other, if this very version of the file is known */
  recall(of: SumsOf, facts: FileFacts): Uint8Array | undefined {
    const key = keyOf(of);
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#forget(key, entry);
    if (!isSameVersion(entry.facts, facts)) return undefined;
    this.#keep(key, entry);
    return entry.digests;
  }

  /** Whether sums of so many bytes would be kept. */
  hasRoomFor(digestsBytes: number): boolean {
    return digestsBytes + ENTRY_OVERHEAD_BYTES <= Math.min(MAX_ENTRY_BYTES, this.#maxBytes);
  }

  /**
   * Keeps the sums of a file that has not changed since `facts` were taken, and was read after that.
   * @param startedMs wall clock when reading it began: if it had been written just before that, its times could not
   *   tell whether it was written again meanwhile, and nothing is kept
   */
  remember(of: SumsOf, facts: FileFacts, digests: Uint8Array, startedMs: number): void {
    if (!this.hasRoomFor(digests.length) || restNeededMs(facts, startedMs) > 0) return;
    const key = keyOf(of);
    const known = this.#entries.get(key);
    if (known !== undefined) this.#forget(key, known);
    this.#keep(key, { facts, digests, costBytes: digests.length + ENTRY_OVERHEAD_BYTES + 2 * key.length });
    for (const [oldest, entry] of this.#entries) {
      if (this.#usedBytes <= this.#maxBytes) break;
      this.#forget(oldest, entry);
    }
  }

  #keep(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#usedBytes += entry.costBytes;
  }

  #forget(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#usedBytes -= entry.costBytes;
  }
}

function keyOf({ path, pieceBytes, digest }: SumsOf): string {
  return `${digest} ${pieceBytes} ${path}`;
}
