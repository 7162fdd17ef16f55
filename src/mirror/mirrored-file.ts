import type { ContainedDirectory, ContainedRoot } from "../disk/contained-root.ts";
import { type PartIdentity, Publication } from "../disk/publication.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { FileHead, FileReceiver } from "../transfer/fetch-reply.ts";
import type { FetchedVersion, JobItem, LaneSettings } from "./job.ts";
import { PieceChain } from "./piece-chain.ts";

/** Files over this size are gone on with after an interruption: smaller ones are one piece. */
const RESUMABLE_BYTES = 256 * 1024;

/** One file on its way from a source into the mirror's tree, with one request or with several in order. */
export class MirroredFile implements FileReceiver {
  readonly #root: ContainedRoot;
  readonly #components: readonly string[];
  readonly #settings: LaneSettings;
  readonly #received: (bytes: number) => void;
  #directory: ContainedDirectory | undefined;
  #publication: Publication | undefined;
  #head: FileHead | undefined;
  /** Over what was written, where it comes with several requests, or was begun by an earlier attempt. */
  #chain: PieceChain | undefined;
  #version: FetchedVersion | undefined;
  /** Whether one answer brings all of it. */
  #isOneAnswer = false;
  #isComplete = false;
  #resumedItem: JobItem | undefined;

  /** @param received told of each piece, for progress */
  constructor(
    root: ContainedRoot,
    components: readonly string[],
    settings: LaneSettings,
    received: (bytes: number) => void,
  ) {
    this.#root = root;
    this.#components = components;
    this.#settings = settings;
    this.#received = received;
  }

  /**
   * Takes up what an earlier attempt left of the version that was listed.
   * @returns how many bytes of it are there: from there on it is to be fetched
   */
  takeUp(item: JobItem): number {
    if (!this.#canResume(item.sizeBytes)) return 0;
    this.#directory = this.#root.hold(this.#components.slice(0, -1), true);
    this.#publication = Publication.resume(this.#directory, this.#partOf(item));
    if (this.#publication === undefined) {
      this.#release();
      return 0;
    }
    const { writtenBytes } = this.#publication;
    const { distrusted } = this.#settings;
    if (
      writtenBytes > item.sizeBytes ||
      (distrusted !== undefined && this.#publication.wasWrittenIn(distrusted))
    ) {
      this.abandon();
      return 0;
    }
    this.#resumedItem = item;
    this.#chain = new PieceChain(this.#settings.digest);
    this.#publication.reread((bytes) => this.#chain!.add(bytes));
    return writtenBytes;
  }

  /** The size that was published, or is being received. */
  get sizeBytes(): number {
    return this.#head?.sizeBytes ?? 0;
  }

  /** Whether the source has said what it sends. */
  get isBegun(): boolean {
    return this.#head !== undefined;
  }

  /** Where the next request goes on. */
  get writtenBytes(): number {
    return this.#publication?.writtenBytes ?? 0;
  }

  /** Whether it is visible under its name. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** What came, once it is complete; undefined when no chain is known that covers all of it. */
  get version(): FetchedVersion | undefined {
    return this.#version;
  }

  head(head: FileHead): void {
    const { sizeBytes, mtimeUs } = head;
    const begun = this.#head ?? this.#resumedItem;
    if (begun !== undefined && (begun.sizeBytes !== sizeBytes || begun.mtimeUs !== mtimeUs)) {
      throw new DrayError("changed", "the file changed since a part of it was fetched");
    }
    if (head.offset !== this.writtenBytes) {
      throw new DrayError("protocol", "the source sent another part of the file than is missing");
    }
    this.#head = head;
    if (this.#publication !== undefined) return;
    this.#isOneAnswer = head.lengthBytes === sizeBytes;
    if (!this.#isOneAnswer) this.#chain = new PieceChain(this.#settings.digest);
    this.#directory = this.#root.hold(this.#components.slice(0, -1), true);
    const part = this.#canResume(sizeBytes) ? this.#partOf(head) : undefined;
    this.#publication = Publication.begin(this.#directory, this.#name, part);
  }

  piece(bytes: Uint8Array): void {
    this.#received(bytes.length);
    this.#publication!.write(bytes);
    this.#chain?.add(bytes);
  }

  /** One request is answered: makes the file visible, if nothing of it is missing. */
  complete(chain: Uint8Array, pieceBytes: number): void {
    const { sizeBytes, mtimeUs, mode } = this.#head!;
    if (this.writtenBytes < sizeBytes) return;
    const { digest: kind, isStrict, verifyWritten } = this.#settings;
    // Undefined for what was broken off: nobody has seen all of it.
    const written =
      this.#chain !== undefined
        ? { kind, chain: this.#chain.value, pieceBytes: this.#chain.pieceBytes }
        : this.#isOneAnswer
          ? { kind, chain, pieceBytes }
          : undefined;
    this.#publication!.commit({
      mtimeUs,
      executable: (mode & 0o111) !== 0,
      sync: isStrict,
      readBack: verifyWritten ? written : undefined,
    });
    this.#publication = undefined;
    this.#isComplete = true;
    this.#release();
    if (written === undefined) return;
    const digests = { pieceBytes: written.pieceBytes, chain: Buffer.from(written.chain).toString("hex") };
    this.#version = { sizeBytes, mtimeUs, mode, digest: kind, ...digests };
  }

  /** The answer was broken off; another request goes on with it, or begins anew where that cannot be. */
  brokenOff(): void {
    this.#isOneAnswer = false;
    if (this.#publication === undefined || !this.#settings.verifyWritten || this.#chain !== undefined) return;
    this.abandon();
    this.#head = undefined;
  }

  /** Leaves what is there of a large file for a later attempt. Does nothing after complete. */
  park(): void {
    const version = this.#head ?? this.#resumedItem;
    const isWorthIt = version !== undefined && this.#canResume(version.sizeBytes);
    if (this.#publication === undefined || !isWorthIt || this.#publication.writtenBytes === 0)
      return this.abandon();
    this.#publication.park(this.#partOf(version), this.#settings.isStrict);
    this.#publication = undefined;
    this.#release();
  }

  /** Removes what is there of it. Does nothing after complete. */
  abandon(): void {
    this.#publication?.abandon();
    this.#publication = undefined;
    this.#release();
  }

  /** Reading back what was written is only possible for what is written in one go. */
  #canResume(sizeBytes: number): boolean {
    return sizeBytes > RESUMABLE_BYTES && !this.#settings.verifyWritten;
  }

  get #name(): string {
    return this.#components.at(-1)!;
  }

  #partOf({ sizeBytes, mtimeUs }: { sizeBytes: number; mtimeUs: number }): PartIdentity {
    return { name: this.#name, sizeBytes, mtimeUs };
  }

  #release(): void {
    this.#directory?.[Symbol.dispose]();
    this.#directory = undefined;
  }
}
