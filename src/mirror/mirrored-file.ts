import type { ContainedDirectory, ContainedRoot } from "../disk/contained-root.ts";
import { factsAt, isSameMtime } from "../disk/file-facts.ts";
import { Publication } from "../disk/publication.ts";
import { DrayError, isNotFound } from "../errors/dray-error.ts";
import type { FileHead, FileReceiver } from "../transfer/fetch-reply.ts";
import type { DistrustedSpan, JobItem, LaneSettings } from "./job.ts";

/** One file on its way from a source into the mirror's tree. */
export class MirroredFile implements FileReceiver {
  readonly #root: ContainedRoot;
  readonly #components: readonly string[];
  readonly #settings: LaneSettings;
  readonly #received: (bytes: number) => void;
  #directory: ContainedDirectory | undefined;
  #publication: Publication | undefined;
  #head: FileHead | undefined;

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

  /** The size that was published. */
  get sizeBytes(): number {
    return this.#head?.sizeBytes ?? 0;
  }

  head(head: FileHead): void {
    if (head.offset !== 0 || head.lengthBytes !== head.sizeBytes) {
      throw new DrayError("protocol", "the source sent a part of the file instead of all of it");
    }
    this.#head = head;
    this.#directory = this.#root.hold(this.#components.slice(0, -1), true);
    this.#publication = new Publication(this.#directory, this.#components.at(-1)!);
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

  /** Removes what is there of it. Does nothing after complete. */
  abandon(): void {
    this.#publication?.abandon();
    this.#publication = undefined;
    this.#release();
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
