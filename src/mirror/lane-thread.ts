import { ContainedRoot } from "../disk/contained-root.ts";
import { DrayError } from "../errors/dray-error.ts";
import { JobPace } from "./job-pace.ts";
import type { FromThread, Job, LaneSettings, ToThread } from "./job.ts";
import { Lane } from "./lane.ts";
import { type Listed, standing } from "./standing.ts";

const PROGRESS_INTERVAL_MS = 200;

/** A pool thread's side of the mirror: runs the lanes that the daemon gave to this thread. */
export class LaneThread {
  readonly #post: (message: FromThread) => void;
  readonly #lanes = new Map<number, Lane>();
  /** The newest running job of each lane, for progress. */
  readonly #runningJobs = new Map<number, number>();
  /** How each running job is held to the bandwidth limits. */
  readonly #paces = new Map<number, JobPace>();
  #settings: LaneSettings | undefined;
  #running = 0;
  #progress: Timer | undefined;
  #allEnded: (() => void) | undefined;

  constructor(post: (message: FromThread) => void) {
    this.#post = post;
  }

  async take(message: ToThread): Promise<void> {
    if (message.type === "start") {
      this.#settings = message.settings;
      this.#post({ type: "ready" });
    } else if (message.type === "security") {
      this.#settings!.sourceSecurity = message.security; // the lanes look at it when they connect
    } else if (message.type === "stop") {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#allEnded = resolve;
      for (const lane of this.#lanes.values()) lane.stop();
      for (const pace of this.#paces.values()) {
        pace.refuse(new DrayError("interrupted", "the mirror is shutting down"));
      }
      if (this.#running > 0) await promise;
      this.#post({ type: "stopped" });
    } else if (message.type === "look") {
      this.#post({ type: "looked", lookId: message.lookId, stands: this.#look(message.listed) });
    } else if (message.type === "grant") {
      this.#paces.get(message.jobId)?.granted(message.bytes);
    } else if (message.type === "refuse") {
      this.#paces.get(message.jobId)?.refuse(new DrayError("interrupted", "the order is over"));
    } else if (message.type === "meter") {
      for (const jobId of message.jobIds) this.#paces.get(jobId)?.meter();
      this.#lane(message.lane).breakOff();
    } else if (message.type === "hang-up") {
      this.#lane(message.lane).hangUp();
    } else {
      await this.#run(message.job);
    }
  }

  #look(listed: Listed): Uint8Array | undefined {
    const { mirrorDirectory, distrusted } = this.#settings!;
    const root = new ContainedRoot(mirrorDirectory);
    try {
      return standing(root, listed, distrusted);
    } finally {
      root.close();
    }
  }

  async #run(job: Job): Promise<void> {
    const { jobId, lane } = job;
    const pace = new JobPace(job.isMetered, (bytes) => this.#post({ type: "ask", jobId, bytes }));
    this.#paces.set(jobId, pace);
    this.#started(lane, jobId);
    const done = await this.#lane(lane).run(job, pace);
    this.#paces.delete(jobId);
    this.#ended(lane, jobId);
    this.#post(done);
  }

  #lane(id: number): Lane {
    let lane = this.#lanes.get(id);
    if (lane === undefined) {
      lane = new Lane(this.#settings!);
      this.#lanes.set(id, lane);
    }
    return lane;
  }

  #started(lane: number, jobId: number): void {
    this.#runningJobs.set(lane, jobId);
    this.#running++;
    this.#progress ??= setInterval(() => this.#reportProgress(), PROGRESS_INTERVAL_MS);
  }

  #ended(lane: number, jobId: number): void {
    if (this.#runningJobs.get(lane) === jobId) this.#runningJobs.delete(lane);
    if (--this.#running > 0) return;
    this.#allEnded?.();
    clearInterval(this.#progress);
    this.#progress = undefined;
  }

  #reportProgress(): void {
    for (const [laneId, jobId] of this.#runningJobs) {
      const receivedBytes = this.#lane(laneId).takeReceivedBytes();
      if (receivedBytes > 0) this.#post({ type: "progress", jobId, receivedBytes });
    }
  }
}
