import { ContainedRoot } from "../disk/contained-root.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { type Backoff, delayAfterAttempt } from "../net/backoff.ts";
import { withRetry } from "../net/dial.ts";
import { Client } from "../transfer/client.ts";
import { CAPABILITY, TO_END } from "../wire/messages.ts";
import type { Job, JobDone, JobItem, LaneSettings, Outcome } from "./job.ts";
import { MirroredFile, isUnchanged } from "./mirrored-file.ts";

/** How often a connection is tried, and how often a file. */
const DIAL_BACKOFF: Backoff = { attempts: 3, firstDelayMs: 250, maxDelayMs: 2_000 };
const FILE_BACKOFF: Backoff = { attempts: 3, firstDelayMs: 100, maxDelayMs: 2_000 };
const DIAL_TIMEOUT_MS = 10_000;
/** Below this, the rest of a file that failed on our side is cheaper to drain than a new connection. */
const DRAIN_LIMIT_BYTES = 1024 * 1024;

/** Connections in a row that may be lost without a single file to show for it. */
const FRUITLESS_LIMIT = 10;

interface Wanted {
  index: number;
  item: JobItem;
  components: string[];
  attempts: number;
}

/**
 * One worker: one connection to one source at a time, over which it asks for the files of its jobs
 * without waiting in between. Jobs that come while one is running share its connection.
 */
export class Lane {
  readonly #settings: LaneSettings;
  #client: Promise<Client> | undefined;
  #clientKey = "";
  #receivedBytes = 0;
  #isStopped = false;

  constructor(settings: LaneSettings) {
    this.#settings = settings;
  }

  /** File bytes received since the last call. */
  takeReceivedBytes(): number {
    const bytes = this.#receivedBytes;
    this.#receivedBytes = 0;
    return bytes;
  }

  /** Does a job to its end. Never throws: what fails is an outcome. */
  async run(job: Job): Promise<JobDone> {
    const outcomes: Outcome[] = [];
    let unreachable: DrayError | undefined;
    try {
      const root = new ContainedRoot(this.#settings.mirrorDirectory);
      try {
        const wanted = this.#prepare(root, job, outcomes);
        unreachable = await this.#fetchAll(root, job, wanted, outcomes);
      } finally {
        root.close();
      }
    } catch (error) {
      const failure = failed(error);
      for (let index = 0; index < job.items.length; index++) outcomes[index] ??= failure;
    }
    return {
      type: "done",
      jobId: job.jobId,
      lane: job.lane,
      outcomes,
      receivedBytes: this.takeReceivedBytes(),
      unreachable: unreachable && { code: unreachable.code, message: unreachable.message },
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

  /** Makes directories and finds out which files are needed. */
  #prepare(root: ContainedRoot, job: Job, outcomes: Outcome[]): Wanted[] {
    const wanted: Wanted[] = [];
    for (const [index, item] of job.items.entries()) {
      const components = [job.sourceDirectory, ...item.path.split("/")];
      try {
        if (item.kind === "directory") {
          root.hold(components, true)[Symbol.dispose]();
          outcomes[index] = { kind: "directory" };
        } else if (isUnchanged(root, components, item, this.#settings.distrusted)) {
          outcomes[index] = { kind: "unchanged", sizeBytes: item.sizeBytes };
        } else {
          wanted.push({ index, item, components, attempts: 0 });
        }
      } catch (error) {
        outcomes[index] = failed(error);
      }
    }
    return wanted;
  }

  /** @returns why no connection could be made, if that is what ended it */
  async #fetchAll(
    root: ContainedRoot,
    job: Job,
    wanted: Wanted[],
    outcomes: Outcome[],
  ): Promise<DrayError | undefined> {
    let fruitless = 0;
    while (wanted.length > 0) {
      let client: Client;
      try {
        client = await this.#connect(job);
      } catch (error) {
        const known = asDrayError(error);
        for (const { index } of wanted) outcomes[index] = failed(known);
        return known;
      }
      const errors = await Promise.all(wanted.map((one) => this.#fetchOne(client, root, job, one, outcomes)));
      const settled = settle(wanted, errors, client.closedBy, outcomes);
      fruitless = settled.isLost && !errors.includes(undefined) ? fruitless + 1 : 0;
      if (fruitless >= FRUITLESS_LIMIT) {
        for (const { index } of settled.again) outcomes[index] = failed(client.closedBy);
        return client.closedBy;
      }
      wanted = settled.again;
      if (wanted.length > 0) await Bun.sleep(settled.waitMs);
    }
    return undefined;
  }

  /** @returns the error, if it failed */
  async #fetchOne(
    client: Client,
    root: ContainedRoot,
    job: Job,
    one: Wanted,
    outcomes: Outcome[],
  ): Promise<DrayError | undefined> {
    const file = new MirroredFile(root, one.components, this.#settings, (bytes) => {
      this.#receivedBytes += bytes;
    });
    const request = {
      path: one.item.path,
      offset: 0,
      length: TO_END,
      delayMs: job.delayMs,
      digest: this.#settings.digest,
    };
    try {
      await client.fetch(request, file);
      outcomes[one.index] = { kind: "fetched", sizeBytes: file.sizeBytes };
      return undefined;
    } catch (error) {
      try {
        file.abandon();
      } catch (abandonError) {
        return asDrayError(abandonError);
      }
      const known = asDrayError(error);
      if (client.isOpen && file.sizeBytes > DRAIN_LIMIT_BYTES) {
        client.close(new DrayError("closed", "the connection was given up with a large file under way"));
      }
      return known;
    }
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
    const settings = { agent: this.#settings.agent, timeoutMs: DIAL_TIMEOUT_MS };
    const { host, port } = job;
    const client = await withRetry(DIAL_BACKOFF, () =>
      Client.connect({ host, port }, settings).catch(mayPass),
    );
    client.require(CAPABILITY.content, "files");
    return client;
  }
}

/** The manager has just spoken with this server: what looks like another protocol now was damaged. */
function mayPass(error: unknown): never {
  const known = asDrayError(error);
  throw known.code === "protocol" ? new DrayError("closed", known.message, { cause: error }) : known;
}

/**
 * Which files are to be tried again, and after how long; the others have their outcome.
 * @param lostBy what ended the connection, if it is gone; files that were behind the one under way are
 *   not to blame for that
 */
function settle(
  wanted: readonly Wanted[],
  errors: readonly (DrayError | undefined)[],
  lostBy: DrayError | undefined,
  outcomes: Outcome[],
): { again: Wanted[]; waitMs: number; isLost: boolean } {
  const again: Wanted[] = [];
  let waitMs = 0;
  let isLost = false;
  for (const [position, one] of wanted.entries()) {
    const error = errors[position];
    if (error === undefined) continue;
    const isVictim = lostBy !== undefined && error.cause === lostBy;
    isLost ||= isVictim || error === lostBy;
    if (!isVictim) one.attempts++;
    const canRetry = error.retryable || (error === lostBy && error.code === "protocol");
    const delayMs =
      canRetry || isVictim ? delayAfterAttempt(FILE_BACKOFF, one.attempts, Math.random()) : undefined;
    if (delayMs === undefined) outcomes[one.index] = failed(error);
    else {
      again.push(one);
      waitMs = Math.max(waitMs, delayMs, error.retryAfterMs);
    }
  }
  return { again, waitMs, isLost };
}

function failed(error: unknown): Outcome {
  const { code, message } = asDrayError(error);
  return { kind: "failed", code, message };
}
