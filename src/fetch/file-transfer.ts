import type { ContainedDirectory } from "../disk/contained-root.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { showTarget } from "../net/dial.ts";
import type { Client } from "../transfer/client.ts";
import type { FileHead, FileReceiver } from "../transfer/fetch-reply.ts";
import type { Extent } from "./extents.ts";
import type { GrowingSum } from "./file-sums.ts";
import {
  type FetchCounters,
  type FetchSetting,
  type FetchedFile,
  type WantedFile,
  unexpectedSum,
} from "./fetch-setting.ts";
import { type RemoteFacts, standingFile } from "./final-file.ts";
import { removeJournalWithoutPart } from "./found-part.ts";
import { PartFile } from "./part-file.ts";
import { PartLock } from "./part-lock.ts";
import { type PartNames, partNames } from "./part-names.ts";
import { SeedFile } from "./seed-file.ts";
import { findSeeds } from "./seeding.ts";
import { SMALL_FILE_BYTES, fetchSmall } from "./small-file.ts";

/** Of one file, how many pieces may read back otherwise than they were written before its disk is given up. */
const MAX_DAMAGED_PIECES = 16;

/** Below this, the rest of a file that failed on our side is cheaper to drain than a new connection. */
const DRAIN_LIMIT_BYTES = 1024 * 1024;

/** How a server refuses SUMS. */
const DOES_NOT_TELL: ReadonlySet<ErrorCode> = new Set(["unsupported", "refused", "usage"]);

/** One file on its way from a server into a directory, over as many connections as it takes. */
export class FileTransfer {
  readonly #file: WantedFile;
  readonly #setting: FetchSetting;
  readonly #names: PartNames;
  #directory: ContainedDirectory | undefined;
  #lock: PartLock | undefined;
  #part: PartFile | undefined;
  #sum: GrowingSum | undefined;
  #damagedPieces = 0;
  /** What stands in its place has been looked at. */
  #isSeeded = false;

  constructor(file: WantedFile, setting: FetchSetting) {
    this.#file = file;
    this.#setting = setting;
    this.#names = partNames(this.#name);
  }

  /** What is kept of it for a later attempt, if anything is. */
  get kept(): { partName: string; bytes: number; sizeBytes: number } | undefined {
    const part = this.#part;
    if (part === undefined || part.coveredBytes === 0) return undefined;
    return { partName: this.#names.part, bytes: part.coveredBytes, sizeBytes: part.version.sizeBytes };
  }

  /**
   * Brings what is still missing, over this connection.
   * @param listed what the server said of the file already, if it did
   * @param progressed told of each verified piece
   * @throws DrayError; what came is kept for the next attempt, until `park` also for the next process
   */
  async attempt(client: Client, progressed: () => void, listed?: RemoteFacts): Promise<FetchedFile> {
    const remote = listed ?? (await askFacts(client, this.#file.path));
    const directory = (this.#directory ??= this.#setting.root.hold(this.#file.components.slice(0, -1), true));
    const isSmall = remote.sizeBytes <= SMALL_FILE_BYTES && this.#part === undefined;
    // Whoever had the lock before us may just have finished the file: look for it under the lock.
    if (!isSmall) this.#lock ??= PartLock.take(directory.entry(this.#names.lock));
    const there = standingFile(directory, this.#name, remote) === "same" && (await this.#unchanged(remote));
    if (there) return there;
    if (isSmall) this.#setting.started(this.#file.path, remote.sizeBytes, 0);
    if (isSmall) return fetchSmall(client, this.#file, directory, this.#setting, progressed);
    await this.#fetchMissing(client, directory, remote, progressed);
    return this.#publish(remote);
  }

  /** Lets everything go; what is there stays for a later attempt. */
  async park(): Promise<void> {
    this.#sum?.close();
    this.#sum = undefined;
    try {
      await this.#part?.park();
    } finally {
      this.#part = undefined;
      this.#release();
    }
  }

  get #name(): string {
    return this.#file.components.at(-1)!;
  }

  /** What stands in its place is this version. A sum that was expected is the last word on that. */
  async #unchanged({ sizeBytes }: RemoteFacts): Promise<FetchedFile | undefined> {
    const { expected } = this.#file;
    const needsSum = this.#setting.withSums || expected !== undefined;
    const sha256 = needsSum
      ? await this.#setting.sums.ofWhole(this.#directory!.entry(this.#name))
      : undefined;
    if (expected !== undefined && sha256 !== expected) return undefined;
    if (this.#lock !== undefined) removeJournalWithoutPart(this.#directory!, this.#names);
    await this.park();
    return { outcome: "unchanged", sizeBytes, sha256, backup: undefined };
  }

  async #fetchMissing(
    client: Client,
    directory: ContainedDirectory,
    remote: RemoteFacts,
    progressed: () => void,
  ): Promise<void> {
    const { path } = this.#file;
    const part = await this.#partFor(client, directory, remote);
    await this.#seed(client, part, directory, remote);
    for (;;) {
      for (const gap of part.gaps()) {
        const receiver = new PartReceiver(part, gap, this.#sum, this.#setting.counters, progressed);
        const { offset, lengthBytes: length } = gap;
        try {
          await client.fetch({ path, offset, length, delayMs: 0, digest: "xxh3" }, receiver);
        } catch (error) {
          if (client.isOpen && length > DRAIN_LIMIT_BYTES) {
            client.close(new DrayError("closed", "the connection was given up with a large file under way"));
          }
          throw error;
        }
      }
      if (this.#sum === undefined || (await this.#sum.result()) !== undefined) return;
      this.#forgetDamaged(part, this.#sum.takeDamaged());
    }
  }

  /** Takes from an older file of the same name what the server still has at the same place. */
  async #seed(
    client: Client,
    part: PartFile,
    directory: ContainedDirectory,
    remote: RemoteFacts,
  ): Promise<void> {
    if (this.#isSeeded) return;
    using seed = SeedFile.open(directory, this.#name);
    const { counters } = this.#setting;
    if (seed !== undefined && seed.sizeBytes > SMALL_FILE_BYTES) {
      const seeding = { path: this.#file.path, remote, seed, gaps: part.gaps() };
      try {
        await findSeeds(client, seeding, (offset, bytes, digest) => {
          part.write(offset, bytes, digest);
          this.#sum?.add({ offset, lengthBytes: bytes.length, digest });
          counters.seededBytes += bytes.length;
          counters.doneBytes += bytes.length;
        });
      } catch (error) {
        // A server that does not tell is no reason not to fetch.
        if (!client.isOpen || !DOES_NOT_TELL.has(asDrayError(error).code)) throw error;
      }
    }
    this.#isSeeded = true;
  }

  async #partFor(client: Client, directory: ContainedDirectory, remote: RemoteFacts): Promise<PartFile> {
    const { sizeBytes, mtimeUs } = remote;
    const had = this.#part?.version;
    if (this.#part !== undefined && had?.sizeBytes === sizeBytes && had.mtimeUs === mtimeUs)
      return this.#part;
    if (this.#part !== undefined) {
      this.#setting.counters.doneBytes -= this.#part.coveredBytes;
      this.#sum?.close();
      await this.#part.park();
      this.#part = undefined;
    }
    const version = { origin: showTarget(client.target), path: this.#file.path, sizeBytes, mtimeUs };
    const part = await PartFile.open(directory, this.#names, version);
    this.#part = part;
    const { counters } = this.#setting;
    counters.doneBytes += part.coveredBytes;
    if (had === undefined) counters.resumedBytes += part.coveredBytes;
    this.#setting.started(this.#file.path, sizeBytes, part.coveredBytes);
    if (part.startedOver !== undefined) this.#setting.startedOver(this.#file.path, part.startedOver);
    const needsSum = this.#setting.withSums || this.#file.expected !== undefined;
    this.#sum = needsSum ? this.#setting.sums.ofGrowing(part.path, sizeBytes) : undefined;
    for (const piece of part.resumed) this.#sum?.add(piece);
    return part;
  }

  #forgetDamaged(part: PartFile, damaged: readonly Extent[]): void {
    this.#damagedPieces += damaged.length;
    if (this.#damagedPieces > MAX_DAMAGED_PIECES) {
      throw new DrayError("storage", "the disk gives back other bytes than were written, again and again");
    }
    for (const extent of damaged) {
      part.lose(extent);
      this.#setting.counters.doneBytes -= extent.lengthBytes;
    }
  }

  async #publish({ sizeBytes, mtimeUs, mode }: RemoteFacts): Promise<FetchedFile> {
    const sha256 = await this.#sum?.result();
    const { expected } = this.#file;
    if (expected !== undefined && sha256 !== expected) {
      await this.#part!.discard();
      this.#part = undefined;
      await this.park();
      throw unexpectedSum(expected, sha256, "what came was removed");
    }
    const backup = await this.#part!.publish({
      name: this.#name,
      mtimeUs,
      executable: (mode & 0o111) !== 0,
      overwrite: this.#setting.overwrite,
    });
    this.#part = undefined;
    await this.park();
    return { outcome: "fetched", sizeBytes, sha256, backup };
  }

  #release(): void {
    try {
      this.#lock?.release();
    } finally {
      this.#lock = undefined;
      this.#directory?.[Symbol.dispose]();
      this.#directory = undefined;
    }
  }
}

/** What the server says of a file: asks for none of its bytes. */
export async function askFacts(client: Client, path: string): Promise<RemoteFacts> {
  let facts: RemoteFacts | undefined;
  await client.fetch(
    { path, offset: 0, length: 0, delayMs: 0, digest: "xxh3" },
    { head: (head) => (facts = head), piece: () => {}, complete: () => {} },
  );
  return facts!;
}

/** Takes one missing run of bytes. */
class PartReceiver implements FileReceiver {
  readonly #part: PartFile;
  readonly #sum: GrowingSum | undefined;
  readonly #counters: FetchCounters;
  readonly #progressed: () => void;
  #position: number;

  constructor(
    part: PartFile,
    gap: Extent,
    sum: GrowingSum | undefined,
    counters: FetchCounters,
    progressed: () => void,
  ) {
    this.#part = part;
    this.#position = gap.offset;
    this.#sum = sum;
    this.#counters = counters;
    this.#progressed = progressed;
  }

  head({ sizeBytes, mtimeUs }: FileHead): void {
    const { version } = this.#part;
    if (sizeBytes !== version.sizeBytes || mtimeUs !== version.mtimeUs)
      throw new DrayError("changed", "the file changed while it was being fetched");
  }

  piece(bytes: Uint8Array, digestBytes: Uint8Array): void {
    this.#counters.transferredBytes += bytes.length;
    const digest = new DataView(digestBytes.buffer, digestBytes.byteOffset, 8).getBigUint64(0, true);
    this.#part.write(this.#position, bytes, digest);
    this.#sum?.add({ offset: this.#position, lengthBytes: bytes.length, digest });
    this.#position += bytes.length;
    this.#counters.doneBytes += bytes.length;
    this.#progressed();
  }

  complete(): void {}
}
