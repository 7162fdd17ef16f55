import { DrayError } from "../errors/dray-error.ts";

/**
 * Frames of the dray protocol (docs/PROTOCOL.md, "Frames"): a header of 12 bytes, then the payload.
 *
 *   0  u32 LE  payload length in bytes
 *   4  u8      type
 *   5  u8      flags, zero
 *   6  u16 LE  reserved, zero
 *   8  u32 LE  request id, zero where a frame belongs to the connection
 */
export const FRAME_HEADER_BYTES = 12;

export function writeFrameHeader(
  target: Uint8Array,
  offset: number,
  type: number,
  requestId: number,
  payloadBytes: number,
): void {
  target[offset] = payloadBytes;
  target[offset + 1] = payloadBytes >>> 8;
  target[offset + 2] = payloadBytes >>> 16;
  target[offset + 3] = payloadBytes >>> 24;
  target[offset + 4] = type;
  target[offset + 5] = 0;
  target[offset + 6] = 0;
  target[offset + 7] = 0;
  target[offset + 8] = requestId;
  target[offset + 9] = requestId >>> 8;
  target[offset + 10] = requestId >>> 16;
  target[offset + 11] = requestId >>> 24;
}

function readU32(bytes: Uint8Array, offset: number): number {
  return (
    (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>>
    0
  );
}

/**
 * Called once a frame. `payload` is a view that is only valid during the call: the decoder reuses
 * what is behind it.
 */
export type FrameHandler = (type: number, requestId: number, payload: Uint8Array) => void;

/**
 * Cuts a byte stream into frames, however it was split. A frame that lies whole inside one chunk
 * is handed out without a copy; any other is gathered in one buffer that grows with the bytes that
 * really arrived, never with what a header merely claims.
 */
export class FrameDecoder {
  readonly #limitOf: (type: number) => number;
  #gathered = new Uint8Array(256);
  #gatheredBytes = 0;
  #stopped = false;

  /**
   * @param limitOf the largest payload in bytes for a type; throws a DrayError for a type that this
   *   side does not take. Asked as soon as the header is complete, before any payload is kept.
   */
  constructor(limitOf: (type: number) => number) {
    this.#limitOf = limitOf;
  }

  /** Bytes of an unfinished frame. Zero at the end of a stream means that nothing was cut off. */
  get pendingBytes(): number {
    return this.#gatheredBytes;
  }

  /** No further frame is handed out, not even from the chunk that is being cut up. */
  stop(): void {
    this.#stopped = true;
    this.#gatheredBytes = 0;
  }

  /** @throws DrayError "protocol" for a header that is malformed or over its limit. */
  push(chunk: Uint8Array, onFrame: FrameHandler): void {
    let position = 0;
    while (!this.#stopped && position < chunk.length) {
      if (this.#gatheredBytes > 0) {
        position = this.#gather(chunk, position, onFrame);
        continue;
      }
      const available = chunk.length - position;
      if (available < FRAME_HEADER_BYTES) return this.#keep(chunk, position, chunk.length);
      const frameBytes = this.#frameBytes(chunk, position);
      if (available < frameBytes) return this.#keep(chunk, position, chunk.length);
      onFrame(
        chunk[position + 4]!,
        readU32(chunk, position + 8),
        chunk.subarray(position + FRAME_HEADER_BYTES, position + frameBytes),
      );
      position += frameBytes;
    }
  }

  /** Takes from the chunk what the gathered frame still lacks; returns the position behind it. */
  #gather(chunk: Uint8Array, position: number, onFrame: FrameHandler): number {
    if (this.#gatheredBytes < FRAME_HEADER_BYTES) {
      const end = Math.min(chunk.length, position + FRAME_HEADER_BYTES - this.#gatheredBytes);
      this.#keep(chunk, position, end);
      if (this.#gatheredBytes < FRAME_HEADER_BYTES) return end;
      position = end;
    }
    const frameBytes = this.#frameBytes(this.#gathered, 0);
    const end = Math.min(chunk.length, position + frameBytes - this.#gatheredBytes);
    this.#keep(chunk, position, end, frameBytes);
    if (this.#gatheredBytes === frameBytes) {
      this.#gatheredBytes = 0;
      const gathered = this.#gathered;
      onFrame(gathered[4]!, readU32(gathered, 8), gathered.subarray(FRAME_HEADER_BYTES, frameBytes));
    }
    return end;
  }

  #frameBytes(bytes: Uint8Array, offset: number): number {
    const type = bytes[offset + 4]!;
    const payloadBytes = readU32(bytes, offset);
    if ((bytes[offset + 5]! | bytes[offset + 6]! | bytes[offset + 7]!) !== 0) {
      throw new DrayError("protocol", "the peer sent bytes that are not a frame of the dray protocol");
    }
    const limitBytes = this.#limitOf(type);
    if (payloadBytes > limitBytes) {
      throw new DrayError(
        "protocol",
        `the peer announced a frame of type ${type} with ${payloadBytes} bytes, over the limit of ${limitBytes}`,
      );
    }
    return FRAME_HEADER_BYTES + payloadBytes;
  }

  #keep(chunk: Uint8Array, start: number, end: number, frameBytes = Number.MAX_SAFE_INTEGER): void {
    const neededBytes = this.#gatheredBytes + end - start;
    if (neededBytes > this.#gathered.length) {
      // At most twice what has arrived, and never more than the frame.
      const capacityBytes = Math.max(neededBytes, Math.min(frameBytes, neededBytes * 2));
      const grown = new Uint8Array(capacityBytes);
      grown.set(this.#gathered.subarray(0, this.#gatheredBytes));
      this.#gathered = grown;
    }
    this.#gathered.set(chunk.subarray(start, end), this.#gatheredBytes);
    this.#gatheredBytes = neededBytes;
  }
}
