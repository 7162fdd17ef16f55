import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import { DigestChain, digestBytes } from "../wire/digest.ts";
import { type Message, dataFrameOverhead, sealDataFrame } from "../wire/messages.ts";
import type { FillResult, OutBuffer } from "./responder.ts";

export type PutRequest = Omit<Extract<Message, { type: "put" }>, "type">;

/** The file that is uploaded, open; `FileRead` is one. */
export interface UploadSource {
  /** Fills `target` from byte `offset` of the file. @throws DrayError "changed" when the file is shorter */
  readFully(target: Uint8Array, offset: number): void;
  /** @throws DrayError "changed" when somebody wrote to the file since it was opened */
  assertUnchanged(): void;
}

/** What one DATA message carries at most: large enough for full speed, small enough to lose. */
const PIECE_BYTES = 256 * 1024;
/** Enough for END. */
const END_ROOM_BYTES = 128;

/** The client's half of a PUT: announces the file, sends its bytes as soon as they may come, and END in any case. */
export class UploadSender {
  readonly requestId: number;
  readonly #request: PutRequest;
  readonly #source: UploadSource;
  readonly #sent: (bytes: number) => void;
  readonly #chain: DigestChain;
  #isAnnounced = false;
  #start: number | undefined;
  #position = 0;
  #isGivenUp = false;
  #isComplete = false;
  /** Why the file could not be read to its end: the server's own answer comes second to that. */
  error: DrayError | undefined;

  /** @param sent told of each piece, for progress */
  constructor(request: PutRequest, requestId: number, source: UploadSource, sent: (bytes: number) => void) {
    this.requestId = requestId;
    this.#request = request;
    this.#source = source;
    this.#sent = sent;
    this.#chain = new DigestChain(request.digest);
  }

  /** The server is ready for the bytes from `offset` on. */
  invite(offset: number): void {
    this.#start = offset;
    this.#position = offset;
  }

  /** The server has refused: nothing more is sent but END. */
  giveUp(): void {
    this.#isGivenUp = true;
  }

  get isInvited(): boolean {
    return this.#start !== undefined;
  }

  /** Whether END has left. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Puts what fits. With an empty buffer it puts something, waits for READY, or is done. */
  fill(out: OutBuffer): FillResult {
    if (!this.#isAnnounced) {
      const put = { type: "put", ...this.#request } as const;
      if (!out.fits(put)) return "more";
      out.put(put, this.requestId);
      this.#isAnnounced = true;
      if (this.#request.eager) this.invite(0);
    }
    if (this.#isGivenUp) return this.#end(out, true);
    if (this.#start === undefined) return "waiting";
    try {
      while (this.#position < this.#request.size) {
        if (!this.#piece(out)) return "more";
      }
      if (out.freeBytes < END_ROOM_BYTES) return "more";
      this.#source.assertUnchanged();
    } catch (error) {
      this.error = asDrayError(error);
      this.#isGivenUp = true;
    }
    return this.#end(out, this.#isGivenUp);
  }

  /** Reads the next piece straight into its frame. @returns false when there is no room for it */
  #piece(out: OutBuffer): boolean {
    const overheadBytes = dataFrameOverhead(this.#request.digest);
    const pieceBytes = Math.min(PIECE_BYTES, this.#request.size - this.#position);
    if (overheadBytes + pieceBytes > out.freeBytes) return false;
    const start = out.usedBytes + overheadBytes;
    this.#source.readFully(out.bytes.subarray(start, start + pieceBytes), this.#position);
    this.#chain.add(
      sealDataFrame(out.bytes, out.usedBytes, this.requestId, this.#request.digest, pieceBytes),
    );
    out.usedBytes = start + pieceBytes;
    this.#position += pieceBytes;
    this.#sent(pieceBytes);
    return true;
  }

  /** @param isBroken says a length that no body can have, so that the server does not take it for whole */
  #end(out: OutBuffer, isBroken: boolean): FillResult {
    if (out.freeBytes < END_ROOM_BYTES) return "more";
    const length = isBroken ? this.#request.size + 1 : this.#request.size - (this.#start ?? 0);
    const chain = isBroken ? new Uint8Array(digestBytes(this.#request.digest)) : this.#chain.value;
    out.put({ type: "end", length, chain }, this.requestId);
    this.#isComplete = true;
    return "done";
  }
}
