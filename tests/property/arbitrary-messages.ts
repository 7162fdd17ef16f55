import fc from "fast-check";
import { ERROR_CODES, type ErrorCode } from "../../src/errors/codes.ts";
import { ENTRY_KINDS, type ListEntry } from "../../src/wire/entries.ts";
import type { CachedEntry } from "../../src/wire/cached-entries.ts";
import type { Message, MessageType } from "../../src/wire/messages.ts";

/** Largest payload of each message, as docs/PROTOCOL.md has it. */
export const PAYLOAD_LIMITS: Record<MessageType, number> = {
  hello: 1024,
  welcome: 1024,
  error: 16_384,
  ping: 0,
  pong: 0,
  list: 8192,
  more: 4,
  entries: 131_072,
  listed: 24,
  fetch: 8192,
  file: 34,
  data: 1_048_608,
  end: 40,
  sums: 8192,
  digests: 4096,
  recall: 8192,
  order: 262_144,
  event: 4_194_304,
  put: 8192,
  ready: 8,
  done: 8,
  remove: 8192,
  rename: 16_384,
  cache: 0,
  cached: 131_072,
};

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const size = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER));
const mtimeUs = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(0, -1, -(2 ** 32), -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
);

/** Well-formed text of any characters, NUL and line feeds among them. */
const text = (maxCharacters: number): fc.Arbitrary<string> =>
  fc.oneof(
    fc.string({ unit: "binary", maxLength: maxCharacters, size: "max" }),
    fc.string({ unit: "grapheme", maxLength: Math.floor(maxCharacters / 8) }),
    fc.constantFrom("", "\uFEFF", "\0", "\u{10FFFF}", "\uFFFD"),
  );

const entry: fc.Arbitrary<ListEntry> = fc.record({
  kind: fc.constantFrom(...ENTRY_KINDS),
  path: text(60),
  size,
  mtimeUs,
  mode: u16,
  target: text(60),
});

const cachedEntry: fc.Arbitrary<CachedEntry> = fc.record({ path: text(60), size, hits: size, pins: u32 });

const digest = fc.constantFrom<("xxh3" | "sha256")[]>("xxh3", "sha256");
const bytes = (maxBytes: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ maxLength: maxBytes, size: "max" });

/** What follows its PUT at once is at most 262,144 bytes. */
const putFields = fc
  .record({ path: text(1000), size, mtimeUs, mode: u16, digest, eager: fc.boolean() })
  .map((fields) => (fields.eager ? { ...fields, size: fields.size % 262_145 } : fields));

const messagesByType: {
  [Type in MessageType]: fc.Arbitrary<Omit<Extract<Message, { type: Type }>, "type">>;
} = {
  hello: fc.record({
    versionMin: u16,
    versionMax: u16,
    capabilities: u32,
    token: bytes(200),
    agent: text(200),
  }),
  welcome: fc.record({ version: u16, capabilities: u32, maxRequests: u32, agent: text(250) }),
  error: fc.record({
    code: fc.constantFrom(...(Object.keys(ERROR_CODES) as ErrorCode[])),
    retryAfterMs: u32,
    message: text(1000),
  }),
  ping: fc.constant({}),
  pong: fc.constant({}),
  list: fc.record({ path: text(1000), credit: u32 }),
  more: fc.record({ credit: u32 }),
  entries: fc.record({ entries: fc.array(entry, { maxLength: 30 }) }),
  listed: fc.record({ files: size, directories: size, others: size }),
  fetch: fc.record({ path: text(1000), offset: size, length: size, delayMs: u32, digest }),
  file: fc.record({ size, mtimeUs, mode: u16, offset: size, length: size }),
  data: fc.record({ payload: bytes(5000) }),
  end: fc.record({ length: size, chain: bytes(32) }),
  sums: fc.record({ path: text(1000), pieceBytes: u32, digest }),
  digests: fc.record({ payload: bytes(4096) }),
  recall: fc.record({ path: text(1000), pieceBytes: u32, digest }),
  order: fc.record({ json: text(3000) }),
  event: fc.record({ json: text(3000) }),
  put: putFields,
  ready: fc.record({ offset: size }),
  done: fc.record({ count: size }),
  remove: fc.record({ path: text(1000) }),
  rename: fc.record({ from: text(1000), to: text(1000) }),
  cache: fc.constant({}),
  cached: fc.record({ entries: fc.array(cachedEntry, { maxLength: 30 }) }),
};

export function arbitraryMessageOf(types: readonly MessageType[]): fc.Arbitrary<Message> {
  return fc.oneof(
    ...types.map((type) =>
      (messagesByType[type] as fc.Arbitrary<object>).map((fields) => ({ type, ...fields }) as Message),
    ),
  );
}

export const arbitraryMessage = arbitraryMessageOf(Object.keys(PAYLOAD_LIMITS) as MessageType[]);
export const arbitraryRequestId = u32;

/** How to cut `length` bytes: positions of the cuts, ascending; many of them, few, or none. */
export function arbitraryCuts(length: number): fc.Arbitrary<number[]> {
  return fc
    .array(fc.integer({ min: 0, max: length }), { maxLength: 40 })
    .map((cuts) => cuts.sort((a, b) => a - b));
}

export function cut(stream: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const edges = [0, ...cuts, stream.length];
  return edges.slice(1).map((end, index) => stream.slice(edges[index], end));
}
