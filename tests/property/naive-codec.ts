import type { Message } from "../../src/wire/messages.ts";

/**
 * The dray protocol a second time, written from the tables of docs/PROTOCOL.md with nothing but
 * Buffer: slow, plain, and sharing no line with src/wire.
 */

const TYPE_NUMBERS: Record<Message["type"], number> = {
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
  recall: 26,
  order: 32,
  event: 33,
  put: 40,
  ready: 41,
  done: 42,
  remove: 43,
  rename: 44,
  cache: 45,
  cached: 46,
};

const CODE_NUMBERS: Record<string, number> = {
  internal: 1,
  usage: 2,
  partial: 3,
  "not-found": 4,
  integrity: 5,
  changed: 6,
  protocol: 7,
  unauthorized: 8,
  refused: 9,
  name: 10,
  unsupported: 11,
  busy: 12,
  unreachable: 13,
  timeout: 14,
  closed: 15,
  storage: 16,
  "no-space": 17,
  interrupted: 18,
  locked: 19,
};

const KIND_NUMBERS: Record<string, number> = {
  file: 0,
  directory: 1,
  symlink: 2,
  special: 3,
  unreadable: 4,
  unnameable: 5,
  unfinished: 6,
};

export const naive = {
  u8: (value: number): Buffer => Buffer.from([value]),
  u16: (value: number): Buffer => {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value);
    return bytes;
  },
  u32: (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  },
  i64: (value: number | bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  blob: (bytes: Uint8Array): Buffer => Buffer.concat([naive.u16(bytes.length), bytes]),
  text: (value: string): Buffer => naive.blob(Buffer.from(value, "utf8")),
};

export const NAIVE_HEADER_BYTES = 16;

/** A frame around any payload, well-formed or not; with another header where a test wants a wrong one. */
export function naiveFrame(
  type: number,
  requestId: number,
  payload: Uint8Array,
  odd: { payloadBytes?: number; flags?: number; reserved?: number } = {},
): Buffer {
  const checked = Buffer.concat([
    naive.u32(odd.payloadBytes ?? payload.length),
    naive.u8(type),
    naive.u8(odd.flags ?? 0),
    naive.u16(odd.reserved ?? 0),
    naive.u32(requestId),
    payload,
  ]);
  return Buffer.concat([naive.u32(Number(Bun.hash.xxHash3(checked) % 2n ** 32n)), checked]);
}

export function naiveMessage(message: Message, requestId: number): Buffer {
  return naiveFrame(TYPE_NUMBERS[message.type], requestId, Buffer.concat(fieldsOf(message)));
}

function fieldsOf(message: Message): Uint8Array[] {
  const { u8, u16, u32, i64, blob, text } = naive;
  switch (message.type) {
    case "hello":
      return [
        Buffer.from("DRAY"),
        u16(message.versionMin),
        u16(message.versionMax),
        u32(message.capabilities),
        blob(message.token),
        text(message.agent),
      ];
    case "welcome":
      return [
        Buffer.from("DRAY"),
        u16(message.version),
        u32(message.capabilities),
        u32(message.maxRequests),
        text(message.agent),
      ];
    case "error":
      return [u16(CODE_NUMBERS[message.code]!), u32(message.retryAfterMs), text(message.message)];
    case "ping":
    case "pong":
      return [];
    case "list":
      return [u32(message.credit), text(message.path)];
    case "more":
      return [u32(message.credit)];
    case "entries":
      return message.entries.flatMap((entry) => [
        u8(KIND_NUMBERS[entry.kind]!),
        u16(entry.mode),
        i64(entry.size),
        i64(entry.mtimeUs),
        text(entry.path),
        text(entry.target),
      ]);
    case "listed":
      return [i64(message.files), i64(message.directories), i64(message.others)];
    case "fetch":
      return [
        i64(message.offset),
        i64(message.length),
        u32(message.delayMs),
        u8(message.digest === "xxh3" ? 1 : 2),
        text(message.path),
      ];
    case "file":
      return [
        i64(message.size),
        i64(message.mtimeUs),
        u16(message.mode),
        i64(message.offset),
        i64(message.length),
      ];
    case "data":
      return [message.payload];
    case "end":
      return [i64(message.length), message.chain];
    case "sums":
    case "recall":
      return [u32(message.pieceBytes), u8(message.digest === "xxh3" ? 1 : 2), text(message.path)];
    case "digests":
      return [message.payload];
    case "order":
    case "event":
      return [Buffer.from(message.json, "utf8")];
    case "put":
      return [
        i64(message.size),
        i64(message.mtimeUs),
        u16(message.mode),
        u8(message.digest === "xxh3" ? 1 : 2),
        u8(message.eager ? 1 : 0),
        text(message.path),
      ];
    case "ready":
      return [i64(message.offset)];
    case "done":
      return [i64(message.count)];
    case "remove":
      return [text(message.path)];
    case "rename":
      return [text(message.from), text(message.to)];
    case "cache":
      return [];
    case "cached":
      return message.entries.flatMap((entry) => [
        text(entry.path),
        i64(entry.size),
        i64(entry.hits),
        u32(entry.pins),
      ]);
  }
}

export interface NaiveFrame {
  type: number;
  requestId: number;
  payload: Buffer;
}

/** The whole frames at the front of a stream, and what is left behind them. */
export function naiveFrames(stream: Buffer): { frames: NaiveFrame[]; rest: Buffer } {
  const frames: NaiveFrame[] = [];
  let rest = stream;
  while (rest.length >= NAIVE_HEADER_BYTES) {
    const end = NAIVE_HEADER_BYTES + rest.readUInt32LE(4);
    if (rest.length < end) break;
    const payload = rest.subarray(NAIVE_HEADER_BYTES, end);
    frames.push({ type: rest[8]!, requestId: rest.readUInt32LE(12), payload });
    rest = rest.subarray(end);
  }
  return { frames, rest };
}

/** A whole and right answer to a FETCH of everything with XXH3, in pieces of `pieceBytes`. */
export function naiveFileAnswer(
  requestId: number,
  contents: Uint8Array,
  options: { pieceBytes?: number; mtimeUs?: number; mode?: number; offset?: number } = {},
): Buffer {
  const { pieceBytes = 262_144, mtimeUs = 0, mode = 0o644, offset = 0 } = options;
  const { length } = contents;
  const size = offset + length;
  const xxh3 = (bytes: Uint8Array): Buffer => naive.i64(BigInt.asIntN(64, Bun.hash.xxHash3(bytes)));
  let chain: Buffer = Buffer.alloc(8);
  const frames = [naiveMessage({ type: "file", size, mtimeUs, mode, offset, length }, requestId)];
  for (let at = 0; at < length; at += pieceBytes) {
    const piece = contents.subarray(at, at + pieceBytes);
    chain = xxh3(Buffer.concat([chain, xxh3(piece)]));
    frames.push(naiveMessage({ type: "data", payload: Buffer.concat([xxh3(piece), piece]) }, requestId));
  }
  frames.push(naiveMessage({ type: "end", length, chain }, requestId));
  return Buffer.concat(frames);
}
