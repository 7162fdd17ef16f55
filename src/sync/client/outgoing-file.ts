import { chunkHeadBytes, writeChunkHead } from "../../wire/sync-encoder.ts";
import { NO_MD5 } from "../../wire/sync-messages.ts";
import type { Hasher, OpenFile, RunningDigest } from "../ports.ts";
import type { Awaited } from "./awaited-answers.ts";
import { md5Bytes, md5Text } from "./md5-text.ts";
import { UploadRun, type UploadEnd, type UploadStep } from "./upload-run.ts";

/** The file that is sent. */
export interface OutgoingSource {
  readonly file: OpenFile;
  /** @throws DrayError "changed" when somebody has written to it since it was opened, or it has another name now */
  verify(): void;
}

export interface OutgoingEvents {
  /** Something is ready that was not. */
  changed(): void;
  /** All chunks are confirmed. Close is sent when this resolves. @throws ends the upload */
  closing(md5: string): Promise<void>;
  /** A chunk needs no room any more. */
  gone(lengthBytes: number): void;
  confirmed(lengthBytes: number): void;
  /** Exactly once, last. */
  ended(end: UploadEnd, md5: string | undefined, error: unknown): void;
}

/** What can be sent now; `bytes` until the next look. */
export type Ready =
  | { readonly kind: "chunk"; readonly bytes: Uint8Array; readonly awaited: Awaited }
  | { readonly kind: "close"; readonly md5: Uint8Array; readonly awaited: Awaited }
  | { readonly kind: "abort"; readonly md5: Uint8Array };

interface Prepared {
  readonly step: UploadStep & { step: "chunk" };
  /** Head and data; undefined: read when they are sent, since nothing has to be known of them before. */
  readonly bytes: Uint8Array | undefined;
  isReady: boolean;
}

/** Chunks up to this size are hashed at once, on this thread. */
const INLINE_BYTES = 64 * 1024;
/** Reading and sending may be so far ahead of the digest of the whole. */
const AHEAD_BYTES = 32 * 1024 * 1024;

/** One file on its way out: read, hashed, and sent chunk by chunk as its run allows. */
export class OutgoingFile {
  readonly name: string;
  readonly #run: UploadRun;
  readonly #sizeBytes: number;
  /** Its chunks go without digests: that of the whole is enough for a server of ours. */
  readonly #isBare: boolean;
  readonly #source: OutgoingSource;
  readonly #hasher: Hasher;
  readonly #events: OutgoingEvents;
  readonly #prepared: Prepared[] = [];
  /** Of all bytes so far; not needed for a file of one chunk. */
  #whole: RunningDigest | undefined;
  #wholeBytes = 0;
  #md5: string | undefined;
  #close: "open" | "preparing" | "ready" = "open";
  #scratch = new Uint8Array(0);
  #isAhead = false;
  #error: unknown;
  #isEnded = false;

  constructor(
    file: { name: string; sizeBytes: number; chunkBytes: number; isWindowed: boolean },
    source: OutgoingSource,
    hasher: Hasher,
    events: OutgoingEvents,
  ) {
    this.name = file.name;
    this.#sizeBytes = file.sizeBytes;
    this.#run = new UploadRun(file.sizeBytes, file.chunkBytes, file.isWindowed);
    this.#isBare = file.isWindowed && !this.#run.isSingle;
    this.#source = source;
    this.#hasher = hasher;
    this.#events = events;
  }

  /** What can be sent now; it stays so until `take`. */
  ready(): Ready | undefined {
    const next = this.#run.next();
    if (next?.step === "abort") return { kind: "abort", md5: NO_MD5 };
    const first = this.#prepared[0];
    if (first?.isReady === false) return undefined;
    // The server keeps a file open from the first chunk on: what takes long here comes before.
    if (first !== undefined) {
      if (this.#run.isSingle && !this.#isCloseReady()) return undefined;
      // What cannot be read breaks the run off, and something else is ready then.
      return this.#readyChunk(first) ?? this.ready();
    }
    return next?.step === "close" && this.#isCloseReady() ? this.#readyClose() : undefined;
  }

  /** Of the chunk that `prepare` would read; undefined: none can be read now. */
  get nextLengthBytes(): number | undefined {
    if (this.#isAhead) return undefined;
    const next = this.#run.next();
    return next?.step === "chunk" ? next.lengthBytes : undefined;
  }

  /** Reads the next chunk and has it hashed. */
  prepare(): void {
    const step = this.#run.next();
    if (step?.step !== "chunk") return;
    this.#run.sent(step);
    const bytes = this.#isBare ? undefined : new Uint8Array(chunkHeadBytes(this.name) + step.lengthBytes);
    const prepared: Prepared = { step, bytes, isReady: bytes === undefined };
    this.#prepared.push(prepared);
    try {
      if (bytes === undefined) return this.#followWhole(step.offsetBytes, step.lengthBytes);
      const data = this.#read(bytes, step);
      if (step.lengthBytes <= INLINE_BYTES) this.#hashInline(prepared, data);
      else this.#hashOnThread(prepared);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** `ready` was sent. */
  take(ready: Ready): void {
    if (ready.kind === "chunk") this.#prepared.shift();
    else this.#run.sent({ step: ready.kind });
    if (ready.kind === "abort") this.#endIfOver();
    if (ready.kind === "close") this.#source.file.close();
  }

  /** @returns false when the server may have it already */
  stop(): boolean {
    const isStopped = this.#run.stop();
    this.#settle();
    return isStopped;
  }

  /** The connection is gone. */
  abandon(): void {
    this.#end("stopped");
  }

  #isCloseReady(): boolean {
    if (this.#close === "open") void this.#prepareClose();
    return this.#close === "ready";
  }

  #readyChunk(prepared: Prepared): Ready | undefined {
    const { lengthBytes } = prepared.step;
    const bytes = prepared.bytes ?? this.#bareChunk(prepared.step);
    if (bytes === undefined) return undefined;
    const answered = (code: number | "none"): void => {
      this.#events.gone(lengthBytes);
      const before = this.#run.confirmedBytes;
      this.#run.chunkAnswered(lengthBytes, code === "none" ? 0 : code);
      if (this.#run.confirmedBytes > before) this.#events.confirmed(lengthBytes);
      this.#settle();
    };
    return { kind: "chunk", bytes, awaited: { kind: "chunk", answered } };
  }

  #readyClose(): Ready {
    const answered = (code: number | "none"): void => {
      this.#run.closeAnswered(code);
      this.#endIfOver();
    };
    return { kind: "close", md5: md5Bytes(this.#md5), awaited: { kind: "close", answered } };
  }

  /** @returns undefined when it cannot be read, and the upload is over */
  #bareChunk(step: Prepared["step"]): Uint8Array | undefined {
    const sizeBytes = chunkHeadBytes(this.name) + step.lengthBytes;
    if (this.#scratch.length < sizeBytes) this.#scratch = new Uint8Array(sizeBytes);
    const bytes = this.#scratch.subarray(0, sizeBytes);
    try {
      this.#read(bytes, step);
      writeChunkHead(bytes, 0, this.name, NO_MD5, step.lengthBytes);
      return bytes;
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** Fills in the data behind the head. */
  #read(bytes: Uint8Array, { offsetBytes, lengthBytes }: Prepared["step"]): Uint8Array {
    const data = bytes.subarray(bytes.length - lengthBytes);
    if (this.#source.file.read(data, offsetBytes) < lengthBytes) this.#source.verify();
    return data;
  }

  /** The digest of the whole, of what is read twice: a difference shows, since somebody must have written. */
  #followWhole(offsetBytes: number, lengthBytes: number): void {
    if (offsetBytes !== this.#wholeBytes) return;
    const whole = (this.#whole ??= this.#hasher.begin());
    whole.addRange(this.#source.file, offsetBytes, lengthBytes);
    this.#wholeBytes += lengthBytes;
    if (this.#isAhead || whole.pendingBytes < AHEAD_BYTES) return;
    this.#isAhead = true;
    const goOn = (): void => {
      this.#isAhead = false;
      if (!this.#isEnded) this.#events.changed();
    };
    // Should it fail, Close does not come about.
    whole.digest().then(goOn, goOn);
  }

  #hashInline(prepared: Prepared, data: Uint8Array): void {
    const { offsetBytes, lengthBytes } = prepared.step;
    this.#hashed(prepared, this.#hasher.md5(data));
    if (lengthBytes === this.#sizeBytes || offsetBytes !== this.#wholeBytes) return;
    this.#whole ??= this.#hasher.begin();
    this.#whole.add(data);
    this.#wholeBytes += lengthBytes;
  }

  /** The thread reads the file by itself: what it saw and what is sent differ only if somebody writes, which shows. */
  #hashOnThread(prepared: Prepared): void {
    const { offsetBytes, lengthBytes } = prepared.step;
    const digest = this.#hasher.begin();
    digest.addRange(this.#source.file, offsetBytes, lengthBytes);
    if (lengthBytes !== this.#sizeBytes) this.#followWhole(offsetBytes, lengthBytes);
    digest
      .digest()
      .then(
        (md5) => this.#hashed(prepared, md5),
        (error: unknown) => this.#fail(error),
      )
      .finally(() => {
        digest.close();
        if (!this.#isEnded) this.#events.changed();
      });
  }

  #hashed(prepared: Prepared, md5: Uint8Array): void {
    const { lengthBytes } = prepared.step;
    writeChunkHead(prepared.bytes!, 0, this.name, md5, lengthBytes);
    prepared.isReady = true;
    if (lengthBytes === this.#sizeBytes) this.#md5 = md5Text(md5);
  }

  async #prepareClose(): Promise<void> {
    this.#close = "preparing";
    try {
      this.#md5 ??= md5Text(await this.#whole!.digest());
      if (this.#isEnded) return;
      await this.#events.closing(this.#md5);
      // Whoever wrote to it while it was being read has made a mixture of it.
      this.#source.verify();
      this.#close = "ready";
    } catch (error) {
      this.#fail(error);
    }
    if (!this.#isEnded) this.#events.changed();
  }

  #fail(error: unknown): void {
    this.#error ??= error;
    this.stop();
  }

  /** What was not sent when the run broke off will never be. */
  #settle(): void {
    if (this.#run.isBrokenOff) {
      for (const { step } of this.#prepared.splice(0)) {
        this.#run.withdrawn();
        this.#events.gone(step.lengthBytes);
      }
    }
    this.#endIfOver();
  }

  #endIfOver(): void {
    const end = this.#run.end;
    if (end !== undefined) this.#end(end);
  }

  #end(end: UploadEnd): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#whole?.close();
    this.#source.file.close();
    this.#events.ended(end, this.#md5, this.#error);
  }
}
