import type { ContainedDirectory, ContainedRoot } from "../disk/contained-root.ts";
import { factsAt, isSameMtime } from "../disk/file-facts.ts";
import { type PartIdentity, Publication } from "../disk/publication.ts";
import { DrayError, isNotFound } from "../errors/dray-error.ts";
import type { FileHead, FileReceiver } from "../transfer/fetch-reply.ts";
import type { DistrustedSpan, JobItem, LaneSettings } from "./job.ts";

/** Files over this size are gone on with after an interruption: smaller ones are one piece. */
const RESUMABLE_BYTES = 256 * 1024;

/** One file on its way from a source into the mirror's tree. */
export class MirroredFile implements FileReceiver {
  readonly #root: ContainedRoot;
  readonly #components: readonly string[];
  readonly #settings: LaneSettings;
  readonly #received: (bytes: number) => void;
  #directory: ContainedDirectory | undefined;
  #publication: Publication | undefined;
  #head: FileHead | undefined;
  #resumedBytes = 0;
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
    this.#resumedBytes = writtenBytes;
    this.#resumedItem = item;
    return writtenBytes;
  }

  /** The size that was published, or is being received. */
  get sizeBytes(): number {
    return this.#head?.sizeBytes ?? 0;
  }

  head(head: FileHead): void {
    const { sizeBytes, mtimeUs } = head;
    const resumed = this.#resumedItem;
    if (resumed !== undefined && (resumed.sizeBytes !== sizeBytes || resumed.mtimeUs !== mtimeUs)) {
      throw new DrayError("changed", "the file changed since a part of it was fetched");
    }
    if (head.offset !== this.#resumedBytes || head.offset + head.lengthBytes !== sizeBytes) {
      throw new DrayError("protocol", "the source sent a part of the file instead of all of it");
    }
    this.#head = head;
    if (this.#publication !== undefined) return;
    this.#directory = this.#root.hold(this.#components.slice(0, -1), true);
    const part = this.#canResume(sizeBytes) ? this.#partOf(head) : undefined;
    this.#publication = Publication.begin(this.#directory, this.#name, part);
  }

  piece(bytes: Uint8Array): void {
    this.#received(bytes.length);
    this.#publication!.write(bytes);
  }

  complete(chain: Uint8Array, pieceBytes: number): void {
    const { mtimeUs, mode } = this.#head!;
    this.#publication!.commit({
      mtimeUs,
      executable: (mode & 0o111) !== 0,
      sync: this.#settings.isStrict,
      readBack: this.#settings.verifyWritten ? { kind: this.#settings.digest, chain, pieceBytes } : undefined,
    });
    this.#publication = undefined;
    this.#release();
  }

  /** Leaves what is there of a large file for a later attempt. Does nothing after complete. */
  park(): void {
    const version = this.#head ?? this.#resumedItem;
    const isWorthIt = version !== undefined && this.#canResume(version.sizeBytes);
    if (this.#publication === undefined || !isWorthIt || this.#publication.writtenBytes === 0)
      return this.abandon();
    this.#publication.park(this.#partOf(version));
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

/**
 * Whether the tree already holds this version: same size, modification time and executable bit, and
 * not from a span of time whose writes a crash may have taken back.
 * @throws a system error other than "not there"
 */
export function isUnchanged(
  root: ContainedRoot,
  components: readonly string[],
  item: JobItem,
  distrusted: DistrustedSpan | undefined,
): boolean {
  try {
    using directory = root.hold(components.slice(0, -1));
    const facts = factsAt(directory.entry(components.at(-1)!));
    if (facts === undefined || facts.kind !== "file") return false;
    if (distrusted !== undefined && facts.ctimeMs >= distrusted.fromMs && facts.ctimeMs <= distrusted.untilMs)
      return false;
    const isExecutable = (facts.mode & 0o111) !== 0;
    return (
      facts.sizeBytes === item.sizeBytes &&
      isSameMtime(facts.mtimeUs, item.mtimeUs) &&
      isExecutable === ((item.mode & 0o111) !== 0)
    );
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
