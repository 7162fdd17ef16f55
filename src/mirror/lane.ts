import { ContainedRoot } from "../disk/contained-root.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { DrayError, asDrayError, systemErrorCode } from "../errors/dray-error.ts";
import { Client } from "../transfer/client.ts";
import { CAPABILITY, TO_END } from "../wire/messages.ts";
import type { Job, JobDone, JobItem, LaneSettings, Outcome } from "./job.ts";
import { MirroredFile, isUnchanged } from "./mirrored-file.ts";

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

interface Wanted {
  index: number;
  item: JobItem;
  components: string[];
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

  /** Tries each item of a job once. Never throws: what fails is an outcome. */
  async run(job: Job): Promise<JobDone> {
    const outcomes: Outcome[] = [];
    let connection: JobDone["connection"] = { state: "kept" };
    try {
      const root = new ContainedRoot(this.#settings.mirrorDirectory);
      try {
        const wanted = this.#prepare(root, job, outcomes);
        if (wanted.length > 0) connection = await this.#fetchAll(root, job, wanted, outcomes);
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
          wanted.push({ index, item, components });
        }
      } catch (error) {
        outcomes[index] = failed(error);
      }
    }
    return wanted;
  }

  async #fetchAll(
    root: ContainedRoot,
    job: Job,
    wanted: readonly Wanted[],
    outcomes: Outcome[],
  ): Promise<JobDone["connection"]> {
    let client: Client;
    try {
      client = await this.#connect(job);
    } catch (error) {
      for (const { index } of wanted) outcomes[index] = { kind: "returned" };
      const { code, message } = asDrayError(error);
      return { state: "unreachable", code, message };
    }
    const errors = await Promise.all(wanted.map((one) => this.#fetchOne(client, root, job, one, outcomes)));
    const lostBy = client.closedBy;
    let isLost = false;
    for (const [position, { index }] of wanted.entries()) {
      const error = errors[position];
      if (error === undefined) continue;
      // Behind the file that was under way when the connection went: not to blame for that.
      const isVictim = lostBy !== undefined && error.cause === lostBy;
      isLost ||= isVictim || error === lostBy;
      outcomes[index] = isVictim ? { kind: "returned" } : failed(error, error === lostBy);
    }
    return isLost ? { state: "lost", code: lostBy!.code, message: lostBy!.message } : { state: "kept" };
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
    const { path } = one.item;
    const { digest } = this.#settings;
    try {
      const offset = file.takeUp(one.item);
      await client.fetch({ path, offset, length: TO_END, delayMs: job.delayMs, digest }, file);
      outcomes[one.index] = { kind: "fetched", sizeBytes: file.sizeBytes };
      return undefined;
    } catch (error) {
      try {
        if (KEEPS_PART.has(asDrayError(error).code)) file.park();
        else file.abandon();
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

/** @param isConnectionLost then even a breach of the protocol may have been an accident */
function failed(error: unknown, isConnectionLost = false): Outcome {
  const known = asDrayError(error);
  const { code, message } = known;
  if (code === "no-space" && systemErrorCode(known.cause) !== undefined) return { kind: "full", message };
  const isAccident = isConnectionLost && code === "protocol";
  return { kind: "failed", code, message, mayPass: known.retryable || isAccident };
}
