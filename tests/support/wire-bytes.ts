import { createHash } from "node:crypto";

/**
 * The bytes of the dray protocol, written down a second time from its description and not with the
 * code of the product: what tests send is then really what the description says, or really not.
 */

export const FRAME = {
  hello: 1,
  welcome: 2,
  error: 3,
  ping: 4,
  pong: 5,
  list: 16,
  more: 17,
  entries: 18,
  listed: 19,
  fetch: 20,
  file: 21,
  data: 22,
  end: 23,
  sums: 24,
  digests: 25,
  order: 32,
  event: 33,
} as const;

const HEADER_BYTES = 16;
const MAGIC = 0x59415244;

export const KIND = { file: 0, directory: 1, symlink: 2, special: 3, unreadable: 4, unnameable: 5 } as const;

export type Digest = "xxh3" | "sha256";

export interface WireEntry {
  kind?: keyof typeof KIND;
  path: string | Uint8Array;
  size?: number;
  mtimeUs?: number;
  mode?: number;
  /** Where a symbolic link leads. */
  target?: string | Uint8Array;
}

/** @param claimedBytes the length in the header, if it is to be a lie */
export function frame(
  type: number,
  requestId: number,
  payload: Uint8Array,
  claimedBytes = payload.length,
): Buffer {
  const whole = Buffer.alloc(HEADER_BYTES + payload.length);
  whole.writeUInt32LE(claimedBytes, 4);
  whole.writeUInt8(type, 8);
  whole.writeUInt32LE(requestId, 12);
  whole.set(payload, HEADER_BYTES);
  whole.writeUInt32LE(Number(BigInt.asUintN(32, Bun.hash.xxHash3(whole.subarray(4)))), 0);
  return whole;
}

/** The type, the request's id and the payload of the first frame; undefined if it has not all come. */
export function readFrame(
  bytes: Buffer,
): { type: number; id: number; payload: Buffer; frameBytes: number } | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const frameBytes = HEADER_BYTES + bytes.readUInt32LE(4);
  if (bytes.length < frameBytes) return undefined;
  const payload = bytes.subarray(HEADER_BYTES, frameBytes);
  return { type: bytes.readUInt8(8), id: bytes.readUInt32LE(12), payload, frameBytes };
}

export function hello(versionMin = 1, versionMax = 1, token = ""): Buffer {
  const payload = [u32(MAGIC), u16(versionMin), u16(versionMax), u32(0), text(token), text("test")];
  return frame(FRAME.hello, 0, Buffer.concat(payload));
}

/** @param capabilities bits: 1 for files, 2 for orders */
export function welcome(version = 1, capabilities = 1): Buffer {
  const payload = [u32(MAGIC), u16(version), u32(capabilities), u32(256), text("test")];
  return frame(FRAME.welcome, 0, Buffer.concat(payload));
}

/** @param code the number on the wire */
export function errorFrame(requestId: number, code: number, message: string): Buffer {
  return frame(FRAME.error, requestId, Buffer.concat([u16(code), u32(0), text(message)]));
}

export function entries(requestId: number, listed: readonly WireEntry[]): Buffer {
  return frame(FRAME.entries, requestId, Buffer.concat(listed.map(entry)));
}

export function listed(requestId: number, files: number, directories: number, others: number): Buffer {
  return frame(FRAME.listed, requestId, Buffer.concat([i64(files), i64(directories), i64(others)]));
}

export interface FileFields {
  size: number;
  mtimeUs?: number;
  mode?: number;
  offset?: number;
  length?: number;
}

export function fileFrame(requestId: number, fields: FileFields): Buffer {
  const { size, mtimeUs = 0, mode = 0o644, offset = 0, length = size } = fields;
  return frame(
    FRAME.file,
    requestId,
    Buffer.concat([i64(size), i64(mtimeUs), u16(mode), i64(offset), i64(length)]),
  );
}

export function dataFrame(
  requestId: number,
  kind: Digest,
  bytes: Uint8Array,
  itsDigest = digest(kind, bytes),
): Buffer {
  return frame(FRAME.data, requestId, Buffer.concat([itsDigest, bytes]));
}

export function endFrame(requestId: number, length: number, itsChain: Uint8Array): Buffer {
  return frame(FRAME.end, requestId, Buffer.concat([i64(length), itsChain]));
}

export function listRequest(requestId: number, path: string, credit: number): Buffer {
  return frame(FRAME.list, requestId, Buffer.concat([u32(credit), text(path)]));
}

export function orderFrame(requestId: number, json: string): Buffer {
  return frame(FRAME.order, requestId, Buffer.from(json));
}

export function digest(kind: Digest, bytes: Uint8Array): Buffer {
  if (kind === "sha256") return createHash("sha256").update(bytes).digest();
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(Bun.hash.xxHash3(bytes));
  return value;
}

/** The chain over the digests of all pieces, in order. */
export function chain(kind: Digest, pieces: readonly Uint8Array[]): Buffer {
  let value: Buffer = Buffer.alloc(kind === "sha256" ? 32 : 8);
  for (const piece of pieces) value = digest(kind, Buffer.concat([value, digest(kind, piece)]));
  return value;
}

/** The bytes cut into pieces of so many. */
export function piecesOf(bytes: Uint8Array, pieceBytes: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.subarray(at, at + pieceBytes));
  return pieces;
}

function entry(item: WireEntry): Buffer {
  const { kind = "file", path, size = 0, mtimeUs = 0, mode = 0o644, target = "" } = item;
  return Buffer.concat([Buffer.of(KIND[kind]), u16(mode), i64(size), i64(mtimeUs), text(path), text(target)]);
}

function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([u16(bytes.length), bytes]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function i64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes;
}
