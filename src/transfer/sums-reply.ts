import { DrayError } from "../errors/dray-error.ts";
import { type DigestKind, DigestChain, digestBytes } from "../wire/digest.ts";
import type { Message } from "../wire/messages.ts";
import type { FileHead } from "./fetch-reply.ts";

/** Takes what a server says of a file's pieces. Every call may throw: the request then fails with that error. */
export interface SumsReceiver {
  head(head: FileHead): void;
  /** The digest of the next piece; valid only during the call. */
  digest(pieceDigest: Uint8Array): void;
}

/**
 * The answer to one SUMS, message by message: FILE, DIGESTS…, END, in this order and adding up, or an
 * error. Pure but for the receiver's own work.
 */
export class SumsReply {
  readonly #width: number;
  readonly #pieceBytes: number;
  readonly #receiver: SumsReceiver;
  readonly #chain: DigestChain;
  #sizeBytes: number | undefined;
  #digests = 0;

  constructor(digest: DigestKind, pieceBytes: number, receiver: SumsReceiver) {
    this.#width = digestBytes(digest);
    this.#pieceBytes = pieceBytes;
    this.#receiver = receiver;
    this.#chain = new DigestChain(digest);
  }

  /**
   * @returns whether the answer is complete
   * @throws DrayError "integrity" for digests that do not add up, "protocol" for a message that has
   *   no place here, and whatever the receiver throws
   */
  take(message: Message): boolean {
    if (message.type === "file" && this.#sizeBytes === undefined) {
      const { size: sizeBytes, mtimeUs, mode, offset, length: lengthBytes } = message;
      if (offset !== 0 || lengthBytes !== sizeBytes)
        throw new DrayError("protocol", "the peer sends the digests of a part instead of the whole file");
      this.#sizeBytes = sizeBytes;
      this.#receiver.head({ sizeBytes, mtimeUs, mode, offset, lengthBytes });
      return false;
    }
    if (this.#sizeBytes === undefined) throw outOfPlace(message.type);
    if (message.type === "digests") {
      this.#takeDigests(message.payload, this.#sizeBytes);
      return false;
    }
    if (message.type !== "end") throw outOfPlace(message.type);
    const isWhole =
      message.length === this.#sizeBytes && this.#digests === Math.ceil(this.#sizeBytes / this.#pieceBytes);
    if (!isWhole || Buffer.compare(message.chain, this.#chain.value) !== 0)
      throw new DrayError("integrity", "the digests of the file's pieces do not add up");
    return true;
  }

  #takeDigests(payload: Uint8Array, sizeBytes: number): void {
    if (payload.length === 0 || payload.length % this.#width !== 0)
      throw new DrayError("protocol", "the peer sent a cut digest");
    for (let at = 0; at < payload.length; at += this.#width) {
      if (this.#digests * this.#pieceBytes >= sizeBytes)
        throw new DrayError("integrity", "the peer sent more digests than the file has pieces");
      const digest = payload.subarray(at, at + this.#width);
      this.#digests++;
      this.#chain.add(digest);
      this.#receiver.digest(digest);
    }
  }
}

function outOfPlace(type: string): DrayError {
  return new DrayError("protocol", `the peer sent "${type}" where it has no place`);
}
