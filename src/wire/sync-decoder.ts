import { DrayError } from "../errors/dray-error.ts";
import {
  MAX_SYNC_NAME_BYTES,
  MD5_BYTES,
  SYNC_TYPE,
  type SyncEvent,
  type SyncNamedType,
} from "./sync-messages.ts";

const TYPE_BYTES = 2;
const STATUS_BYTES = 4;
/** Where a chunk has its size; the others have none, and their name's length stands here. */
const SIZE_AT = TYPE_BYTES + MD5_BYTES;
const SIZE_BYTES = 4;
const NAME_LENGTH_BYTES = 2;

const NAMED_TYPES = new Map<number, SyncNamedType>([
  [SYNC_TYPE.close, "close"],
  [SYNC_TYPE.abort, "abort"],
  [SYNC_TYPE.delete, "delete"],
  [SYNC_TYPE.request, "request"],
]);

const SMALL_HEAD_BYTES = 256;
const MAX_HEAD_BYTES = SIZE_AT + SIZE_BYTES + NAME_LENGTH_BYTES + MAX_SYNC_NAME_BYTES;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Called for each event, in the order of the bytes. */
export type SyncEventHandler = (event: SyncEvent) => void;

/**
 * Cuts a byte stream into the events of the sync protocol, however it was split. Data is passed on
 * as it comes; only the head of a message (at most 24 + 65,535 bytes) is ever kept, in a buffer that grows with
 * what has arrived.
 */
export class SyncDecoder {
  #head = new Uint8Array(SMALL_HEAD_BYTES);
  #headBytes = 0;
  /** Data of the current chunk that is still to come. */
  #dataBytes = 0;
  #stopped = false;

  /** Whether the stream stands inside a message. At its end: whether it was cut off. */
  get isInsideMessage(): boolean {
    return this.#headBytes > 0 || this.#dataBytes > 0;
  }

  /** No further event is handed out, not even from the bytes that are being cut up. */
  stop(): void {
    this.#stopped = true;
    this.#head = new Uint8Array(0);
    this.#headBytes = 0;
    this.#dataBytes = 0;
  }

  /**
   * A throw, of the decoder or of `onEvent`, stops the decoder: the place in the stream is lost.
   * @throws DrayError "protocol" for an unknown type or an empty name
   */
  push(bytes: Uint8Array, onEvent: SyncEventHandler): void {
    try {
      for (let position = 0; !this.#stopped && position < bytes.length;) {
        position =
          this.#dataBytes > 0
            ? this.#passData(bytes, position, onEvent)
            : this.#takeHead(bytes, position, onEvent);
      }
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  #passData(bytes: Uint8Array, position: number, onEvent: SyncEventHandler): number {
    const end = Math.min(bytes.length, position + this.#dataBytes);
    this.#dataBytes -= end - position;
    onEvent({ type: "chunkData", data: bytes.subarray(position, end) });
    if (this.#dataBytes === 0 && !this.#stopped) onEvent({ type: "chunkEnd" });
    return end;
  }

  /** Hands out the message whose head begins here, or has begun before; keeps what is not a whole head. */
  #takeHead(bytes: Uint8Array, position: number, onEvent: SyncEventHandler): number {
    if (this.#headBytes === 0) {
      const rest = bytes.subarray(position);
      const neededBytes = headBytesOf(rest, rest.length);
      if (rest.length >= neededBytes) {
        this.#handOut(rest.subarray(0, neededBytes), onEvent);
        return position + neededBytes;
      }
    }
    // How long a head is becomes known in up to three steps: its type, its name's length, its name.
    for (;;) {
      const neededBytes = headBytesOf(this.#head, this.#headBytes);
      if (this.#headBytes === neededBytes) break;
      const end = Math.min(bytes.length, position + neededBytes - this.#headBytes);
      this.#keep(bytes, position, end);
      position = end;
      if (this.#headBytes < neededBytes) return position;
    }
    const head = this.#head.subarray(0, this.#headBytes);
    this.#headBytes = 0;
    // One long name must not cost its memory for as long as the connection lives.
    if (this.#head.length > 4096) this.#head = new Uint8Array(SMALL_HEAD_BYTES);
    this.#handOut(head, onEvent);
    return position;
  }

  #handOut(head: Uint8Array, onEvent: SyncEventHandler): void {
    const type = readU16(head, 0);
    if (type === SYNC_TYPE.status) return onEvent({ type: "status", code: readU16(head, TYPE_BYTES) });
    const named = NAMED_TYPES.get(type);
    const md5 = head.slice(TYPE_BYTES, SIZE_AT);
    const rawName = head.slice(nameLengthAt(type) + NAME_LENGTH_BYTES);
    const name = decodeName(rawName);
    if (named !== undefined) return onEvent({ type: named, name, rawName, md5 });
    const sizeBytes = readU32(head, SIZE_AT);
    this.#dataBytes = sizeBytes;
    onEvent({ type: "chunkHead", name, rawName, md5, sizeBytes });
    if (sizeBytes === 0 && !this.#stopped) onEvent({ type: "chunkEnd" });
  }

  #keep(bytes: Uint8Array, start: number, end: number): void {
    const neededBytes = this.#headBytes + end - start;
    if (neededBytes > this.#head.length) {
      const grown = new Uint8Array(Math.min(neededBytes * 2, MAX_HEAD_BYTES));
      grown.set(this.#head.subarray(0, this.#headBytes));
      this.#head = grown;
    }
    this.#head.set(bytes.subarray(start, end), this.#headBytes);
    this.#headBytes = neededBytes;
  }
}

/**
 * How many bytes of a head must be there for the next step, given its first `knownBytes`; equal to
 * the head's length once that is known.
 * @throws DrayError "protocol" for an unknown type or an empty name
 */
function headBytesOf(head: Uint8Array, knownBytes: number): number {
  if (knownBytes < TYPE_BYTES) return TYPE_BYTES;
  const type = readU16(head, 0);
  if (type === SYNC_TYPE.status) return STATUS_BYTES;
  if (type !== SYNC_TYPE.chunk && !NAMED_TYPES.has(type)) throw unknownType(type);
  const nameAt = nameLengthAt(type) + NAME_LENGTH_BYTES;
  if (knownBytes < nameAt) return nameAt;
  const nameBytes = readU16(head, nameLengthAt(type));
  if (nameBytes === 0) throw new DrayError("protocol", "the peer sent a message with an empty name");
  return nameAt + nameBytes;
}

function nameLengthAt(type: number): number {
  return type === SYNC_TYPE.chunk ? SIZE_AT + SIZE_BYTES : SIZE_AT;
}

function unknownType(type: number): DrayError {
  const swapped = ((type & 0xff) << 8) | (type >>> 8);
  const digits = `0x${type.toString(16).padStart(4, "0")}`;
  const hint =
    swapped === SYNC_TYPE.status || swapped === SYNC_TYPE.chunk || NAMED_TYPES.has(swapped)
      ? " (it seems to send its numbers big-endian; those of the sync protocol are little-endian)"
      : "";
  return new DrayError(
    "protocol",
    `the peer sent a message of type ${digits}, which the sync protocol does not have${hint}`,
  );
}

function decodeName(rawName: Uint8Array): string | undefined {
  try {
    return utf8.decode(rawName);
  } catch {
    return undefined;
  }
}

function readU16(bytes: Uint8Array, offset: number): number {
  return bytes[offset]! | (bytes[offset + 1]! << 8);
}

function readU32(bytes: Uint8Array, offset: number): number {
  return (readU16(bytes, offset) | (readU16(bytes, offset + 2) << 16)) >>> 0;
}
