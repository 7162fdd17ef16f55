import { DrayError } from "../errors/dray-error.ts";
import { type DigestKind, DigestChain, digestBytes, digestMatches } from "../wire/digest.ts";

/**
 * Whether the DATA and END of one file add up: pieces of one length, each behind a digest that it
 * matches, as many bytes as were announced, and the chain over all of them. Pure.
 */
export class BodyCheck {
  readonly #digest: DigestKind;
  readonly #expectedBytes: number;
  readonly #chain: DigestChain;
  #receivedBytes = 0;
  #pieceBytes = 0;

  constructor(digest: DigestKind, expectedBytes: number) {
    this.#digest = digest;
    this.#expectedBytes = expectedBytes;
    this.#chain = new DigestChain(digest);
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** The length of every piece but the last. */
  get pieceBytes(): number {
    return this.#pieceBytes;
  }

  /** A view of the chain over the pieces so far. */
  get chain(): Uint8Array {
    return this.#chain.value;
  }

  /**
   * The next piece out of the payload of DATA.
   * @returns views into the payload
   * @throws DrayError "integrity" for a digest or length that does not match, "protocol" for a
   *   payload that is no piece
   */
  piece(payload: Uint8Array): { bytes: Uint8Array; digest: Uint8Array } {
    const width = digestBytes(this.#digest);
    if (payload.length <= width) throw new DrayError("protocol", "the peer sent an empty piece");
    const digest = payload.subarray(0, width);
    const bytes = payload.subarray(width);
    if (this.#receivedBytes + bytes.length > this.#expectedBytes) {
      throw new DrayError(
        "integrity",
        `the peer sent more than the ${this.#expectedBytes} bytes that it announced`,
      );
    }
    this.#checkPieceLength(bytes.length);
    if (!digestMatches(this.#digest, bytes, digest)) {
      throw new DrayError("integrity", `the piece at byte ${this.#receivedBytes} does not match its digest`);
    }
    this.#receivedBytes += bytes.length;
    this.#chain.add(digest);
    return { bytes, digest };
  }

  /** @throws DrayError "integrity" unless all that was announced has come, and END says the same */
  end(lengthBytes: number, chain: Uint8Array): void {
    if (lengthBytes !== this.#expectedBytes || this.#receivedBytes !== this.#expectedBytes) {
      throw new DrayError(
        "integrity",
        `the peer announced ${this.#expectedBytes} bytes and sent ${this.#receivedBytes}`,
      );
    }
    if (Buffer.compare(chain, this.#chain.value) !== 0) {
      throw new DrayError("integrity", "the digest over the whole transfer does not match");
    }
  }

  /** All pieces but the last have one length, so that a digest chain can be computed again from a file. */
  #checkPieceLength(lengthBytes: number): void {
    if (this.#receivedBytes === 0) this.#pieceBytes = lengthBytes;
    const isLast = this.#receivedBytes + lengthBytes === this.#expectedBytes;
    if (lengthBytes > this.#pieceBytes || (lengthBytes < this.#pieceBytes && !isLast)) {
      throw new DrayError("protocol", "the peer sent pieces of different lengths");
    }
  }
}
