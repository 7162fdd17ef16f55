/** A run of bytes of a file: `offset` to `offset + lengthBytes`. */
export interface Extent {
  offset: number;
  lengthBytes: number;
}

/** Which bytes of a file are there: runs that neither overlap nor touch, in order. Pure. */
export class Extents {
  readonly #runs: { start: number; end: number }[] = [];
  #coveredBytes = 0;

  get coveredBytes(): number {
    return this.#coveredBytes;
  }

  /** @returns whether none of it was there before */
  add({ offset, lengthBytes }: Extent): boolean {
    if (lengthBytes === 0) return true;
    const end = offset + lengthBytes;
    const at = this.#firstEndingAtOrAfter(offset);
    let start = offset;
    let joinedEnd = end;
    let joined = 0;
    let overlap = 0;
    for (let run = this.#runs[at]; run !== undefined && run.start <= end; run = this.#runs[at + joined]) {
      overlap += Math.max(0, Math.min(end, run.end) - Math.max(offset, run.start));
      start = Math.min(start, run.start);
      joinedEnd = Math.max(joinedEnd, run.end);
      joined++;
    }
    this.#runs.splice(at, joined, { start, end: joinedEnd });
    this.#coveredBytes += lengthBytes - overlap;
    return overlap === 0;
  }

  remove({ offset, lengthBytes }: Extent): void {
    const end = offset + lengthBytes;
    for (let at = this.#firstEndingAtOrAfter(offset + 1); at < this.#runs.length;) {
      const run = this.#runs[at]!;
      if (run.start >= end) return;
      const rest = [
        { start: run.start, end: Math.min(run.end, offset) },
        { start: Math.max(run.start, end), end: run.end },
      ].filter((part) => part.end > part.start);
      const restBytes = rest.reduce((sum, part) => sum + part.end - part.start, 0);
      this.#coveredBytes -= run.end - run.start - restBytes;
      this.#runs.splice(at, 1, ...rest);
      at += rest.length;
    }
  }

  /** What is missing of the first `sizeBytes`, in order. */
  gaps(sizeBytes: number): Extent[] {
    const gaps: Extent[] = [];
    let position = 0;
    for (const { start, end } of this.#runs) {
      if (start >= sizeBytes) break;
      if (start > position) gaps.push({ offset: position, lengthBytes: start - position });
      position = end;
    }
    if (position < sizeBytes) gaps.push({ offset: position, lengthBytes: sizeBytes - position });
    return gaps;
  }

  #firstEndingAtOrAfter(position: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#runs[middle]!.end < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
