import { ByteWriter, textFieldBytes } from "./cursor.ts";
import { MAX_SYNC_CHUNK_BYTES, MD5_BYTES, SYNC_TYPE, type SyncNamedType } from "./sync-messages.ts";

/** A message that is a head and nothing else. */
export type SyncMessage =
  | { type: SyncNamedType; name: string; md5: Uint8Array }
  /** `code`: one of SYNC_STATUS. */
  | { type: "status"; code: number };

/**
 * One message, in bytes of its own.
 * @throws RangeError for a name that does not fit (empty, over 65,535 bytes, ill-formed) or a digest
 *   that is not 16 bytes long: a fault of the caller, never of the peer
 */
export function encodeSyncMessage(message: SyncMessage): Uint8Array {
  if (message.type === "status") {
    const writer = new ByteWriter(new Uint8Array(4));
    writer.u16(SYNC_TYPE.status);
    writer.u16(message.code);
    return writer.target;
  }
  const writer = new ByteWriter(new Uint8Array(2 + MD5_BYTES + nameFieldBytes(message.name)));
  writer.u16(SYNC_TYPE[message.type]);
  writeMd5(writer, message.md5);
  writer.text(message.name);
  return writer.target;
}

/**
 * What stands before the data of a chunk of this name: 24 bytes and the name.
 * @throws RangeError as encodeSyncMessage does
 */
export function chunkHeadBytes(name: string): number {
  return 2 + MD5_BYTES + 4 + nameFieldBytes(name);
}

/**
 * Writes a chunk's head at `offset`, so that the data can be read from its file straight behind it.
 * @param md5 of these `sizeBytes` bytes of data
 * @returns the position behind the head, where the data belongs
 * @throws RangeError as encodeSyncMessage does, or for a size over 32 bits
 */
export function writeChunkHead(
  target: Uint8Array,
  offset: number,
  name: string,
  md5: Uint8Array,
  sizeBytes: number,
): number {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > MAX_SYNC_CHUNK_BYTES) {
    throw new RangeError(`a chunk of ${sizeBytes} bytes does not fit into a message`);
  }
  nameFieldBytes(name);
  const writer = new ByteWriter(target, offset);
  writer.u16(SYNC_TYPE.chunk);
  writeMd5(writer, md5);
  writer.u32(sizeBytes);
  writer.text(name);
  return writer.position;
}

function writeMd5(writer: ByteWriter, md5: Uint8Array): void {
  if (md5.length !== MD5_BYTES) throw new RangeError(`an MD5 has 16 bytes, not ${md5.length}`);
  writer.bytes(md5);
}

function nameFieldBytes(name: string): number {
  if (name === "") throw new RangeError("a message needs a name");
  if (!name.isWellFormed()) throw new RangeError("a name that is not valid Unicode cannot be sent");
  return textFieldBytes(name);
}
