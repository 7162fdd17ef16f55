import type { FetchProgress } from "./fetch-events.ts";
import type { Standing } from "./order-meter.ts";
import { RateMeter } from "./rate.ts";

/** Knows the rate of a fetch and the time left. It is told the time (milliseconds, any monotonic origin). */
export class FetchMeter {
  readonly #label: string;
  readonly #rate = new RateMeter();
  #latest: FetchProgress | undefined;

  constructor(label: string) {
    this.#label = label;
  }

  progress(event: FetchProgress, nowMs: number): void {
    this.#latest = event;
    this.#rate.record(nowMs, event.bytesTransferred);
  }

  /** Undefined until there is something to show. */
  standing(nowMs: number): Standing | undefined {
    const latest = this.#latest;
    if (latest === undefined) return undefined;
    const isKnown = latest.filesTotal > 0;
    const perSecond = this.#rate.perSecond(nowMs);
    const leftBytes = latest.bytesTotal - latest.bytes;
    return {
      label: this.#label,
      phase: isKnown ? (leftBytes > 0 ? "moving" : "finishing") : "connecting",
      filesDone: latest.files,
      filesListed: latest.filesTotal,
      bytesDone: latest.bytes,
      bytesListed: latest.bytesTotal,
      failed: 0,
      bytesPerSecond: perSecond,
      timeLeftMs:
        isKnown && perSecond !== undefined && perSecond > 0 ? (leftBytes / perSecond) * 1000 : undefined,
    };
  }
}
