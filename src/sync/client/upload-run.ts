import { hasStatus } from "../../wire/sync-messages.ts";

/** What is to be sent next of one file. */
export type UploadStep =
  | { readonly step: "chunk"; readonly offsetBytes: number; readonly lengthBytes: number }
  | { readonly step: "close" }
  | { readonly step: "abort" };

export type UploadEnd =
  /** The server has it. */
  | "committed"
  /** 0x0040: somebody else writes it, or the server cannot store it. */
  | "locked"
  /** The server did not get it undamaged, and gave up. */
  | "damaged"
  /** A damaged chunk with others behind it: to be begun anew, one chunk at a time. */
  | "again"
  /** We broke it off. */
  | "stopped";

/** How often a chunk is sent that the server cannot read. It gives up by itself at the third. */
const MAX_STRIKES = 3;

/**
 * The sending of one file, pure: what is sent next, and what the answers mean. Statuses carry no name and
 * chunks no offset, so a chunk can be sent again only while it is alone on its way (decision 4).
 */
export class UploadRun {
  readonly #sizeBytes: number;
  readonly #chunkBytes: number;
  readonly #isWindowed: boolean;
  #nextBytes = 0;
  #confirmedBytes = 0;
  #onTheirWay = 0;
  #strikes = 0;
  #isEmptyChunkDue: boolean;
  #phase: "sending" | "closing" | "draining" | "ended" = "sending";
  #end: UploadEnd | undefined;
  #owesAbort = false;
  #hasSent = false;

  /** @param isWindowed the server is ours: chunks are sent without waiting for the answers to those before */
  constructor(sizeBytes: number, chunkBytes: number, isWindowed: boolean) {
    this.#sizeBytes = sizeBytes;
    this.#chunkBytes = chunkBytes;
    this.#isWindowed = isWindowed;
    this.#isEmptyChunkDue = sizeBytes === 0;
  }

  /** How it ended; undefined while answers are due, or an Abort. */
  get end(): UploadEnd | undefined {
    return this.#phase === "ended" ? this.#end : undefined;
  }

  get confirmedBytes(): number {
    return this.#confirmedBytes;
  }

  /** All goes in one chunk, and Close right behind it: should that be refused, Close is, too. */
  get isSingle(): boolean {
    return this.#isWindowed && this.#sizeBytes <= this.#chunkBytes;
  }

  /** No chunk is sent any more, and no Close. */
  get isBrokenOff(): boolean {
    return this.#phase === "draining" || (this.#phase === "ended" && this.#end !== "committed");
  }

  /** Undefined: nothing can be sent before an answer comes. Look again after each `sent`. */
  next(): UploadStep | undefined {
    if (this.#owesAbort) return { step: "abort" };
    if (this.#phase !== "sending") return undefined;
    if (this.#onTheirWay > 0 && !this.#isWindowed) return undefined;
    const lengthBytes = Math.min(this.#chunkBytes, this.#sizeBytes - this.#nextBytes);
    if (lengthBytes > 0 || this.#isEmptyChunkDue) {
      return { step: "chunk", offsetBytes: this.#nextBytes, lengthBytes };
    }
    return this.#onTheirWay > 0 && !this.isSingle ? undefined : { step: "close" };
  }

  sent(step: UploadStep): void {
    this.#hasSent = true;
    if (step.step === "abort") {
      this.#owesAbort = false;
      this.#endIfDrained();
    } else if (step.step === "close") {
      this.#phase = "closing";
    } else {
      this.#onTheirWay++;
      this.#nextBytes += step.lengthBytes;
      this.#isEmptyChunkDue = false;
    }
  }

  /** The answer to the oldest unanswered chunk, whose length was `lengthBytes`. */
  chunkAnswered(lengthBytes: number, code: number): void {
    this.#onTheirWay--;
    if (this.#phase === "closing") return this.#answeredBehindClose(lengthBytes, code);
    if (this.#phase === "draining") {
      // The lock came free while the rest was on its way, and the server takes that for a new file.
      if (isPlainOk(code) && this.#end === "locked") this.#owesAbort = true;
      return this.#endIfDrained();
    }
    if (hasStatus(code, "fileLocked")) return this.#drain("locked", false);
    if (hasStatus(code, "checksumAbort") || hasStatus(code, "sizeAbort")) {
      return this.#drain("damaged", this.#onTheirWay > 0);
    }
    if (hasStatus(code, "badChecksum") || hasStatus(code, "badSize")) return this.#refused(lengthBytes, code);
    if (!hasStatus(code, "ok")) return this.#drain("damaged", true);
    this.#strikes = 0;
    this.#confirmedBytes += lengthBytes;
  }

  /** A chunk that counted as sent never went out: the file was broken off before. */
  withdrawn(): void {
    this.#onTheirWay--;
    this.#endIfDrained();
  }

  /** The answer to Close; "none" when a server that does not answer it was given its time. */
  closeAnswered(code: number | "none"): void {
    this.#phase = "ended";
    if (code === "none" || isPlainOk(code)) this.#end = "committed";
    else if (hasStatus(code, "fileLocked")) this.#end ??= "locked";
    else this.#end ??= this.#isWindowed ? "again" : "damaged";
  }

  /** Breaks it off, as far as that can still be done. @returns false when Close is sent: its answer decides */
  stop(): boolean {
    if (this.#phase === "closing") return false;
    if (this.#phase === "sending") this.#drain("stopped", this.#hasSent);
    return true;
  }

  /** The answer to Close comes next, and is a refusal if this is one: but this one says why. */
  #answeredBehindClose(lengthBytes: number, code: number): void {
    if (isPlainOk(code)) this.#confirmedBytes += lengthBytes;
    else if (hasStatus(code, "fileLocked")) this.#end = "locked";
    else if (lengthBytes > 0) this.#end = "again";
  }

  #refused(lengthBytes: number, code: number): void {
    if (lengthBytes === 0 && hasStatus(code, "badSize")) return; // then a bare Close stands for an empty file
    if (this.#isWindowed) return this.#drain("again", true);
    this.#strikes++;
    if (this.#strikes > MAX_STRIKES) return this.#drain("damaged", true);
    this.#nextBytes = this.#confirmedBytes;
    this.#isEmptyChunkDue = this.#sizeBytes === 0;
  }

  #drain(end: UploadEnd, owesAbort: boolean): void {
    this.#phase = "draining";
    this.#end = end;
    this.#owesAbort = owesAbort;
    this.#endIfDrained();
  }

  #endIfDrained(): void {
    if (this.#phase === "draining" && this.#onTheirWay === 0 && !this.#owesAbort) this.#phase = "ended";
  }
}

function isPlainOk(code: number): boolean {
  return hasStatus(code, "ok") && (code & ~1) === 0;
}
