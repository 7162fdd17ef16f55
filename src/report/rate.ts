const WINDOW_MS = 5000;
/** Samples closer together than this are merged, so that a meter holds some 50 of them at most. */
const SAMPLE_SPACING_MS = 100;
/** A rate over less than this would only be noise. */
const SHORTEST_SPAN_MS = 500;

interface Sample {
  atMs: number;
  total: number;
}

/**
 * The rate of a growing total over the last five seconds. It is told the time (milliseconds, any
 * origin). The first sample is the starting point, so joining a running order shows no jump.
 */
export class RateMeter {
  #samples: Sample[] = [];

  /** The total at `atMs`. A total that fell, or a clock that went back, starts the meter anew. */
  record(atMs: number, total: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && (total < last.total || atMs < last.atMs)) this.#samples = [];
    const beforeLast = this.#samples.at(-2);
    if (beforeLast !== undefined && atMs - beforeLast.atMs < SAMPLE_SPACING_MS) this.#samples.pop();
    this.#samples.push({ atMs, total });
    this.#samples.splice(0, this.#startIndex(atMs));
  }

  /** Units per second at `atMs`; 0 once nothing came for the whole window; undefined while it is too early to tell. */
  perSecond(atMs: number): number | undefined {
    const start = this.#samples[this.#startIndex(atMs)];
    const last = this.#samples.at(-1);
    if (start === undefined || last === undefined || atMs - start.atMs < SHORTEST_SPAN_MS) return undefined;
    return ((last.total - start.total) / (atMs - start.atMs)) * 1000;
  }

  /** The newest sample that is at least a window old, else the oldest one. */
  #startIndex(atMs: number): number {
    const index = this.#samples.findLastIndex((sample) => sample.atMs <= atMs - WINDOW_MS);
    return Math.max(0, index);
  }
}
