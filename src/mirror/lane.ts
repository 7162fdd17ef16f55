import { ContainedRoot } from "../disk/contained-root.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { Client } from "../transfer/client.ts";
import { CAPABILITY, TO_END } from "../wire/messages.ts";
import { JobPace } from "./job-pace.ts";
import { failedOutcome } from "./failed-outcome.ts";
import type { Job, JobDone, JobItem, LaneSettings, Outcome } from "./job.ts";
import { Turns, fetchMetered } from "./metered-fetch.ts";
import { COMPARED_BYTES, LocalComparison } from "./local-comparison.ts";
import { openHere, setMetadata } from "./local-copy.ts";
import { MirroredFile } from "./mirrored-file.ts";
import { type Wanted, prepare } from "./preparation.ts";

const DIAL_TIMEOUT_MS = 10_000;
/** Below this, the rest of a file that failed on our side is cheaper to drain than a new connection. */
const DRAIN_LIMIT_BYTES = 1024 * 1024;

/**
 * After these, what has come of a large file is as good as it was: the peer or the way to it went. After
 * anything else it is in doubt, or in the way on a full disk.
 */
const KEEPS_PART: ReadonlySet<ErrorCode> = new Set([
  "closed",
  "timeout",
  "unreachable",
  "busy",
  "interrupted",
]);

/** Ends what was begun without a limit when one comes. */
const BROKEN_OFF = new DrayError("interrupted", "a bandwidth limit came");

function isBrokenOff(error: unknown): boolean {
  return error === BROKEN_OFF || (error instanceof DrayError && error.cause === BROKEN_OFF);
}

/** A file's connection to its source. */
interface Link {
  client: Client;
  /** Whether it is being made anew. */
  isDialling: boolean;
}

/** For a job that no limit concerns. */
const NO_LIMIT = new JobPace(false, () => {});

/**
 * One worker: one connection to one source at a time, over which it asks for the files of its jobs
 * without waiting in between. Jobs that come while one is running share its connection.
 */
export class Lane {
  readonly #settings: LaneSettings;
  #client: Promise<Client> | undefined;
  #clientKey = "";
  #receivedBytes = 0;
  #runningJobs = 0;
  #isStopped = false;
  /** Files that are brought under a bandwidth limit, one after the other. */
  readonly #turns = new Turns();
  /** Requests under way that no limit holds. */
  readonly #unmetered = new Set<Link>();

  constructor(settings: LaneSettings) {
    this.#settings = settings;
  }

  /** File bytes received since the last call. */
  takeReceivedBytes(): number {
    const bytes = this.#receivedBytes;
    this.#receivedBytes = 0;
    return bytes;
  }

  /**
   * Tries each item of a job once. Never throws: what fails is an outcome.
   * @param pace holds it to the bandwidth limits, if there are any
   */
  async run(job: Job, pace = NO_LIMIT): Promise<JobDone> {
    const outcomes: Outcome[] = [];
    let connection: JobDone["connection"] = { state: "unused" };
    this.#runningJobs++;
    try {
      const root = new ContainedRoot(this.#settings.mirrorDirectory);
      try {
        const wanted = await prepare(root, job, this.#settings.distrusted, outcomes);
        if (wanted.length > 0) connection = await this.#fetchAll(root, job, wanted, outcomes, pace);
      } finally {
        root.close();
      }
    } catch (error) {
      const failure = failedOutcome(error);
      for (let index = 0; index < job.items.length; index++) outcomes[index] ??= failure;
    } finally {
      this.#runningJobs--;
    }
    return {
      type: "done",
      jobId: job.jobId,
      lane: job.lane,
      outcomes,
      receivedBytes: this.takeReceivedBytes(),
      connection,
    };
  }

  /** Gives up the connection; files under way fail and leave nothing behind. */
  stop(): void {
    this.#isStopped = true;
    this.#client?.then(
      (open) => open.close(new DrayError("interrupted", "the mirror is shutting down")),
      () => {}, // it was told to the job that dialled
    );
  }

  /** Gives up the connection unless a job uses it: its place may be the last one that the source has. */
  hangUp(): void {
    if (this.#runningJobs > 0) return;
    this.#client?.then(
      (open) => open.close(),
      () => {}, // it was told to the job that dialled
    );
    this.#client = undefined;
  }

  /**
   * A limit has come, and the paces of the jobs know: what is under way without one is broken off, and
   * goes on within it over another connection. What is in buffers on the way would come unheeded.
   */
  breakOff(): void {
    for (const { client } of this.#unmetered) client.close(BROKEN_OFF);
  }

  async #fetchAll(
    root: ContainedRoot,
    job: Job,
    wanted: readonly Wanted[],
    outcomes: Outcome[],
    pace: JobPace,
  ): Promise<JobDone["connection"]> {
    let client: Client;
    try {
      client = await this.#connect(job);
    } catch (error) {
      for (const { index } of wanted) outcomes[index] = { kind: "returned" };
      const { code, message, retryAfterMs } = asDrayError(error);
      return { state: "unreachable", code, message, retryAfterMs };
    }
    const failures = await Promise.all(
      wanted.map((one) => this.#fetchOne(client, root, job, one, outcomes, pace)),
    );
    let connection: JobDone["connection"] = { state: "kept" };
    for (const [position, { index }] of wanted.entries()) {
      const failure = failures[position];
      if (failure === undefined) continue;
      const { error, link } = failure;
      const lostBy = link.client.closedBy;
      // Behind the file that was under way when the connection went: not to blame for that.
      const isVictim = link.isDialling || (lostBy !== undefined && error.cause === lostBy);
      const { code, message, retryAfterMs } = error;
      if (link.isDialling) connection = { state: "unreachable", code, message, retryAfterMs };
      else if (isVictim || error === lostBy) connection = { state: "lost", code, message, retryAfterMs };
      outcomes[index] = isVictim
        ? { kind: "returned" }
        : failedOutcome(error, error === lostBy, failure.writtenBytes);
    }
    return connection;
  }

  /** @returns why, if it failed */
  async #fetchOne(
    client: Client,
    root: ContainedRoot,
    job: Job,
    one: Wanted,
    outcomes: Outcome[],
    pace: JobPace,
  ): Promise<{ error: DrayError; link: Link; writtenBytes: number } | undefined> {
    const file = new MirroredFile(root, one.components, this.#settings, (bytes) => {
      this.#receivedBytes += bytes;
    });
    const link: Link = { client, isDialling: false };
    try {
      if (one.isDoubtful && (await this.#isSameOver(link, root, job, one, outcomes))) return undefined;
      if (job.mode.dryRun) {
        outcomes[one.index] = { kind: "planned", reason: one.reason };
        return undefined;
      }
      file.takeUp(one.item);
      await this.#bring(file, link, job, one.item, pace);
      const version = file.version === undefined ? {} : { version: file.version };
      outcomes[one.index] = { kind: "fetched", sizeBytes: file.sizeBytes, reason: one.reason, ...version };
      return undefined;
    } catch (error) {
      const { writtenBytes } = file;
      try {
        if (KEEPS_PART.has(asDrayError(error).code)) file.park();
        else file.abandon();
      } catch (abandonError) {
        return { error: asDrayError(abandonError), link, writtenBytes };
      }
      if (isBrokenOff(error)) {
        outcomes[one.index] = { kind: "returned" };
        return undefined;
      }
      if (link.client.isOpen && !pace.isMetered && file.sizeBytes > DRAIN_LIMIT_BYTES) {
        link.client.close(new DrayError("closed", "the connection was given up with a large file under way"));
      }
      return { error: asDrayError(error), link, writtenBytes };
    }
  }

  /** Asks again over a new connection when a bandwidth limit ended the one that it was asked over. */
  async #isSameOver(
    link: Link,
    root: ContainedRoot,
    job: Job,
    one: Wanted,
    outcomes: Outcome[],
  ): Promise<boolean> {
    for (;;) {
      try {
        return await this.#isSame(link.client, root, job, one, outcomes);
      } catch (error) {
        if (!isBrokenOff(error)) throw error;
      }
      await this.#connectLink(link, job);
    }
  }

  /** Asks the source what the file holds, and settles the outcome if that is what is there. */
  async #isSame(
    client: Client,
    root: ContainedRoot,
    { mode: { dryRun } }: Job,
    { index, item, components }: Wanted,
    outcomes: Outcome[],
  ): Promise<boolean> {
    const { digest } = this.#settings;
    const file = openHere(root, components);
    try {
      const comparison = new LocalComparison(file, digest);
      await client.sums({ path: item.path, pieceBytes: COMPARED_BYTES, digest }, comparison);
      const { version } = comparison;
      if (version === undefined) return false;
      if (!dryRun) setMetadata(root, components, version);
      outcomes[index] = { kind: "unchanged", sizeBytes: version.sizeBytes, version };
      return true;
    } finally {
      file.close();
    }
  }

  /** With one request; with several while there is a bandwidth limit, or when one comes or goes. */
  async #bring(file: MirroredFile, link: Link, job: Job, item: JobItem, pace: JobPace): Promise<void> {
    const { path } = item;
    const { digest } = this.#settings;
    const connect = (): Promise<Client> => this.#connectLink(link, job);
    while (!file.isComplete) {
      const request = { path, delayMs: file.isBegun ? 0 : job.delayMs, digest };
      try {
        if (pace.isMetered) {
          await fetchMetered(file, request, item.sizeBytes, pace, this.#turns, connect);
        } else {
          this.#unmetered.add(link);
          await link.client.fetch({ ...request, offset: file.writtenBytes, length: TO_END }, file);
        }
      } catch (error) {
        if (!isBrokenOff(error)) throw error;
        file.brokenOff();
      } finally {
        this.#unmetered.delete(link);
      }
      if (!file.isComplete) await connect();
    }
  }

  async #connectLink(link: Link, job: Job): Promise<Client> {
    if (link.client.isOpen) return link.client;
    link.isDialling = true;
    link.client = await this.#connect(job);
    link.isDialling = false;
    return link.client;
  }

  async #connect(job: Job): Promise<Client> {
    if (this.#isStopped) throw new DrayError("interrupted", "the mirror is shutting down");
    const key = `${job.host} ${job.port}`;
    const known = this.#client;
    if (known !== undefined && this.#clientKey === key) {
      const client = await known;
      if (client.isOpen) return client;
    }
    // Of several jobs that find the connection gone, the first one dials and the others join it.
    if (this.#client !== known && this.#clientKey === key) return this.#connect(job);
    if (known !== undefined && this.#clientKey !== key) {
      known.then(
        (old) => old.close(),
        () => {},
      );
    }
    const dialled = this.#dial(job);
    this.#client = dialled;
    this.#clientKey = key;
    dialled.catch(() => {
      if (this.#client === dialled) this.#client = undefined;
    });
    return dialled;
  }

  async #dial(job: Job): Promise<Client> {
    const { agent, sourceSecurity: security } = this.#settings;
    const settings = { agent, timeoutMs: DIAL_TIMEOUT_MS, security };
    const client = await Client.connect({ host: job.host, port: job.port }, settings).catch(mayPass);
    client.require(CAPABILITY.content, "files");
    return client;
  }
}

/** The manager has spoken with this server: what looks like another protocol now was damaged. */
function mayPass(error: unknown): never {
  const known = asDrayError(error);
  throw known.code === "protocol" ? new DrayError("closed", known.message, { cause: error }) : known;
}
