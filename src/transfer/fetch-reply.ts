import { DrayError } from "../errors/dray-error.ts";
import type { DigestKind } from "../wire/digest.ts";
import type { Message } from "../wire/messages.ts";
import { BodyCheck } from "./body-check.ts";

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
  /** One verified piece and the digest that it matched, both valid only during the call. */
  piece(bytes: Uint8Array, digest: Uint8Array): void;
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
  #check: BodyCheck | undefined;

  constructor(digest: DigestKind, range: RequestedRange, receiver: FileReceiver) {
    this.#digest = digest;
    this.#range = range;
    this.#receiver = receiver;
  }

  /** Payload bytes so far, for progress. */
  get receivedBytes(): number {
    return this.#check?.receivedBytes ?? 0;
  }

  /**
   * @returns whether the answer is complete
   * @throws DrayError "integrity" for a digest or length that does not match, "protocol" for a
   *   message that has no place here, and whatever the receiver throws
   */
  take(message: Message): boolean {
    if (message.type === "file") {
      if (this.#check !== undefined) throw outOfPlace("file");
      const { size, mtimeUs, mode, offset, length } = message;
      this.#check = new BodyCheck(this.#digest, length);
      if (
        offset !== Math.min(this.#range.offset, size) ||
        length !== Math.min(this.#range.length, size - offset)
      ) {
        throw new DrayError("protocol", "the peer sends another range of the file than it was asked for");
      }
      this.#receiver.head({ sizeBytes: size, mtimeUs, mode, offset, lengthBytes: length });
      return false;
    }
    if (this.#check === undefined) throw outOfPlace(message.type);
    if (message.type === "data") {
      const { bytes, digest } = this.#check.piece(message.payload);
      this.#receiver.piece(bytes, digest);
      return false;
    }
    if (message.type !== "end") throw outOfPlace(message.type);
    this.#check.end(message.length, message.chain);
    this.#receiver.complete(this.#check.chain, this.#check.pieceBytes);
    return true;
  }
}

function outOfPlace(type: string): DrayError {
  return new DrayError("protocol", `the peer sent "${type}" where it has no place`);
}
