import { DrayError } from "../errors/dray-error.ts";

/**
 * Frames of the dray protocol (docs/PROTOCOL.md, "Frames"): a header of 16 bytes, then the payload.
 *
 *    0  u32 LE  check: the low half of XXH3-64 over all that follows in the frame
 *    4  u32 LE  payload length in bytes
 *    8  u8      type
 *    9  u8      flags, zero
 *   10  u16 LE  reserved, zero
 *   12  u32 LE  request id, zero where a frame belongs to the connection
 *
 * The check is there because TCP's is weak: a damaged name in a list or a request would bring the
 * wrong file as surely as damaged contents.
 */
export const FRAME_HEADER_BYTES = 16;
const CHECKED_FROM = 4;

/** Completes a frame whose payload lies behind `offset + FRAME_HEADER_BYTES`: writes the header before it. */
export function sealFrame(
  target: Uint8Array,
  offset: number,
  type: number,
  requestId: number,
  payloadBytes: number,
): void {
  writeU32(target, offset + 4, payloadBytes);
  target[offset + 8] = type;
  target[offset + 9] = 0;
  target[offset + 10] = 0;
  target[offset + 11] = 0;
  writeU32(target, offset + 12, requestId);
  writeU32(target, offset, checkOf(target, offset, FRAME_HEADER_BYTES + payloadBytes));
}

/** Gives a complete frame to another request. */
export function readdressFrame(
  target: Uint8Array,
  offset: number,
  requestId: number,
  frameBytes: number,
): void {
  writeU32(target, offset + 12, requestId);
  writeU32(target, offset, checkOf(target, offset, frameBytes));
}

function checkOf(bytes: Uint8Array, offset: number, frameBytes: number): number {
  const checked = bytes.subarray(offset + CHECKED_FROM, offset + frameBytes);
  return Number(Bun.hash.xxHash3(checked) & 0xffff_ffffn);
}

function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
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

  /** @throws DrayError "protocol" for a header that is malformed or over its limit, "integrity" for a wrong check. */
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
      if (available < frameBytes) return this.#keep(chunk, position, chunk.length, frameBytes);
      handOut(chunk, position, frameBytes, onFrame);
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
      handOut(this.#gathered, 0, frameBytes, onFrame);
    }
    return end;
  }

  #frameBytes(bytes: Uint8Array, offset: number): number {
    const type = bytes[offset + 8]!;
    const payloadBytes = readU32(bytes, offset + 4);
    if ((bytes[offset + 9]! | bytes[offset + 10]! | bytes[offset + 11]!) !== 0) {
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

/** @throws DrayError "integrity" when the frame was damaged on its way */
function handOut(bytes: Uint8Array, offset: number, frameBytes: number, onFrame: FrameHandler): void {
  if (readU32(bytes, offset) !== checkOf(bytes, offset, frameBytes)) {
    throw new DrayError("integrity", "a message was damaged on its way");
  }
  onFrame(
    bytes[offset + 8]!,
    readU32(bytes, offset + 12),
    bytes.subarray(offset + FRAME_HEADER_BYTES, offset + frameBytes),
  );
}
