/**
 * The messages of the sync protocol, as seed 003 fixes them; docs/SYNC-PROTOCOL.md has every byte.
 * All numbers are little-endian, there is no handshake and no version.
 */

/** Numbers of the message types. */
export const SYNC_TYPE = {
  chunk: 0x0001,
  status: 0x0002,
  close: 0x0003,
  abort: 0x0004,
  delete: 0x0005,
  request: 0x0006,
} as const;

/** Codes of a status message. They are bits: look at them with `hasStatus`. */
export const SYNC_STATUS = {
  ok: 0x0001,
  /** The digest of the chunk is not that of its bytes: send it again. */
  badChecksum: 0x0002,
  /** The size of the chunk makes no sense here: send it again. */
  badSize: 0x0004,
  /** Three bad digests in a row: the transfer is off. */
  checksumAbort: 0x0008,
  /** Three bad sizes in a row: the transfer is off. */
  sizeAbort: 0x0010,
  /** There is no file of the name that was to be deleted. */
  noFile: 0x0020,
  /** Somebody else is writing this file. */
  fileLocked: 0x0040,
  /** The receiver cannot open this file for writing. */
  fileInUse: 0x0080,
  keepAlive: 0x8000,
} as const;

export type SyncStatusName = keyof typeof SYNC_STATUS;

/** Longest name, in bytes of UTF-8: what the 16 bits of its length allow. */
export const MAX_SYNC_NAME_BYTES = 0xffff;
/** Most data bytes in one chunk: what the 32 bits of its size allow. Each side may set itself a lower limit. */
export const MAX_SYNC_CHUNK_BYTES = 0xffff_ffff;
export const MD5_BYTES = 16;
/** Stands where no digest is known, and in Abort, where none is looked at. Never write into it. */
export const NO_MD5: Uint8Array = new Uint8Array(MD5_BYTES);

/** The messages that are a head and nothing else, but for status. */
export type SyncNamedType = "close" | "abort" | "delete" | "request";

/**
 * What the decoder hands out. A chunk comes as its head, then its data in slices of whatever size
 * they arrived in, then its end; nothing else comes in between.
 */
export type SyncEvent =
  | ({ type: "chunkHead"; /** data that will follow, 0 to 2^32 - 1 */ sizeBytes: number } & SyncSubject)
  /** `data` is a view that is only valid during the call. */
  | { type: "chunkData"; data: Uint8Array }
  | { type: "chunkEnd" }
  | ({ type: SyncNamedType } & SyncSubject)
  /** `code` as it came, 16 bits: may hold several known bits, unknown ones, or none. */
  | { type: "status"; code: number };

/** What a message is about. */
export interface SyncSubject {
  /** Not checked beyond its encoding; undefined when its bytes are not UTF-8: refuse the message. */
  name: string | undefined;
  /** The name as it came, 1 to 65,535 bytes. */
  rawName: Uint8Array;
  /** 16 bytes: of the chunk's data in a chunk, of the whole file in the others; zeros if not known. */
  md5: Uint8Array;
}

export function hasStatus(code: number, name: SyncStatusName): boolean {
  return (code & SYNC_STATUS[name]) !== 0;
}

/** A status code for people, as in "fileLocked (0x0040)"; several bits are joined by "+". */
export function describeStatus(code: number): string {
  const names = Object.keys(SYNC_STATUS).filter((name) => hasStatus(code, name as SyncStatusName));
  const digits = code.toString(16).padStart(4, "0");
  return `${names.length > 0 ? names.join("+") : "unknown status"} (0x${digits})`;
}
