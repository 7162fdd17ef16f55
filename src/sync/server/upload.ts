import { type DrayError, asDrayError } from "../../errors/dray-error.ts";
import { NO_MD5, SYNC_STATUS } from "../../wire/sync-messages.ts";
import type { Hasher, Md5, RunningDigest, TreePath } from "../ports.ts";
import type { StagedFile } from "../staging.ts";
import { type ChunkAnswer, Strikes } from "./strikes.ts";

/** Chunks up to this are hashed on the spot if they come in one piece. */
const INLINE_BYTES = 64 * 1024;
/** The digest of the whole file follows in steps of at least this, so that tiny chunks cost no message to a thread each. */
const WHOLE_STEP_BYTES = 1024 * 1024;
/** A peer that is this far ahead of the hashing waits. */
const AHEAD_BYTES = 16 * 1024 * 1024;

export interface UploadLimits {
  readonly maxChunkBytes: number;
  readonly maxFileBytes: number;
}

/** What an upload needs, and whom it tells. */
export interface UploadSetting {
  readonly hasher: Hasher;
  readonly limits: UploadLimits;
  /**
   * Whether the Close will be held against the digest of the whole file, and refused if it is not that. Then chunks that take
   * long to hash are not hashed by themselves as well, and may come without a digest: that would halve the rate, and find
   * nothing more.
   */
  readonly isCheckedWhole: boolean;
  stage(): StagedFile;
  /** The disk could not take it. */
  failed(error: DrayError): void;
  /** The peer is too far ahead of the hashing: it has to wait until the promise is kept. */
  isAhead(until: Promise<unknown>): void;
}

/** One file that a connection is sending, chunk by chunk, into a staged file (decisions 4, 5 and 11). */
export class Upload {
  readonly name: string;
  readonly path: TreePath;
  readonly startedMs: number;
  /** A delivery of the same file to the same client ran in the meantime: who knows what it has now. */
  isOverlapped = false;
  readonly #setting: UploadSetting;
  readonly #strikes = new Strikes();
  #staged: StagedFile | undefined;
  /** Moves when a chunk is refused: those behind it, which were meant to follow it, are refused as well. */
  #generation = 0;
  #goodBytes = 0;
  #goodChunks = 0;
  #firstMd5: Md5 | undefined;
  #whole: RunningDigest | undefined;
  #wholeBytes = 0;
  #current: RunningDigest | undefined;
  /** Verdicts come in the order of the chunks. */
  #verdicts: Promise<void> | undefined;
  #isOver = false;

  constructor(name: string, path: TreePath, startedMs: number, setting: UploadSetting) {
    this.name = name;
    this.path = path;
    this.startedMs = startedMs;
    this.#setting = setting;
  }

  get sizeBytes(): number {
    return this.#goodBytes;
  }

  /** Why a chunk of this size cannot be meant here; undefined if it can. */
  sizeProblem(sizeBytes: number): string | undefined {
    const { maxChunkBytes } = this.#setting.limits;
    const positionBytes = this.#staged?.sizeBytes ?? 0;
    if (sizeBytes > maxChunkBytes)
      return `a chunk of ${sizeBytes} bytes is over the limit of ${maxChunkBytes}`;
    return sizeBytes === 0 && positionBytes > 0 ? "a chunk without data in the middle of a file" : undefined;
  }

  badSize(): ChunkAnswer {
    return this.#strikes.badSize();
  }

  /** Why the file may not grow by this much; undefined if it may. */
  growthProblem(sizeBytes: number): string | undefined {
    const { maxFileBytes } = this.#setting.limits;
    const wanted = (this.#staged?.sizeBytes ?? 0) + sizeBytes;
    return wanted > maxFileBytes ? `it is over the limit of ${maxFileBytes} bytes` : undefined;
  }

  begin(sizeBytes: number, md5: Md5): IncomingChunk {
    const fromBytes = this.#staged?.sizeBytes ?? 0;
    return {
      fromBytes,
      sizeBytes,
      md5,
      generation: this.#generation,
      running: undefined,
      computed: undefined,
      isFailed: false,
      isTrusted: false,
    };
  }

  /** @param data valid only during the call */
  add(chunk: IncomingChunk, data: Uint8Array): void {
    if (this.#isOver || chunk.isFailed || chunk.generation !== this.#generation) return;
    try {
      this.#staged ??= this.#setting.stage();
      const atBytes = this.#staged.sizeBytes;
      this.#staged.append(data);
      const isBare = this.#setting.isCheckedWhole && isSameMd5(chunk.md5, NO_MD5);
      if (!isBare && data.length === chunk.sizeBytes && data.length <= INLINE_BYTES) {
        chunk.computed = this.#setting.hasher.md5(data);
        return;
      }
      if (this.#setting.isCheckedWhole) {
        chunk.isTrusted = true;
        return this.#followWhole(this.#staged.sizeBytes, WHOLE_STEP_BYTES);
      }
      if (chunk.running === undefined) {
        chunk.running = this.#setting.hasher.begin();
        this.#current = chunk.running;
      }
      chunk.running.addRange(this.#staged.file, atBytes, data.length);
      this.#holdBack(chunk.running);
    } catch (error) {
      this.#fail(chunk, error);
    }
  }

  /** All data of a chunk has come. `answer` is told in the order of the chunks, perhaps at once. */
  end(chunk: IncomingChunk, answer: (answer: ChunkAnswer) => void): void {
    if (chunk.sizeBytes === 0) chunk.computed = this.#setting.hasher.md5(EMPTY);
    const { running, computed } = chunk;
    if (this.#verdicts === undefined && running === undefined) return answer(this.#judge(chunk, computed));
    // A digest that was let go of answers no more.
    const isNeeded = !this.#isOver && !chunk.isFailed && chunk.generation === this.#generation;
    const digest = running !== undefined && isNeeded ? running.digest() : Promise.resolve(computed);
    const before = this.#verdicts ?? Promise.resolve();
    const verdict = Promise.all([digest, before])
      .then(([md5]) => this.#judge(chunk, md5))
      // Of a chunk that was cut off again the bytes are gone, too.
      .catch((error: unknown) =>
        chunk.generation === this.#generation ? this.#fail(chunk, error) : this.#judge(chunk, undefined),
      )
      .then((given) => {
        running?.close();
        if (this.#current === running) this.#current = undefined;
        answer(given);
      });
    this.#verdicts = verdict;
    void verdict.then(() => {
      if (this.#verdicts === verdict) this.#verdicts = undefined;
    });
  }

  /**
   * When every chunk has its verdict.
   * @returns the whole file and its digest; undefined when the upload is over
   * @throws DrayError, a system error
   */
  async complete(): Promise<{ staged: StagedFile; md5: Md5; sizeBytes: number } | undefined> {
    while (this.#verdicts !== undefined) await this.#verdicts;
    if (this.#isOver) return undefined;
    this.#staged ??= this.#setting.stage();
    const md5 = await this.#wholeMd5(this.#staged);
    if (this.#isOver) return undefined;
    return { staged: this.#staged, md5, sizeBytes: this.#goodBytes };
  }

  /** Ends it; what is staged goes unless somebody has published it. */
  drop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Not closed at once: somebody waits for the answers to what was sent before.
    if (this.#current !== undefined) closeWhenDone(this.#current);
    if (this.#whole !== undefined) closeWhenDone(this.#whole);
    this.#staged?.discard();
    this.#staged = undefined;
  }

  #judge(chunk: IncomingChunk, md5: Md5 | undefined): ChunkAnswer {
    if (this.#isOver) return OFF;
    if (chunk.isFailed) return OFF;
    // Not a strike: the sender could not know.
    if (chunk.generation !== this.#generation) return { code: SYNC_STATUS.badChecksum, isEnd: false };
    if (!chunk.isTrusted && (md5 === undefined || !isSameMd5(md5, chunk.md5))) {
      this.#generation++;
      try {
        this.#staged?.cutBack(chunk.fromBytes);
      } catch (error) {
        return this.#fail(chunk, error);
      }
      return this.#strikes.badChecksum();
    }
    this.#goodBytes = chunk.fromBytes + chunk.sizeBytes;
    this.#goodChunks++;
    if (this.#goodChunks === 1) this.#firstMd5 = chunk.isTrusted ? undefined : md5;
    else this.#followWhole(this.#goodBytes, WHOLE_STEP_BYTES);
    return this.#strikes.good();
  }

  #followWhole(toBytes: number, atLeastBytes: number): void {
    if (this.#staged === undefined || toBytes - this.#wholeBytes < atLeastBytes) return;
    this.#whole ??= this.#setting.hasher.begin();
    this.#whole.addRange(this.#staged.file, this.#wholeBytes, toBytes - this.#wholeBytes);
    this.#wholeBytes = toBytes;
    this.#holdBack(this.#whole);
  }

  async #wholeMd5(staged: StagedFile): Promise<Md5> {
    if (this.#goodChunks === 0) return this.#setting.hasher.md5(EMPTY);
    if (this.#goodChunks === 1 && this.#firstMd5 !== undefined) return this.#firstMd5;
    if (this.#whole === undefined && this.#goodBytes <= INLINE_BYTES) {
      const bytes = new Uint8Array(this.#goodBytes);
      staged.file.read(bytes, 0);
      return this.#setting.hasher.md5(bytes);
    }
    this.#followWhole(this.#goodBytes, 1);
    const md5 = await this.#whole!.digest();
    this.#whole!.close();
    return md5;
  }

  #holdBack(running: RunningDigest): void {
    // What was added so far is hashed when this digest is there.
    if (running.pendingBytes > AHEAD_BYTES) this.#setting.isAhead(running.digest());
  }

  #fail(chunk: IncomingChunk, error: unknown): ChunkAnswer {
    chunk.isFailed = true;
    if (!this.#isOver) {
      this.drop();
      this.#setting.failed(asDrayError(error));
    }
    return OFF;
  }
}

/** A chunk whose data is coming. */
export interface IncomingChunk {
  readonly fromBytes: number;
  readonly sizeBytes: number;
  readonly md5: Md5;
  readonly generation: number;
  running: RunningDigest | undefined;
  computed: Md5 | undefined;
  isFailed: boolean;
  /** Not hashed by itself. */
  isTrusted: boolean;
}

/** The one refusal that every client obeys (decision 19). */
const OFF: ChunkAnswer = { code: SYNC_STATUS.fileLocked, isEnd: true };
const EMPTY = new Uint8Array(0);

function closeWhenDone(running: RunningDigest): void {
  const close = (): void => running.close();
  running.digest().then(close, close);
}

export function isSameMd5(one: Md5, other: Md5): boolean {
  for (let index = 0; index < 16; index++) if (one[index] !== other[index]) return false;
  return true;
}
