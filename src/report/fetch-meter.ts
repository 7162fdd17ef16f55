import type { FetchProgress, ReplicaProgress } from "./fetch-events.ts";
import type { Standing } from "./order-meter.ts";
import { RateMeter } from "./rate.ts";
import { hostAndPort } from "./source-label.ts";

/** How far one of several servers has come. */
export interface ReplicaStanding {
  label: string;
  status: ReplicaProgress["status"];
  bytes: number;
  /** Undefined while it is too early to tell. */
  bytesPerSecond: number | undefined;
}

/** Knows the rate of a fetch and the time left. It is told the time (milliseconds, any monotonic origin). */
export class FetchMeter {
  readonly #label: string;
  readonly #rate = new RateMeter();
  readonly #replicaRates = new Map<string, RateMeter>();
  #latest: FetchProgress | undefined;

  constructor(label: string) {
    this.#label = label;
  }

  progress(event: FetchProgress, nowMs: number): void {
    this.#latest = event;
    this.#rate.record(nowMs, event.bytesTransferred);
    for (const { host, port, bytes } of event.replicas ?? []) {
      const label = hostAndPort(host, port);
      let rate = this.#replicaRates.get(label);
      if (rate === undefined) this.#replicaRates.set(label, (rate = new RateMeter()));
      rate.record(nowMs, bytes);
    }
  }

  /** The servers, where there are several: the fastest one first. */
  replicas(nowMs: number): ReplicaStanding[] {
    const standings = (this.#latest?.replicas ?? []).map(({ host, port, status, bytes }) => {
      const label = hostAndPort(host, port);
      return { label, status, bytes, bytesPerSecond: this.#replicaRates.get(label)?.perSecond(nowMs) };
    });
    return standings.toSorted((a, b) => (b.bytesPerSecond ?? 0) - (a.bytesPerSecond ?? 0));
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
