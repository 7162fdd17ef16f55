import { expect, test } from "bun:test";
import { z } from "zod";
import { ERROR_CODES } from "../../src/errors/codes.ts";
import { digestBytes, writeDigest } from "../../src/wire/digest.ts";
import { ENTRY_KINDS } from "../../src/wire/entries.ts";
import { FRAME_HEADER_BYTES } from "../../src/wire/frame.ts";
import {
  CAPABILITY,
  CLIENT_TAKES,
  MAGIC,
  MAX_PIECE_BYTES,
  type Message,
  type MessageType,
  SERVER_TAKES,
  encodeMessage,
  limitsFor,
} from "../../src/wire/messages.ts";
import { MAX_COMPONENT_BYTES, MAX_PATH_BYTES } from "../../src/wire/names.ts";
import {
  LAST_EVENTS,
  MAX_LISTED_FAILURES,
  MAX_SOURCES_PER_ORDER,
  failureSchema,
  orderCommandSchema,
  orderEventSchema,
  orderRequestSchema,
  sourceStatusSchema,
} from "../../src/wire/order.ts";
import { readFields } from "../support/document-fields.ts";
import { fromHex, tableWithHead, tablesWithHead } from "../support/protocol-document.ts";

/** Every field different from every other, and from zero. */
const SAMPLES: { [T in MessageType]: Extract<Message, { type: T }> } = {
  hello: {
    type: "hello",
    versionMin: 0x0102,
    versionMax: 0x0304,
    capabilities: 0x05060708,
    token: new Uint8Array([9, 8, 7]),
    agent: "jemand/ü",
  },
  welcome: { type: "welcome", version: 0x0203, capabilities: 0x11223344, maxRequests: 77, agent: "ß" },
  error: { type: "error", code: "no-space", retryAfterMs: 0x0a0b0c0d, message: "voll" },
  ping: { type: "ping" },
  pong: { type: "pong" },
  list: { type: "list", path: "docs/日本", credit: 0x01020304 },
  more: { type: "more", credit: 0x04030201 },
  entries: {
    type: "entries",
    entries: [
      { kind: "special", path: "pipe", size: 0, mtimeUs: -5, mode: 0o4755, target: "" },
      { kind: "file", path: "a/b", size: 2 ** 40 + 3, mtimeUs: 2 ** 50 + 1, mode: 0o644, target: "../c" },
    ],
  },
  listed: { type: "listed", files: 2 ** 33 + 1, directories: 2, others: 3 },
  fetch: { type: "fetch", path: "p", offset: 2 ** 34, length: 2 ** 53 - 1, delayMs: 99, digest: "sha256" },
  file: { type: "file", size: 2 ** 35, mtimeUs: -1, mode: 0o600, offset: 2 ** 33, length: 2 ** 32 + 7 },
  data: { type: "data", payload: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8, 9]) },
  end: { type: "end", length: 2 ** 41, chain: new Uint8Array([8, 7, 6, 5, 4, 3, 2, 1]) },
  sums: { type: "sums", path: "q/ß", pieceBytes: 0x01020304, digest: "sha256" },
  digests: { type: "digests", payload: new Uint8Array([16, 15, 14, 13, 12, 11, 10, 9]) },
  recall: { type: "recall", path: "q/ü", pieceBytes: 0x04030201, digest: "xxh3" },
  order: { type: "order", json: '{"ä":1}' },
  event: { type: "event", json: '{"ö":2}' },
  put: {
    type: "put",
    path: "neu/ö",
    size: 2 ** 17 + 3,
    mtimeUs: -7,
    mode: 0o751,
    digest: "sha256",
    eager: true,
  },
  ready: { type: "ready", offset: 2 ** 36 + 1 },
  done: { type: "done", count: 2 ** 37 + 1 },
  remove: { type: "remove", path: "weg" },
  rename: { type: "rename", from: "alt/ä", to: "neu" },
  cache: { type: "cache" },
  cached: {
    type: "cached",
    entries: [
      { path: "heiß", size: 2 ** 38 + 1, hits: 2 ** 39 + 2, pins: 0x0a0b0c0d },
      { path: "x", size: 1, hits: 2, pins: 3 },
    ],
  },
};
const TYPES = Object.keys(SAMPLES) as MessageType[];

test("the table of messages is the one of the code", () => {
  const documented = tableWithHead("Number", "Message", "To", "Limit", "Request id", "Meaning");
  const limitOf = limitsFor(TYPES);
  const coded = TYPES.map((type) => {
    const number = encodeMessage(SAMPLES[type])[8]!;
    const to = [SERVER_TAKES.includes(type) && "server", CLIENT_TAKES.includes(type) && "client"];
    return {
      Number: String(number),
      Message: type.toUpperCase(),
      To: to.every(Boolean) ? "both" : to.find(Boolean),
      Limit: String(limitOf(number)),
    };
  });
  const shown: unknown = documented.map(({ Number, Message, To, Limit }) => ({ Number, Message, To, Limit }));
  expect(shown).toEqual(coded);
});

test("every message is laid out as its table says", () => {
  const tables = tablesWithHead("Offset", "Type", "Name", "Meaning");
  const header = tables.find((table) => table.section === "Frames")!.rows;
  for (const type of TYPES) {
    const frame = encodeMessage(SAMPLES[type], 0x0e0f1011);
    const { values, end } = readFields(header, frame);
    expect(end).toBe(FRAME_HEADER_BYTES);
    expect(values).toEqual({
      check: Number(Bun.hash.xxHash3(frame.subarray(4)) & 0xffff_ffffn),
      payloadBytes: frame.length - FRAME_HEADER_BYTES,
      type: expect.any(Number),
      flags: 0,
      reserved: 0,
      requestId: 0x0e0f1011,
    });
    const payload = frame.subarray(FRAME_HEADER_BYTES);
    if (payload.length === 0 || type === "order" || type === "event") continue;
    const name = type.toUpperCase();
    const titled = tables.filter((table) => new RegExp(`\\b${name}\\b`).test(table.caption));
    const rows = (titled[0] ?? tables.find((table) => table.section === name))?.rows;
    if (rows === undefined) throw new Error(`no table for ${name}`);
    let at = 0;
    const read: unknown[] = [];
    while (at < payload.length) {
      const fields = readFields(rows, payload, at);
      read.push(fields.values);
      at = fields.end;
    }
    expect({ type, at, read }).toEqual({ type, at: payload.length, read: expectedFields(SAMPLES[type]) });
  }
});

/** A message as the document sees it: numbers instead of names. */
function expectedFields(message: Message): unknown[] {
  const { type: _, ...fields } = message;
  if (message.type === "hello" || message.type === "welcome") return [{ magic: MAGIC, ...fields }];
  if (message.type === "error") return [{ ...fields, code: documentedError(message.code) }];
  if (message.type === "fetch" || message.type === "sums" || message.type === "recall")
    return [{ ...fields, digest: documentedDigest(message.digest) }];
  if (message.type === "put") {
    const { eager, digest, ...others } = message;
    const { type: _put, ...plain } = others;
    return [{ ...plain, digest: documentedDigest(digest), flags: eager ? 1 : 0 }];
  }
  if (message.type === "cached") return message.entries;
  if (message.type !== "entries") return [fields];
  return message.entries.map((entry) => ({ ...entry, kind: documentedKind(entry.kind) }));
}

const errorRows = tableWithHead("Number", "Code", "Again", "Meaning");
const digestRows = tableWithHead("Digest", "Name", "Bytes", "Meaning");
const kindRows = tableWithHead("Kind", "Name", "Meaning");
const documentedError = (code: string): number => Number(errorRows.find((row) => row.Code === code)?.Number);
const documentedDigest = (name: string): number =>
  Number(digestRows.find((row) => row.Name === name)?.Digest);
const documentedKind = (name: string): number => Number(kindRows.find((row) => row.Name === name)?.Kind);

test("the error codes are those of the code", () => {
  const coded = Object.entries(ERROR_CODES).map(([Code, { wire, retry, meaning: Meaning }]) => {
    return { Number: String(wire), Code, Again: retry ? "yes" : "no", Meaning };
  });
  expect(errorRows).toEqual(coded);
});

test("kinds, digests, capabilities and limits are those of the code", () => {
  expect(kindRows.map(({ Kind, Name }) => [Number(Kind), Name])).toEqual([...ENTRY_KINDS.entries()]);
  for (const kind of ["xxh3", "sha256"] as const) {
    expect(digestRows.find((row) => row.Name === kind)?.Bytes).toBe(String(digestBytes(kind)));
  }
  const capabilities = tableWithHead("Bit", "Value", "Name", "The server answers");
  expect(Object.fromEntries(capabilities.map((row) => [row.Name, Number(row.Value)]))).toEqual(CAPABILITY);
  for (const row of capabilities) expect(Number(row.Value)).toBe(2 ** Number(row.Bit));
  const limits = tableWithHead("What", "Limit").map((row) => Number(row.Limit));
  expect(limits).toEqual([MAX_PATH_BYTES, MAX_COMPONENT_BYTES]);
});

test("the digests of the table are those that the code writes", () => {
  const inputs: Record<string, Uint8Array> = {
    nothing: new Uint8Array(0),
    "`Hello, dray!` and a line feed": Buffer.from("Hello, dray!\n"),
    "1,000 bytes of zero": new Uint8Array(1000),
  };
  for (const row of tableWithHead("Input", "Digest (hex)")) {
    const digest = new Uint8Array(8);
    writeDigest("xxh3", inputs[row.Input!]!, digest, 0);
    expect({ input: row.Input, digest: fromHex(row["Digest (hex)"]!.replaceAll("`", "")) }).toEqual({
      input: row.Input,
      digest,
    });
  }
});

interface JsonObjectSchema {
  properties: Record<string, { type?: string; const?: unknown; enum?: string[]; items?: JsonObjectSchema }>;
  required?: string[];
  additionalProperties?: boolean;
}

function fieldsOf(schema: JsonObjectSchema): Record<string, string> {
  return Object.fromEntries(
    Object.entries(schema.properties).map(([name, { type }]) => {
      return [name, `${type}${schema.required?.includes(name) === true ? "" : ", may be absent"}`];
    }),
  );
}

test("the JSON of orders and events has exactly the documented fields", () => {
  const tables = tablesWithHead("Field", "JSON type", "Meaning").map(({ caption, rows }) => ({
    caption,
    fields: Object.fromEntries(rows.map((row) => [row.Field, row["JSON type"]])),
  }));
  const documented = (name: string): unknown =>
    tables.find((table) => table.caption === `\`${name}\`:`)?.fields;
  const captioned = (caption: string): unknown => tables.find((table) => table.caption === caption)?.fields;
  const order = z.toJSONSchema(orderRequestSchema) as unknown as JsonObjectSchema;
  expect(captioned("The order of `give`:")).toEqual(fieldsOf(order));
  expect(captioned("Each of the `sources` of an order:")).toEqual(fieldsOf(order.properties.sources!.items!));
  const commands = (z.toJSONSchema(orderCommandSchema) as unknown as { oneOf: JsonObjectSchema[] }).oneOf;
  const documentedCommands = tableWithHead("Command", "Besides `do`", "What the mirror does", "Ends with");
  const coded = commands.map(({ properties: { do: name, ...others } }) => {
    return [String(name!.const), Object.keys(others).join(", ")];
  });
  expect(documentedCommands.map((row) => [row.Command!, row["Besides `do`"]!])).toEqual(coded);
  const ends = documentedCommands.map((row) => row["Ends with"]!);
  expect(new Set(ends)).toEqual(new Set<string>(LAST_EVENTS));
  const events = (z.toJSONSchema(orderEventSchema) as unknown as { oneOf: JsonObjectSchema[] }).oneOf;
  const schemas = new Map(events.map((event) => [String(event.properties.type!.const), event]));
  const listed = tableWithHead("Type", "When").map((row) => row.Type);
  expect(new Set(listed)).toEqual(new Set(schemas.keys()));
  for (const [name, schema] of schemas) expect([name, documented(name)]).toEqual([name, fieldsOf(schema)]);
  const progress = tables.find((table) => table.caption === "Each of its `sources`:");
  expect(progress?.fields).toEqual(fieldsOf(schemas.get("progress")!.properties.sources!.items!));
  const statuses = tableWithHead("Status", "Meaning").map((row) => row.Status);
  expect(new Set(statuses)).toEqual(new Set(sourceStatusSchema.options));
  const ofEvent = { type: "string", orderId: "string" };
  // "as `source`, without `type` and `orderId`", and the same for `failure`.
  const source: unknown = { ...ofEvent, ...fieldsOf(schemas.get("result")!.properties.sources!.items!) };
  expect(source).toEqual(documented("source"));
  const failureFields = fieldsOf(z.toJSONSchema(failureSchema) as unknown as JsonObjectSchema);
  const failure: unknown = { ...ofEvent, ...failureFields };
  expect(failure).toEqual(documented("failure"));
});

test("the numbers in the prose are those of the code", async () => {
  const text = (await Bun.file(`${import.meta.dir}/../../docs/PROTOCOL.md`).text()).replace(/\s+/g, " ");
  expect(text).toContain(`1 to ${MAX_PIECE_BYTES.toLocaleString("en")} bytes of it`);
  expect(text).toContain(`an array of 1 to ${MAX_SOURCES_PER_ORDER} sources`);
  expect(text).toContain(`for each item that failed, up to ${MAX_LISTED_FAILURES} of them`);
  expect(text).toContain(`was left out, up to ${MAX_LISTED_FAILURES} of them`);
  expect(text).toContain(`the first ${MAX_LISTED_FAILURES} failures`);
});
