import type { PieceLayout, PieceRun } from "./planner-events.ts";

const AGREED = 1;
const VERIFIED = 2;

interface Part extends PieceRun {
  /** Pieces that are not verified. */
  missing: number;
  /** Of those, the ones that can be asked for: agreed, and asked of nobody. */
  free: number;
  /** No piece before this one is free. */
  cursor: number;
}

/** What is known of each piece of a file, and how often it is under way. Pure. */
export class PieceBoard {
  readonly layout: PieceLayout;
  readonly #parts: Part[];
  readonly #states: Uint8Array;
  /** By how many requests each piece is under way. */
  readonly #underWay: Uint8Array;
  #missing: number;
  #free = 0;
  /** Pieces that are neither agreed nor verified. */
  #unknown: number;

  /** @throws RangeError when the parts are not the file's pieces */
  constructor(layout: PieceLayout) {
    const pieces = Math.ceil(layout.sizeBytes / layout.pieceBytes);
    let next = 0;
    for (const { first, count } of layout.parts) {
      if (first !== next || count < 1) throw new RangeError("the parts of the file are not in order");
      next += count;
    }
    if (next !== pieces) throw new RangeError("the parts are not the whole file");
    this.layout = layout;
    this.#parts = layout.parts.map(({ first, count }) => ({
      first,
      count,
      missing: count,
      free: 0,
      cursor: first,
    }));
    this.#states = new Uint8Array(pieces);
    this.#underWay = new Uint8Array(pieces);
    this.#missing = pieces;
    this.#unknown = pieces;
  }

  get partCount(): number {
    return this.#parts.length;
  }

  get missing(): number {
    return this.#missing;
  }

  get free(): number {
    return this.#free;
  }

  /** Whether some pieces cannot be asked for because they are not agreed. */
  get hasUnknown(): boolean {
    return this.#unknown > 0;
  }

  missingOf(part: number): number {
    return this.#parts[part]!.missing;
  }

  freeOf(part: number): number {
    return this.#parts[part]!.free;
  }

  isVerified(piece: number): boolean {
    return (this.#states[piece]! & VERIFIED) !== 0;
  }

  /** Whether it may be asked for a second time, while it is under way once. */
  isHedgeable(piece: number): boolean {
    return this.#states[piece] === AGREED && this.#underWay[piece] === 1;
  }

  underWay(piece: number): number {
    return this.#underWay[piece]!;
  }

  /** Whether all pieces of a part are agreed or verified. */
  isKnown(part: number): boolean {
    const { first, count } = this.#parts[part]!;
    return !this.#states.subarray(first, first + count).includes(0);
  }

  sizeOf({ first, count }: PieceRun): number {
    const { sizeBytes, pieceBytes } = this.layout;
    return Math.min((first + count) * pieceBytes, sizeBytes) - first * pieceBytes;
  }

  missingBytes(): number {
    let bytes = 0;
    for (const [piece, state] of this.#states.entries()) {
      if ((state & VERIFIED) === 0) bytes += this.sizeOf({ first: piece, count: 1 });
    }
    return bytes;
  }

  /** @returns the part that a piece belongs to */
  partOf(piece: number): number {
    let low = 0;
    let high = this.#parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#parts[middle]!.first <= piece) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** @returns whether one of them was not agreed before */
  agree(run: PieceRun): boolean {
    return this.#each(run, (piece) => this.#set(piece, this.#states[piece]! | AGREED));
  }

  /** @returns whether one of them was missing */
  verify(run: PieceRun): boolean {
    return this.#each(run, (piece) => this.#set(piece, this.#states[piece]! | VERIFIED));
  }

  /** @returns whether one of them was verified before */
  spoil(run: PieceRun): boolean {
    return this.#each(run, (piece) => this.#set(piece, this.#states[piece]! & ~VERIFIED));
  }

  /**
   * Takes the first run of free pieces of a part, which is under way from now on.
   * @param isWanted which ones may be in it
   */
  takeFree(part: number, mostPieces: number, isWanted: (piece: number) => boolean): PieceRun | undefined {
    const at = this.#parts[part]!;
    const end = at.first + at.count;
    if (at.free === 0) return undefined;
    while (!this.#isFree(at.cursor)) at.cursor++;
    let first = at.cursor;
    while (first < end && !(this.#isFree(first) && isWanted(first))) first++;
    if (first === end) return undefined;
    let count = 1;
    const isMore = (piece: number): boolean => piece < end && this.#isFree(piece) && isWanted(piece);
    while (count < mostPieces && isMore(first + count)) count++;
    const run = { first, count };
    this.add(run);
    return run;
  }

  /** Whether a piece of a part is missing of which this is true. */
  lacks(part: number, isWanted: (piece: number) => boolean): boolean {
    const { first, count } = this.#parts[part]!;
    for (let piece = first; piece < first + count; piece++) {
      if (!this.isVerified(piece) && isWanted(piece)) return true;
    }
    return false;
  }

  /** These pieces are under way once more. */
  add(run: PieceRun): void {
    this.#each(run, (piece) => this.#count(piece, 1));
  }

  /** These pieces are under way once less. */
  release(run: PieceRun): void {
    this.#each(run, (piece) => this.#count(piece, -1));
  }

  #each({ first, count }: PieceRun, change: (piece: number) => boolean): boolean {
    let changed = false;
    for (let piece = first; piece < first + count; piece++) changed = change(piece) || changed;
    return changed;
  }

  #isFree(piece: number): boolean {
    return this.#states[piece] === AGREED && this.#underWay[piece] === 0;
  }

  #set(piece: number, state: number): boolean {
    const before = this.#states[piece]!;
    if (state === before) return false;
    const part = this.#parts[this.partOf(piece)]!;
    const wasFree = this.#isFree(piece);
    this.#states[piece] = state;
    const missing = (before & VERIFIED) - (state & VERIFIED);
    if (missing !== 0) {
      part.missing += Math.sign(missing);
      this.#missing += Math.sign(missing);
    }
    this.#unknown += Number(state === 0) - Number(before === 0);
    this.#refile(part, piece, wasFree);
    return true;
  }

  #count(piece: number, by: number): boolean {
    const part = this.#parts[this.partOf(piece)]!;
    const wasFree = this.#isFree(piece);
    this.#underWay[piece]! += by;
    this.#refile(part, piece, wasFree);
    return true;
  }

  #refile(part: Part, piece: number, wasFree: boolean): void {
    const isFree = this.#isFree(piece);
    part.free += Number(isFree) - Number(wasFree);
    this.#free += Number(isFree) - Number(wasFree);
    if (isFree) part.cursor = Math.min(part.cursor, piece);
  }
}
