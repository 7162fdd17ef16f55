import { DrayError } from "../errors/dray-error.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const TWO_TO_32 = 0x1_0000_0000;

/** Writes little-endian fields one behind the other into bytes that are large enough. */
export class ByteWriter {
  readonly target: Uint8Array;
  readonly #view: DataView;
  /** The same bytes, for what writes a text without a view of its own for each. */
  #text: Buffer | undefined;
  position: number;

  constructor(target: Uint8Array, position = 0) {
    this.target = target;
    this.#view = new DataView(target.buffer, target.byteOffset, target.byteLength);
    this.position = position;
  }

  u8(value: number): void {
    this.target[this.position++] = value;
  }

  u16(value: number): void {
    this.#view.setUint16(this.position, value, true);
    this.position += 2;
  }

  u32(value: number): void {
    this.#view.setUint32(this.position, value, true);
    this.position += 4;
  }

  /** A safe integer in 64 bits, two's complement. */
  i64(value: number): void {
    const high = Math.floor(value / TWO_TO_32);
    this.#view.setUint32(this.position, value - high * TWO_TO_32, true);
    this.#view.setInt32(this.position + 4, high, true);
    this.position += 8;
  }

  bytes(value: Uint8Array): void {
    this.target.set(value, this.position);
    this.position += value.length;
  }

  /** Text of at most 65,535 bytes behind its length. */
  text(value: string): void {
    if (value === "") return this.u16(0);
    this.#text ??= Buffer.from(this.target.buffer, this.target.byteOffset, this.target.byteLength);
    const written = this.#text.write(value, this.position + 2);
    this.#view.setUint16(this.position, written, true);
    this.position += 2 + written;
  }
}

/** Bytes that `ByteWriter.text` takes for a text. @throws RangeError over 65,535 bytes. */
export function textFieldBytes(value: string): number {
  if (value === "") return 2;
  const bytes = Buffer.byteLength(value);
  if (bytes > 0xffff) throw new RangeError(`a text of ${bytes} bytes does not fit into a frame`);
  return 2 + bytes;
}

/** Reads what ByteWriter wrote. Every method throws a DrayError "protocol" rather than read too far. */
export class ByteReader {
  readonly #source: Uint8Array;
  readonly #view: DataView;
  /** The same bytes, for what reads a text without a view of its own for each. */
  #text: Buffer | undefined;
  #position = 0;

  constructor(source: Uint8Array) {
    this.#source = source;
    this.#view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  }

  get remainingBytes(): number {
    return this.#source.length - this.#position;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  /** @throws DrayError "protocol" beyond the integers that a double holds exactly. */
  i64(): number {
    const at = this.#advance(8);
    const value = this.#view.getInt32(at + 4, true) * TWO_TO_32 + this.#view.getUint32(at, true);
    if (!Number.isSafeInteger(value)) throw new DrayError("protocol", "the peer sent a number over 53 bits");
    return value;
  }

  /** A length or a position. */
  size(): number {
    const value = this.i64();
    if (value < 0) throw new DrayError("protocol", "the peer sent a negative size");
    return value;
  }

  /** A view, valid as long as the source is. */
  bytes(count: number): Uint8Array {
    const at = this.#advance(count);
    return this.#source.subarray(at, at + count);
  }

  text(): string {
    const lengthBytes = this.u16();
    if (lengthBytes === 0) return "";
    const at = this.#advance(lengthBytes);
    this.#text ??= Buffer.from(this.#source.buffer, this.#source.byteOffset, this.#source.byteLength);
    const text = this.#text.toString("utf8", at, at + lengthBytes);
    // Stands for bytes that are not UTF-8, unless it is meant.
    if (!text.includes("\u{FFFD}")) return text;
    try {
      return decoder.decode(this.#source.subarray(at, at + lengthBytes));
    } catch (cause) {
      throw new DrayError("protocol", "the peer sent a text that is not UTF-8", { cause });
    }
  }

  /** @throws DrayError "protocol" if bytes are left over. */
  end(): void {
    if (this.remainingBytes > 0) {
      throw new DrayError(
        "protocol",
        `the peer sent a message that is ${this.remainingBytes} bytes too long`,
      );
    }
  }

  #advance(count: number): number {
    const at = this.#position;
    if (this.remainingBytes < count)
      throw new DrayError("protocol", "the peer sent a message that is too short");
    this.#position += count;
    return at;
  }
}
