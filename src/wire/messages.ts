import { DrayError } from "../errors/dray-error.ts";
import { type ErrorCode, ERROR_CODES, codeFromWire } from "../errors/codes.ts";
import {
  type CachedEntry,
  cachedEntriesBytes,
  readCachedEntries,
  writeCachedEntries,
} from "./cached-entries.ts";
import { ByteReader, ByteWriter, textFieldBytes } from "./cursor.ts";
import { type DigestKind, digestBytes, writeDigest } from "./digest.ts";
import { type ListEntry, readEntries, entriesBytes, writeEntries } from "./entries.ts";
import { FRAME_HEADER_BYTES, sealFrame } from "./frame.ts";

/** The messages of the dray protocol, version 1. docs/PROTOCOL.md describes them byte by byte. */

export const MAGIC = 0x59415244; // "DRAY", little-endian
export const PROTOCOL_VERSION = 1;
/** Largest piece of a file in one DATA message. */
export const MAX_PIECE_BYTES = 1024 * 1024;
/** Digests in one DIGESTS message. */
const MAX_DIGESTS_BYTES = 4096;
export const MAX_ENTRIES_BYTES = 128 * 1024;
export const MAX_ORDER_BYTES = 256 * 1024;
export const MAX_EVENT_BYTES = 4 * 1024 * 1024;
/** Largest file whose bytes may follow their PUT at once. */
export const MAX_EAGER_BYTES = 256 * 1024;
/** A FETCH of this length asks for everything up to the end of the file. */
export const TO_END = Number.MAX_SAFE_INTEGER;

/** What a server offers, as bits of WELCOME. */
export const CAPABILITY = { content: 1, orders: 2, cache: 4, writes: 8, recall: 16 } as const;

export type Message =
  | {
      type: "hello";
      versionMin: number;
      versionMax: number;
      capabilities: number;
      token: Uint8Array;
      agent: string;
    }
  | { type: "welcome"; version: number; capabilities: number; maxRequests: number; agent: string }
  | { type: "error"; code: ErrorCode; retryAfterMs: number; message: string }
  | { type: "ping" }
  | { type: "pong" }
  /** Asks for all that lies at and below `path`; `credit` ENTRIES messages may come before the next MORE. */
  | { type: "list"; path: string; credit: number }
  | { type: "more"; credit: number }
  | { type: "entries"; entries: ListEntry[] }
  | { type: "listed"; files: number; directories: number; others: number }
  | { type: "fetch"; path: string; offset: number; length: number; delayMs: number; digest: DigestKind }
  | { type: "file"; size: number; mtimeUs: number; mode: number; offset: number; length: number }
  /** `payload` is digest and bytes in one, as they came: FETCH or PUT said of what kind the digest is. */
  | { type: "data"; payload: Uint8Array }
  | { type: "end"; length: number; chain: Uint8Array }
  /** Asks for the digests of a file's pieces instead of the file. */
  | { type: "sums"; path: string; pieceBytes: number; digest: DigestKind }
  /** The same; digests that the server knows from an earlier time will do. */
  | { type: "recall"; path: string; pieceBytes: number; digest: DigestKind }
  /** Digests of the next pieces, one behind the other. */
  | { type: "digests"; payload: Uint8Array }
  | { type: "order"; json: string }
  | { type: "event"; json: string }
  /** Announces a file; its bytes follow as DATA and END, at once if `eager`, otherwise after READY. */
  | {
      type: "put";
      path: string;
      size: number;
      mtimeUs: number;
      mode: number;
      digest: DigestKind;
      eager: boolean;
    }
  /** The server has the first `offset` bytes of the announced file: the rest may come. */
  | { type: "ready"; offset: number }
  | { type: "done"; count: number }
  | { type: "remove"; path: string }
  | { type: "rename"; from: string; to: string }
  /** Asks what the server holds in memory. */
  | { type: "cache" }
  | { type: "cached"; entries: CachedEntry[] };

export type MessageType = Message["type"];

const DIGEST_NUMBERS: Record<DigestKind, number> = { xxh3: 1, sha256: 2 };
/** Bit 0 of the flags of PUT. */
const EAGER_FLAG = 1;

const FRAMES: Record<MessageType, { number: number; maxBytes: number }> = {
  hello: { number: 1, maxBytes: 1024 },
  welcome: { number: 2, maxBytes: 1024 },
  error: { number: 3, maxBytes: 16 * 1024 },
  ping: { number: 4, maxBytes: 0 },
  pong: { number: 5, maxBytes: 0 },
  list: { number: 16, maxBytes: 8 * 1024 },
  more: { number: 17, maxBytes: 4 },
  entries: { number: 18, maxBytes: MAX_ENTRIES_BYTES },
  listed: { number: 19, maxBytes: 24 },
  fetch: { number: 20, maxBytes: 8 * 1024 },
  file: { number: 21, maxBytes: 34 },
  data: { number: 22, maxBytes: 32 + MAX_PIECE_BYTES },
  end: { number: 23, maxBytes: 40 },
  sums: { number: 24, maxBytes: 8 * 1024 },
  digests: { number: 25, maxBytes: MAX_DIGESTS_BYTES },
  recall: { number: 26, maxBytes: 8 * 1024 },
  order: { number: 32, maxBytes: MAX_ORDER_BYTES },
  event: { number: 33, maxBytes: MAX_EVENT_BYTES },
  put: { number: 40, maxBytes: 8 * 1024 },
  ready: { number: 41, maxBytes: 8 },
  done: { number: 42, maxBytes: 8 },
  remove: { number: 43, maxBytes: 8 * 1024 },
  rename: { number: 44, maxBytes: 16 * 1024 },
  cache: { number: 45, maxBytes: 0 },
  cached: { number: 46, maxBytes: MAX_ENTRIES_BYTES },
};

const typeByNumber = new Map(
  Object.entries(FRAMES).map(([type, frame]) => [frame.number, type as MessageType]),
);

/** What a server takes, and what a client takes: anything else ends the connection early. */
export const SERVER_TAKES: readonly MessageType[] = [
  "hello",
  "ping",
  "pong",
  "list",
  "more",
  "fetch",
  "sums",
  "recall",
  "data",
  "end",
  "order",
  "put",
  "remove",
  "rename",
  "cache",
];
export const CLIENT_TAKES: readonly MessageType[] = [
  "welcome",
  "error",
  "ping",
  "pong",
  "entries",
  "listed",
  "file",
  "data",
  "end",
  "digests",
  "event",
  "ready",
  "done",
  "cached",
];

/** The limit function for a FrameDecoder of one side. */
export function limitsFor(taken: readonly MessageType[]): (frameType: number) => number {
  const limits = new Map(taken.map((type) => [FRAMES[type].number, FRAMES[type].maxBytes]));
  return (frameType) => {
    const limitBytes = limits.get(frameType);
    if (limitBytes === undefined) {
      throw new DrayError("protocol", `the peer sent a frame of type ${frameType}, which has no place here`);
    }
    return limitBytes;
  };
}

/** One frame, in bytes of its own. */
export function encodeMessage(message: Message, requestId = 0): Uint8Array {
  const payloadBytes = payloadSize(message);
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payloadBytes);
  writeMessage(message, requestId, frame, 0, payloadBytes);
  return frame;
}

/** Size of the whole frame in bytes. */
export function messageBytes(message: Message): number {
  return FRAME_HEADER_BYTES + payloadSize(message);
}

/**
 * Writes one frame into bytes that are large enough (see messageBytes).
 * @returns the position behind it
 * @throws RangeError for a message over the limit of its type: a fault of the caller, never of the peer
 */
export function writeMessage(
  message: Message,
  requestId: number,
  target: Uint8Array,
  offset: number,
  payloadBytes = payloadSize(message),
): number {
  const frame = FRAMES[message.type];
  if (payloadBytes > frame.maxBytes) {
    throw new RangeError(
      `a message "${message.type}" of ${payloadBytes} bytes is over its limit of ${frame.maxBytes}`,
    );
  }
  writePayload(message, new ByteWriter(target, offset + FRAME_HEADER_BYTES));
  sealFrame(target, offset, frame.number, requestId, payloadBytes);
  return offset + FRAME_HEADER_BYTES + payloadBytes;
}

/** Bytes of a DATA frame before the piece itself. */
export function dataFrameOverhead(kind: DigestKind): number {
  return FRAME_HEADER_BYTES + digestBytes(kind);
}

/**
 * Makes a DATA frame around a piece that already lies at `offset + dataFrameOverhead(kind)`: header
 * and digest are written before it, so that a file is read straight into the frame.
 * @returns the piece's digest, a view into the frame
 */
export function sealDataFrame(
  target: Uint8Array,
  offset: number,
  requestId: number,
  kind: DigestKind,
  pieceBytes: number,
): Uint8Array {
  const width = digestBytes(kind);
  const start = offset + FRAME_HEADER_BYTES;
  writeDigest(kind, target.subarray(start + width, start + width + pieceBytes), target, start);
  sealFrame(target, offset, FRAMES.data.number, requestId, width + pieceBytes);
  return target.subarray(start, start + width);
}

/**
 * Writes a DATA frame around a piece that lies elsewhere and whose digest is known.
 * @returns the position behind it
 */
export function writeDataFrame(
  target: Uint8Array,
  offset: number,
  requestId: number,
  digest: Uint8Array,
  piece: Uint8Array,
): number {
  const start = offset + FRAME_HEADER_BYTES;
  target.set(digest, start);
  target.set(piece, start + digest.length);
  const payloadBytes = digest.length + piece.length;
  sealFrame(target, offset, FRAMES.data.number, requestId, payloadBytes);
  return start + payloadBytes;
}

function payloadSize(message: Message): number {
  switch (message.type) {
    case "hello":
      return 14 + message.token.length + textFieldBytes(message.agent);
    case "welcome":
      return 14 + textFieldBytes(message.agent);
    case "error":
      return 6 + textFieldBytes(message.message);
    case "ping":
    case "pong":
      return 0;
    case "list":
      return 4 + textFieldBytes(message.path);
    case "more":
      return 4;
    case "entries":
      return entriesBytes(message.entries);
    case "listed":
      return 24;
    case "fetch":
      return 21 + textFieldBytes(message.path);
    case "file":
      return 34;
    case "data":
      return message.payload.length;
    case "end":
      return 8 + message.chain.length;
    case "sums":
    case "recall":
      return 5 + textFieldBytes(message.path);
    case "digests":
      return message.payload.length;
    case "order":
    case "event":
      return Buffer.byteLength(message.json);
    case "put":
      return 20 + textFieldBytes(message.path);
    case "ready":
    case "done":
      return 8;
    case "remove":
      return textFieldBytes(message.path);
    case "rename":
      return textFieldBytes(message.from) + textFieldBytes(message.to);
    case "cache":
      return 0;
    case "cached":
      return cachedEntriesBytes(message.entries);
  }
}

function writePayload(message: Message, to: ByteWriter): void {
  switch (message.type) {
    case "hello":
      to.u32(MAGIC);
      to.u16(message.versionMin);
      to.u16(message.versionMax);
      to.u32(message.capabilities);
      to.u16(message.token.length);
      to.bytes(message.token);
      return to.text(message.agent);
    case "welcome":
      to.u32(MAGIC);
      to.u16(message.version);
      to.u32(message.capabilities);
      to.u32(message.maxRequests);
      return to.text(message.agent);
    case "error":
      to.u16(ERROR_CODES[message.code].wire);
      to.u32(message.retryAfterMs);
      return to.text(message.message);
    case "ping":
    case "pong":
      return;
    case "list":
      to.u32(message.credit);
      return to.text(message.path);
    case "more":
      return to.u32(message.credit);
    case "entries":
      return writeEntries(message.entries, to);
    case "listed":
      to.i64(message.files);
      to.i64(message.directories);
      return to.i64(message.others);
    case "fetch":
      to.i64(message.offset);
      to.i64(message.length);
      to.u32(message.delayMs);
      to.u8(DIGEST_NUMBERS[message.digest]);
      return to.text(message.path);
    case "file":
      to.i64(message.size);
      to.i64(message.mtimeUs);
      to.u16(message.mode);
      to.i64(message.offset);
      return to.i64(message.length);
    case "data":
      return to.bytes(message.payload);
    case "end":
      to.i64(message.length);
      return to.bytes(message.chain);
    case "sums":
    case "recall":
      to.u32(message.pieceBytes);
      to.u8(DIGEST_NUMBERS[message.digest]);
      return to.text(message.path);
    case "digests":
      return to.bytes(message.payload);
    case "order":
    case "event":
      return to.bytes(Buffer.from(message.json));
    case "put":
      to.i64(message.size);
      to.i64(message.mtimeUs);
      to.u16(message.mode);
      to.u8(DIGEST_NUMBERS[message.digest]);
      to.u8(message.eager ? EAGER_FLAG : 0);
      return to.text(message.path);
    case "ready":
      return to.i64(message.offset);
    case "done":
      return to.i64(message.count);
    case "remove":
      return to.text(message.path);
    case "rename":
      to.text(message.from);
      return to.text(message.to);
    case "cache":
      return;
    case "cached":
      return writeCachedEntries(message.entries, to);
  }
}

/**
 * The message in a frame. Views (`data`, tokens, chains) point into `payload`.
 * @throws DrayError "protocol" for anything that is not exactly one well-formed message
 */
export function decodeMessage(frameType: number, payload: Uint8Array): Message {
  const type = typeByNumber.get(frameType);
  if (type === undefined)
    throw new DrayError("protocol", `the peer sent a frame of unknown type ${frameType}`);
  const from = new ByteReader(payload);
  const message = readPayload(type, from);
  from.end();
  return message;
}

function readPayload(type: MessageType, from: ByteReader): Message {
  switch (type) {
    case "hello": {
      readMagic(from);
      const versionMin = from.u16();
      const versionMax = from.u16();
      const capabilities = from.u32();
      const token = from.bytes(from.u16());
      return { type, versionMin, versionMax, capabilities, token, agent: from.text() };
    }
    case "welcome":
      readMagic(from);
      return {
        type,
        version: from.u16(),
        capabilities: from.u32(),
        maxRequests: from.u32(),
        agent: from.text(),
      };
    case "error":
      return { type, code: codeFromWire(from.u16()), retryAfterMs: from.u32(), message: from.text() };
    case "ping":
    case "pong":
      return { type };
    case "list": {
      const credit = from.u32();
      return { type, credit, path: from.text() };
    }
    case "more":
      return { type, credit: from.u32() };
    case "entries":
      return { type, entries: readEntries(from) };
    case "listed":
      return { type, files: from.size(), directories: from.size(), others: from.size() };
    case "fetch": {
      const offset = from.size();
      const length = from.size();
      const delayMs = from.u32();
      const digest = readDigestKind(from.u8());
      return { type, offset, length, delayMs, digest, path: from.text() };
    }
    case "file":
      return {
        type,
        size: from.size(),
        mtimeUs: from.i64(),
        mode: from.u16(),
        offset: from.size(),
        length: from.size(),
      };
    case "data":
      return { type, payload: from.bytes(from.remainingBytes) };
    case "end": {
      const length = from.size();
      return { type, length, chain: from.bytes(from.remainingBytes) };
    }
    case "sums":
    case "recall": {
      const pieceBytes = from.u32();
      const digest = readDigestKind(from.u8());
      return { type, pieceBytes, digest, path: from.text() };
    }
    case "digests":
      return { type, payload: from.bytes(from.remainingBytes) };
    case "order":
    case "event":
      return { type, json: readJsonText(from) };
    case "put": {
      const size = from.size();
      const mtimeUs = from.i64();
      const mode = from.u16();
      const digest = readDigestKind(from.u8());
      const eager = readEager(from.u8(), size);
      return { type, size, mtimeUs, mode, digest, eager, path: from.text() };
    }
    case "ready":
      return { type, offset: from.size() };
    case "done":
      return { type, count: from.size() };
    case "remove":
      return { type, path: from.text() };
    case "rename":
      return { type, from: from.text(), to: from.text() };
    case "cache":
      return { type };
    case "cached":
      return { type, entries: readCachedEntries(from) };
  }
}

function readMagic(from: ByteReader): void {
  if (from.u32() !== MAGIC) throw new DrayError("protocol", "the peer does not speak the dray protocol");
}

function readDigestKind(number: number): DigestKind {
  if (number === DIGEST_NUMBERS.xxh3) return "xxh3";
  if (number === DIGEST_NUMBERS.sha256) return "sha256";
  throw new DrayError("protocol", `the peer asks for an unknown digest (${number})`);
}

function readEager(flags: number, sizeBytes: number): boolean {
  if ((flags & ~EAGER_FLAG) !== 0) throw new DrayError("protocol", "the peer sent a PUT with unknown flags");
  const isEager = flags === EAGER_FLAG;
  if (isEager && sizeBytes > MAX_EAGER_BYTES) {
    throw new DrayError(
      "protocol",
      `the peer announced ${sizeBytes} bytes to follow at once, over the limit of ${MAX_EAGER_BYTES}`,
    );
  }
  return isEager;
}

const jsonDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function readJsonText(from: ByteReader): string {
  try {
    return jsonDecoder.decode(from.bytes(from.remainingBytes));
  } catch (cause) {
    throw new DrayError("protocol", "the peer sent JSON that is not UTF-8", { cause });
  }
}
