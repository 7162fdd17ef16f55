import { Bandwidth } from "./bandwidth.ts";
import type { JobAsk, ToThread } from "./job.ts";

interface ThrottledJob {
  feedId: string;
  lane: number;
  /** Whether it asks before it requests anything. */
  isMetered: boolean;
}

/**
 * Holds the lanes to the bandwidth limits: answers what metered jobs ask for when it is their turn, and
 * tells running jobs when a limit comes that was not there when they began. Jobs that no limit concerns
 * never ask.
 */
export class Throttle {
  readonly #bandwidth = new Bandwidth();
  readonly #jobs = new Map<number, ThrottledJob>();
  readonly #tell: (lane: number, message: ToThread) => void;
  #timer: Timer | undefined;

  /** @param bytesPerSecond of all sources together; undefined for no limit */
  constructor(bytesPerSecond: number | undefined, tell: (lane: number, message: ToThread) => void) {
    this.#tell = tell;
    this.#bandwidth.limitAll(bytesPerSecond, performance.now());
  }

  open(feedId: string, bytesPerSecond: number | undefined): void {
    this.#bandwidth.open(feedId, bytesPerSecond, performance.now());
  }

  /** The feed is over: what its jobs still wait for is refused. */
  close(feedId: string): void {
    this.#bandwidth.close(feedId);
    for (const [jobId, job] of this.#jobs) {
      if (job.feedId === feedId && job.isMetered) this.#refuse(jobId, job);
    }
  }

  limitAll(bytesPerSecond: number | undefined): void {
    this.#bandwidth.limitAll(bytesPerSecond, performance.now());
    this.#changed();
  }

  limit(feedId: string, bytesPerSecond: number | undefined): void {
    this.#bandwidth.limit(feedId, bytesPerSecond, performance.now());
    this.#changed();
  }

  /** @returns whether the job has to ask */
  begin(jobId: number, lane: number, feedId: string): boolean {
    const isMetered = this.#bandwidth.isLimited(feedId);
    this.#jobs.set(jobId, { feedId, lane, isMetered });
    return isMetered;
  }

  end(jobId: number): void {
    this.#jobs.delete(jobId);
  }

  ask({ jobId, bytes }: JobAsk): void {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return;
    if (!this.#bandwidth.isOpen(job.feedId)) return this.#refuse(jobId, job);
    this.#bandwidth.ask(job.feedId, jobId, bytes);
    this.#grant();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #refuse(jobId: number, { lane }: ThrottledJob): void {
    this.#tell(lane, { type: "refuse", jobId });
  }

  /** Jobs that began without a limit learn of it, those that wait learn that it is gone. */
  #changed(): void {
    const meteredByLane = new Map<number, number[]>();
    for (const [jobId, job] of this.#jobs) {
      if (job.isMetered || !this.#bandwidth.isLimited(job.feedId)) continue;
      job.isMetered = true;
      meteredByLane.set(job.lane, [...(meteredByLane.get(job.lane) ?? []), jobId]);
    }
    for (const [lane, jobIds] of meteredByLane) this.#tell(lane, { type: "meter", lane, jobIds });
    this.#grant();
  }

  #grant(): void {
    clearTimeout(this.#timer);
    const { grants, waitMs } = this.#bandwidth.grants(performance.now());
    for (const { jobId, bytes } of grants) {
      const job = this.#jobs.get(jobId);
      if (job === undefined) continue;
      if (bytes === undefined) job.isMetered = false;
      this.#tell(job.lane, { type: "grant", jobId, bytes });
    }
    if (waitMs !== undefined) this.#timer = setTimeout(() => this.#grant(), Math.max(1, Math.ceil(waitMs)));
  }
}
