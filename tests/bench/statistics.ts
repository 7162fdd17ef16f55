/** What many runs of one thing say together. Pure. */
export interface Summary {
  median: number;
  min: number;
  max: number;
}

/** @throws RangeError when there are no values */
export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle];
  if (upper === undefined) throw new RangeError("nothing was measured");
  const lower = sorted[middle - 1] ?? upper;
  return {
    median: sorted.length % 2 === 1 ? upper : (lower + upper) / 2,
    min: sorted[0] ?? upper,
    max: sorted.at(-1) ?? upper,
  };
}

/** How many times as fast something is that takes `ours` where another takes `theirs`. */
export function timesAsFast(ours: Summary, theirs: Summary): number {
  return theirs.median / ours.median;
}
