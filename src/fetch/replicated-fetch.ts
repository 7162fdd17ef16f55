import type { ContainedDirectory } from "../disk/contained-root.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import { type Agreed, Agreement } from "./agreement.ts";
import type { KeptPart } from "./fetch-file.ts";
import { type FetchSetting, type FetchedFile, type WantedFile, unexpectedSum } from "./fetch-setting.ts";
import type { GrowingSum } from "./file-sums.ts";
import { FillJob, type ReplicatedSettings } from "./fill-job.ts";
import { standingFile } from "./final-file.ts";
import { findJournal, removeJournalWithoutPart } from "./found-part.ts";
import type { WholeFileFacts } from "./identity.ts";
import { PartFile } from "./part-file.ts";
import { PartLock } from "./part-lock.ts";
import { type PartNames, partNames } from "./part-names.ts";
import { SEVERAL_SERVERS } from "./piece-journal.ts";
import type { Replica } from "./replica.ts";
import { SeedFile } from "./seed-file.ts";
import type { ReplicaNews } from "./swarm.ts";

/** Of one file, how many pieces may read back otherwise than they were written before its disk is given up. */
const MAX_DAMAGED_PIECES = 16;
export interface ReplicatedEvents {
  replica(replica: Replica, what: ReplicaNews, why: string | undefined): void;
  /** It failed, or was interrupted, and what came is kept. */
  kept(part: KeptPart): void;
}

/** One file on its way from several servers into a directory. */
export class ReplicatedFetch {
  readonly #file: WantedFile;
  readonly #setting: FetchSetting;
  readonly #settings: ReplicatedSettings;
  readonly #events: ReplicatedEvents;
  readonly #agreement: Agreement;
  readonly #names: PartNames;
  #directory: ContainedDirectory | undefined;
  #lock: PartLock | undefined;
  #part: PartFile | undefined;
  #damagedPieces = 0;

  constructor(
    targets: readonly DialTarget[],
    file: WantedFile,
    setting: FetchSetting,
    settings: ReplicatedSettings,
    events: ReplicatedEvents,
  ) {
    this.#file = file;
    this.#setting = setting;
    this.#settings = settings;
    this.#events = events;
    this.#names = partNames(this.#name);
    const { path, expected } = file;
    this.#agreement = new Agreement(targets, { path, expected, ...settings });
  }

  /** All that take part, for the report. */
  get replicas(): readonly Replica[] {
    return this.#agreement.replicas;
  }

  /**
   * @returns the file; or the only server that has it, when there is nothing to compare it with: it is to be
   *   fetched from that one in the ordinary way
   * @throws DrayError; "not-found" when nobody has it
   */
  async run(): Promise<FetchedFile | { alone: Replica }> {
    try {
      const identity = await this.#agreement.reach();
      this.#tellOutsiders();
      const [only, ...more] = identity.whole;
      if (identity.kind === "plain" && only !== undefined && more.length === 0) {
        const alone = this.replicas[only]!;
        if (!this.#hasPartOfOthers(alone, identity.facts)) return { alone };
      }
      return await this.#bring(identity);
    } catch (error) {
      if (this.#settings.signal.aborted) throw new DrayError("interrupted", "stopped");
      throw asDrayError(error);
    } finally {
      this.#agreement.inquiry.close();
      for (const replica of this.replicas) {
        replica.client?.close();
        replica.client = undefined;
      }
      await this.#park();
    }
  }

  get #name(): string {
    return this.#file.components.at(-1)!;
  }

  get #needsSum(): boolean {
    return this.#setting.withSums || this.#file.expected !== undefined;
  }

  /** What is there of it cannot be gone on with in the ordinary way, but may be used when it is compared. */
  #hasPartOfOthers({ shown: origin }: Replica, { sizeBytes, mtimeUs }: WholeFileFacts): boolean {
    using directory = this.#setting.root.hold(this.#file.components.slice(0, -1), true);
    const version = { origin, path: this.#file.path, sizeBytes, mtimeUs };
    return findJournal(directory, this.#names, version).startedOver !== undefined;
  }

  #tellOutsiders(): void {
    for (const replica of this.replicas) {
      const error = this.#agreement.inquiry.errorOf(replica);
      if (error !== undefined) {
        replica.status = error.retryable ? "unreachable" : "refused";
        replica.error = error.message;
        this.#events.replica(replica, "unreachable", error.message);
      } else if (replica.isOut) this.#events.replica(replica, "left", replica.error);
    }
  }

  async #bring(identity: Agreed): Promise<FetchedFile> {
    const { sizeBytes, mtimeUs, mode } = factsOf(identity);
    const root = identity.kind === "manifest" ? identity.manifest.root : undefined;
    const { expected } = this.#file;
    if (root !== undefined && expected !== undefined && expected !== root)
      throw unexpectedSum(expected, root, "nothing was fetched");
    const directory = this.#setting.root.hold(this.#file.components.slice(0, -1), true);
    this.#directory = directory;
    this.#lock = PartLock.take(directory.entry(this.#names.lock));
    if (standingFile(directory, this.#name, { sizeBytes, mtimeUs, mode }) === "same") {
      const sha256 = this.#needsSum
        ? await this.#setting.sums.ofWhole(directory.entry(this.#name))
        : undefined;
      const wanted = expected ?? root;
      if (wanted === undefined || sha256 === undefined || sha256 === wanted) {
        removeJournalWithoutPart(directory, this.#names);
        return { outcome: "unchanged", sizeBytes, sha256, backup: undefined };
      }
    }
    const version = { origin: SEVERAL_SERVERS, path: this.#file.path, sizeBytes, mtimeUs };
    const part = PartFile.salvage(directory, this.#names, version);
    this.#part = part;
    try {
      const sha256 = await this.#fill(identity, part, directory);
      const rightSum = expected ?? root;
      if (rightSum !== undefined && sha256 !== undefined && sha256 !== rightSum) {
        await part.discard();
        this.#part = undefined;
        throw unexpectedSum(rightSum, sha256, "what came was removed");
      }
      const executable = (mode & 0o111) !== 0;
      const { overwrite } = this.#setting;
      const backup = await part.publish({ name: this.#name, mtimeUs, executable, overwrite });
      this.#part = undefined;
      return { outcome: "fetched", sizeBytes, sha256, backup };
    } catch (error) {
      if (this.#part !== undefined && part.coveredBytes > 0)
        this.#events.kept({ partName: this.#names.part, bytes: part.coveredBytes, sizeBytes });
      throw error;
    }
  }

  /** Brings all that is missing. @returns the sum, if it is wanted */
  async #fill(identity: Agreed, part: PartFile, directory: ContainedDirectory): Promise<string | undefined> {
    const { sizeBytes } = part.version;
    let sum: GrowingSum | undefined;
    try {
      sum = this.#needsSum ? this.#setting.sums.ofGrowing(part.path, sizeBytes) : undefined;
      using seed = SeedFile.open(directory, this.#name);
      const job = new FillJob(identity, part, sum, {
        file: this.#file,
        setting: this.#setting,
        settings: this.#settings,
        agreement: this.#agreement,
        seed,
        replica: (replica, what, why) => this.#events.replica(replica, what, why),
      });
      await job.prepare();
      for (;;) {
        await job.bringMissing();
        const sha256 = await sum?.result();
        const damaged = sum === undefined || sha256 !== undefined ? [] : sum.takeDamaged();
        if (damaged.length === 0) return sha256;
        this.#damagedPieces += damaged.length;
        if (this.#damagedPieces > MAX_DAMAGED_PIECES)
          throw new DrayError(
            "storage",
            "the disk gives back other bytes than were written, again and again",
          );
        for (const { offset } of damaged) job.lose(offset);
      }
    } finally {
      sum?.close();
    }
  }

  async #park(): Promise<void> {
    try {
      await this.#part?.park();
    } finally {
      this.#part = undefined;
      try {
        this.#lock?.release();
      } finally {
        this.#lock = undefined;
        this.#directory?.[Symbol.dispose]();
        this.#directory = undefined;
      }
    }
  }
}

function factsOf(identity: Agreed): { sizeBytes: number; mtimeUs: number; mode: number } {
  return identity.kind === "manifest" ? identity.manifest : identity.facts;
}
