/**
 * The sync protocol a second time, written from the seed's text with nothing but Buffer: it takes
 * the whole stream at once, and shares no line with src/wire.
 */

export type NaiveSync =
  | {
      kind: "chunk";
      rawName: Buffer;
      md5: Buffer;
      data: Buffer;
      /** data that the stream still owes */ missing: number;
    }
  | { kind: "close" | "abort" | "delete" | "request"; rawName: Buffer; md5: Buffer }
  | { kind: "status"; code: number };

const NAMED = { 3: "close", 4: "abort", 5: "delete", 6: "request" } as const;

export function naiveSyncBytes(message: NaiveSync): Buffer {
  if (message.kind === "status") return Buffer.concat([u16(2), u16(message.code)]);
  const name = Buffer.concat([u16(message.rawName.length), message.rawName]);
  if (message.kind === "chunk") {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(message.data.length + message.missing);
    return Buffer.concat([u16(1), message.md5, size, name, message.data]);
  }
  const type = { close: 3, abort: 4, delete: 5, request: 6 }[message.kind];
  return Buffer.concat([u16(type), message.md5, name]);
}

/** What a stream holds: its messages, and why it ends there. The last chunk may be unfinished. */
export function naiveSyncMessages(stream: Buffer): {
  messages: NaiveSync[];
  end: "between" | "inside" | "broken";
} {
  const messages: NaiveSync[] = [];
  let at = 0;
  const take = (count: number): Buffer => stream.subarray(at, (at += count));
  while (at < stream.length) {
    if (stream.length - at < 2) return { messages, end: "inside" };
    const type = take(2).readUInt16LE();
    if (type === 2) {
      if (stream.length - at < 2) return { messages, end: "inside" };
      messages.push({ kind: "status", code: take(2).readUInt16LE() });
      continue;
    }
    if (type < 1 || type > 6) return { messages, end: "broken" };
    if (stream.length - at < (type === 1 ? 22 : 18)) return { messages, end: "inside" };
    const md5 = take(16);
    const size = type === 1 ? take(4).readUInt32LE() : 0;
    const nameLength = take(2).readUInt16LE();
    if (nameLength === 0) return { messages, end: "broken" };
    if (stream.length - at < nameLength) return { messages, end: "inside" };
    const rawName = take(nameLength);
    if (type !== 1) {
      messages.push({ kind: NAMED[type as keyof typeof NAMED], rawName, md5 });
      continue;
    }
    const data = stream.subarray(at, at + size);
    at += data.length;
    messages.push({ kind: "chunk", rawName, md5, data, missing: size - data.length });
    if (data.length < size) return { messages, end: "inside" };
  }
  return { messages, end: "between" };
}

function u16(value: number): Buffer {
  return Buffer.from([value & 255, value >> 8]);
}
