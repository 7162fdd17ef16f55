import { DrayError } from "../errors/dray-error.ts";
import { type DigestKind, DigestChain, digestBytes, digestMatches } from "../wire/digest.ts";
import type { Message } from "../wire/messages.ts";

/** What the server says of the file before it sends it. */
export interface FileHead {
  sizeBytes: number;
  mtimeUs: number;
  mode: number;
  /** The range that follows: what was asked for, cut to the file. */
  offset: number;
  lengthBytes: number;
}

/** What was asked for; it may reach beyond the file's end. */
export interface RequestedRange {
  offset: number;
  length: number;
}

/** Takes the pieces of one file in order. Every call may throw: the fetch then fails with that error. */
export interface FileReceiver {
  head(head: FileHead): void;
  /** One verified piece, valid only during the call. */
  piece(bytes: Uint8Array): void;
  /**
   * All announced bytes came and were verified.
   * @param chain the digest chain over the pieces
   * @param pieceBytes the length of every piece but the last
   */
  complete(chain: Uint8Array, pieceBytes: number): void;
}

/**
 * The answer to one FETCH, message by message: FILE, DATA…, END, in this order and adding up, or an
 * error. Pure but for the receiver's own work.
 */
export class FetchReply {
  readonly #digest: DigestKind;
  readonly #range: RequestedRange;
  readonly #receiver: FileReceiver;
  readonly #chain: DigestChain;
  #expectedBytes: number | undefined;
  #receivedBytes = 0;
  #pieceBytes = 0;

  constructor(digest: DigestKind, range: RequestedRange, receiver: FileReceiver) {
    this.#digest = digest;
    this.#range = range;
    this.#receiver = receiver;
    this.#chain = new DigestChain(digest);
  }

  /** Payload bytes so far, for progress. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /**
   * @returns whether the answer is complete
   * @throws DrayError "integrity" for a digest or length that does not match, "protocol" for a
   *   message that has no place here, and whatever the receiver throws
   */
  take(message: Message): boolean {
    if (message.type === "file") {
      if (this.#expectedBytes !== undefined) throw outOfPlace("file");
      this.#expectedBytes = message.length;
      const { size, mtimeUs, mode, offset, length } = message;
      if (
        offset !== Math.min(this.#range.offset, size) ||
        length !== Math.min(this.#range.length, size - offset)
      ) {
        throw new DrayError("protocol", "the peer sends another range of the file than it was asked for");
      }
      this.#receiver.head({ sizeBytes: size, mtimeUs, mode, offset, lengthBytes: length });
      return false;
    }
    if (this.#expectedBytes === undefined) throw outOfPlace(message.type);
    if (message.type === "data") {
      this.#takePiece(message.payload, this.#expectedBytes);
      return false;
    }
    if (message.type !== "end") throw outOfPlace(message.type);
    if (message.length !== this.#expectedBytes || this.#receivedBytes !== this.#expectedBytes) {
      throw new DrayError(
        "integrity",
        `the peer announced ${this.#expectedBytes} bytes and sent ${this.#receivedBytes}`,
      );
    }
    if (Buffer.compare(message.chain, this.#chain.value) !== 0) {
      throw new DrayError("integrity", "the digest over the whole transfer does not match");
    }
    this.#receiver.complete(this.#chain.value, this.#pieceBytes);
    return true;
  }

  #takePiece(payload: Uint8Array, expectedBytes: number): void {
    const width = digestBytes(this.#digest);
    if (payload.length <= width) throw new DrayError("protocol", "the peer sent an empty piece");
    const digest = payload.subarray(0, width);
    const bytes = payload.subarray(width);
    if (this.#receivedBytes + bytes.length > expectedBytes) {
      throw new DrayError(
        "integrity",
        `the peer sent more than the ${expectedBytes} bytes that it announced`,
      );
    }
    this.#checkPieceLength(bytes.length, expectedBytes);
    if (!digestMatches(this.#digest, bytes, digest)) {
      throw new DrayError("integrity", `the piece at byte ${this.#receivedBytes} does not match its digest`);
    }
    this.#receivedBytes += bytes.length;
    this.#chain.add(digest);
    this.#receiver.piece(bytes);
  }

  /** All pieces but the last have one length, so that a digest chain can be computed again from a file. */
  #checkPieceLength(lengthBytes: number, expectedBytes: number): void {
    if (this.#receivedBytes === 0) this.#pieceBytes = lengthBytes;
    const isLast = this.#receivedBytes + lengthBytes === expectedBytes;
    if (lengthBytes > this.#pieceBytes || (lengthBytes < this.#pieceBytes && !isLast)) {
      throw new DrayError("protocol", "the peer sent pieces of different lengths");
    }
  }
}

function outOfPlace(type: string): DrayError {
  return new DrayError("protocol", `the peer sent "${type}" where it has no place`);
}
