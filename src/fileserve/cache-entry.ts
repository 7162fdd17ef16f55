import type { FileFacts } from "../disk/file-facts.ts";
import type { DrayError } from "../errors/dray-error.ts";
import { type DigestKind, digestBytes, writeDigest } from "../wire/digest.ts";
import { CacheItem } from "./cache-policy.ts";
import type { EntryReader } from "./entry-reader.ts";
import { type EntryMemory, bufferBytes } from "./entry-memory.ts";
import { answerBytes, contentsStart, frameAnswer } from "./whole-answer.ts";

/** Files are read, and their digests kept, in pieces of this length: those that FETCH sends. */
export const CACHE_PIECE_BYTES = 256 * 1024;

/**
 * What an entry costs beside its contents, its name and its pieces, by the memory of a server under which
 * tens of thousands of small files come and go: a heap that is collected from time to time takes several
 * times what lives in it.
 */
const ENTRY_BYTES = 4096;
/** Each piece may have a digest of either kind, and a word that says what is there. */
const PIECE_OVERHEAD_BYTES = 64;

/** What a file would take of the cache, in bytes. */
export function entryCost(name: string, sizeBytes: number): number {
  const pieces = Math.ceil(sizeBytes / CACHE_PIECE_BYTES);
  return contentsCost(sizeBytes) + pieces * PIECE_OVERHEAD_BYTES + 2 * name.length + ENTRY_BYTES;
}

/** A file up to this size is small. */
const SMALL_FILE_BYTES = 64 * 1024;

function contentsCost(sizeBytes: number): number {
  if (sizeBytes <= SMALL_FILE_BYTES) return sizeBytes;
  if (sizeBytes <= CACHE_PIECE_BYTES) return bufferBytes(answerBytes(sizeBytes));
  const lastBytes = sizeBytes % CACHE_PIECE_BYTES;
  return sizeBytes - lastBytes + bufferBytes(lastBytes);
}

/**
 * Where small files are read and framed, one at a time. What is kept of them then was never looked at
 * through a view, which would double what it costs.
 */
const scratch = new Uint8Array(answerBytes(SMALL_FILE_BYTES));

const MISSING = 0;
const COMING = 1;
const THERE = 2;

/** One version of one file in memory, as far as it has been read. One buffer serves all who are sent it. */
export class CacheEntry extends CacheItem {
  readonly facts: FileFacts;
  /** How often it was found in the cache. */
  hits = 0;
  /** Why it will never be whole. */
  failure: DrayError | undefined;
  /** As long as somebody reads what is missing. */
  reader: EntryReader | undefined;
  /** The contents of one that is one piece, with the frames of the whole answer around them. */
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  /** The contents of a larger one; the last buffer may be longer than its piece. */
  #pieces: Uint8Array<ArrayBuffer>[] | undefined;
  /** Where the buffers come from, unless it is small. */
  #memory: EntryMemory | undefined;
  /** What is there; undefined once all is. */
  #states: Uint8Array | undefined;
  #missingPieces = 0;
  #digests: Partial<Record<DigestKind, (Uint8Array | undefined)[]>> | undefined;
  #waiting: Set<() => void> | undefined;

  constructor(name: string, facts: FileFacts) {
    super(name, entryCost(name, facts.sizeBytes));
    this.facts = facts;
  }

  /** Takes the memory, once the entry was admitted. */
  allocate(memory: EntryMemory): void {
    const { sizeBytes } = this.facts;
    this.#missingPieces = Math.ceil(sizeBytes / CACHE_PIECE_BYTES);
    if (!this.isSmall) {
      this.#states = new Uint8Array(this.#missingPieces);
      this.#memory = memory;
    }
    if (!this.#isOnePiece) {
      this.#pieces = Array.from({ length: this.#missingPieces }, (_, piece) =>
        memory.take(this.#pieceLength(piece)),
      );
    } else if (!this.isSmall) {
      const length = answerBytes(sizeBytes);
      this.#buffer = memory.take(length).subarray(0, length);
    } else if (sizeBytes === 0) {
      this.#keepScratch();
    }
  }

  /** Whether it is read at once, when it is needed: quicker than the way to another thread and back. */
  get isSmall(): boolean {
    return this.facts.sizeBytes <= SMALL_FILE_BYTES;
  }

  get isWhole(): boolean {
    return this.#missingPieces === 0;
  }

  /** Whether every byte of the range is there. */
  has(offset: number, length: number): boolean {
    if (this.#states === undefined) return this.isWhole;
    for (let piece = pieceAt(offset); piece * CACHE_PIECE_BYTES < offset + length; piece++) {
      if (this.#states[piece] !== THERE) return false;
    }
    return true;
  }

  /** A range of at most a piece's length, valid as long as the entry is pinned: a view, or a copy where it lies in two. */
  view(offset: number, length: number): Uint8Array {
    if (this.#pieces === undefined) {
      const start = offset + contentsStart(this.facts.sizeBytes);
      return this.#buffer!.subarray(start, start + length);
    }
    const piece = pieceAt(offset);
    const start = offset % CACHE_PIECE_BYTES;
    const part = this.#pieces[piece]!.subarray(start, start + length);
    if (part.length === length) return part;
    const both = new Uint8Array(length);
    both.set(part);
    both.set(this.#pieces[piece + 1]!.subarray(0, length - part.length), part.length);
    return both;
  }

  /** The digest of bytes that are there; computed once for a piece, again each time for any other range. */
  digest(kind: DigestKind, offset: number, length: number): Uint8Array {
    const piece = pieceAt(offset);
    const isPiece = offset % CACHE_PIECE_BYTES === 0 && length === this.#pieceLength(piece);
    const known = isPiece ? this.#digests?.[kind]?.[piece] : undefined;
    if (known !== undefined) return known;
    const digest = new Uint8Array(digestBytes(kind));
    writeDigest(kind, this.view(offset, length), digest, 0);
    if (isPiece) ((this.#digests ??= {})[kind] ??= [])[piece] = digest;
    return digest;
  }

  /** How long the answer is to those who want the whole file; undefined when it is not there, or not one piece. */
  get answerBytes(): number | undefined {
    return this.isWhole && this.#isOnePiece ? this.#buffer!.length : undefined;
  }

  /** That answer, still to be addressed (addressAnswer); valid as long as the entry is pinned. */
  get answer(): Uint8Array {
    return this.#buffer!;
  }

  /** The next missing piece in a range, which is coming from now on: where it goes, or undefined. */
  take(offset: number, length: number): { offset: number; target: Uint8Array } | undefined {
    const { sizeBytes } = this.facts;
    if (this.isWhole) return undefined;
    if (this.#states === undefined) {
      const start = contentsStart(sizeBytes);
      return { offset: 0, target: scratch.subarray(start, start + sizeBytes) };
    }
    for (let piece = pieceAt(offset); piece * CACHE_PIECE_BYTES < offset + length; piece++) {
      if (this.#states[piece] !== MISSING) continue;
      this.#states[piece] = COMING;
      const start = piece * CACHE_PIECE_BYTES;
      return { offset: start, target: this.view(start, this.#pieceLength(piece)) };
    }
    return undefined;
  }

  /** The piece that was taken at this offset is there. */
  arrived(offset: number): void {
    this.#missingPieces--;
    if (this.#states === undefined) return this.#keepScratch();
    this.#states[pieceAt(offset)] = THERE;
    if (this.isWhole) this.#states = undefined;
    if (this.isWhole && this.#isOnePiece) frameAnswer(this.#buffer!, this.facts);
    this.#wake();
  }

  fail(error: DrayError): void {
    this.failure ??= error;
    this.#wake();
  }

  /** Calls `wake` once, when something is there that was not, or never will be. */
  wait(wake: () => void): void {
    this.#waiting ??= new Set();
    this.#waiting.add(wake);
  }

  stopWaiting(wake: () => void): void {
    this.#waiting?.delete(wake);
  }

  /** Gives the memory back now: left to the garbage collector, it would exceed the bound. */
  free(): void {
    const buffer = this.#buffer;
    if (this.#memory === undefined) {
      // A smaller one lies in the heap itself, and would only be moved out of there by this.
      if (buffer !== undefined && buffer.length > 1000) buffer.buffer.transfer(0);
    } else {
      if (buffer !== undefined) this.#memory.give(new Uint8Array(buffer.buffer));
      for (const piece of this.#pieces ?? []) this.#memory.give(piece);
    }
    this.#buffer = undefined;
    this.#pieces = undefined;
  }

  /** Of a small file: what is in there now is the answer. */
  #keepScratch(): void {
    const length = answerBytes(this.facts.sizeBytes);
    frameAnswer(scratch.subarray(0, length), this.facts);
    this.#buffer = scratch.slice(0, length);
  }

  get #isOnePiece(): boolean {
    return this.facts.sizeBytes <= CACHE_PIECE_BYTES;
  }

  #pieceLength(piece: number): number {
    return Math.min(CACHE_PIECE_BYTES, this.facts.sizeBytes - piece * CACHE_PIECE_BYTES);
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    // Not at once: it may be in the middle of somebody's answer that this is found out.
    queueMicrotask(() => {
      for (const wake of waiting) wake();
    });
  }
}

function pieceAt(offset: number): number {
  return Math.floor(offset / CACHE_PIECE_BYTES);
}
