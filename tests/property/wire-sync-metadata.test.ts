import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type KnownMetadataEntry, type MetadataEntry, metadataLines } from "../../src/wire/sync-metadata.ts";
import { MAX_METADATA_LINE_BYTES, MetadataReader } from "../../src/wire/sync-metadata-reader.ts";
import { isReservedName } from "../../src/wire/sync-reserved.ts";
import { allocationsOf } from "./allocations.ts";
import { arbitraryCuts, cut } from "./arbitrary-messages.ts";
import { runs } from "./runs.ts";

const server = { id: "0123456789abcdefABCDEF" };

const name = fc
  .oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
    fc.string({
      unit: fc.constantFrom("%", "\t", "\n", "\r", " ", "0", "9", "A", "=", "\u0085"),
      minLength: 1,
    }),
    fc.constantFrom(
      "%09",
      "%2",
      "a%",
      " ",
      "x deleted=1",
      "\uFEFFa",
      "n".repeat(65_535),
      "\n".repeat(65_535),
    ),
  )
  .filter((text) => !isReservedName(text));
const amount = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER));

const arbitraryEntry: fc.Arbitrary<KnownMetadataEntry> = fc.record({
  name,
  mtimeUs: fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, -1, 999_999, 1_700_000_000_000_001)),
  sizeBytes: amount,
  md5: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => new Uint8Array(bytes)),
  sequence: amount,
  isDeleted: fc.boolean(),
});

function read(pieces: Iterable<Uint8Array>): { entries: MetadataEntry[]; reader: MetadataReader } {
  const entries: MetadataEntry[] = [];
  const reader = new MetadataReader((entry) => entries.push(entry));
  for (const piece of pieces) reader.push(piece);
  reader.end();
  return { entries, reader };
}

function readText(text: string): { entries: MetadataEntry[]; reader: MetadataReader } {
  return read([Buffer.from(text)]);
}

describe("META-DATA", () => {
  test("comes through lines and reader as it was, however it is split", () => {
    const split = fc.array(arbitraryEntry, { maxLength: 6 }).chain((entries) => {
      const bytes = Buffer.from([...metadataLines(server, entries)].join(""));
      return fc.tuple(fc.constant(entries), fc.constant(bytes), arbitraryCuts(bytes.length));
    });
    fc.assert(
      fc.property(split, ([entries, bytes, cuts]) => {
        const { entries: found, reader } = read(cut(bytes, cuts));
        expect(found).toEqual(entries);
        expect(reader.server).toEqual(server);
        expect(reader.skippedLines).toBe(0);
      }),
      runs(300),
    );
  });

  test("has one line a file, of printable fields between tabs", () => {
    fc.assert(
      fc.property(fc.array(arbitraryEntry, { minLength: 1, maxLength: 6 }), (entries) => {
        const lines = [...metadataLines(server, entries)];
        expect(lines.length).toBe(entries.length);
        for (const line of lines) {
          expect(line).toMatch(/^[^\p{Cc}]+\t-?\d+\.\d{6}\t\d+\t[0-9a-f]{32}\t[^\p{Cc}]*[^]*\n$/u);
          expect(line.indexOf("\n")).toBe(line.length - 1);
        }
      }),
      runs(100),
    );
  });

  test("of a server without files still says whose it is, and names no file", () => {
    const { entries, reader } = readText([...metadataLines(server, [])].join(""));
    expect(entries).toEqual([]);
    expect(reader.server).toEqual(server);
    expect(reader.skippedLines).toBe(0);
  });

  test("of anything at all is read without a throw, and in memory for a line", () => {
    const noise = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
        fc
          .string({ unit: fc.constantFrom("\n", "\t", " ", "a", "1", ".", "-", "=", "%") })
          .map((s) => Buffer.from(s)),
        fc.integer({ min: 0, max: 300_000 }).map((length) => Buffer.alloc(length, " ")),
        fc.integer({ min: 0, max: 300_000 }).map((length) => Buffer.alloc(length, " 1")),
      ),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(noise, (pieces) => {
        const sizes = allocationsOf(() => void read(pieces));
        for (const size of sizes) expect(size).toBeLessThanOrEqual(MAX_METADATA_LINE_BYTES);
      }),
      runs(150),
    );
  });
});

describe("lines of somebody else", () => {
  const digest = "d41d8cd98f00b204e9800998ecf8427e";
  const md5 = new Uint8Array(Buffer.from(digest, "hex"));
  const unknown = {
    mtimeUs: undefined,
    sizeBytes: undefined,
    md5: undefined,
    sequence: undefined,
    isDeleted: false,
  };

  test.each([
    ["a", `a\t1700000000\t12\t${digest}`, { mtimeUs: 1_700_000_000_000_000, sizeBytes: 12, md5 }],
    [
      "a",
      `a\t1700000000.5\t12\t${digest.toUpperCase()}\r`,
      { mtimeUs: 1_700_000_000_500_000, sizeBytes: 12, md5 },
    ],
    ["a", `a\t1.1234567890\t\t`, { mtimeUs: 1_123_456 }],
    ["a b", `a b 1700000000 12 ${digest}`, { mtimeUs: 1_700_000_000_000_000, sizeBytes: 12, md5 }],
    ["a b", `a b, 1700000000, ${digest}  `, { mtimeUs: 1_700_000_000_000_000, md5 }],
    ["a", `a ${digest}`, { md5 }],
    ["a", `a\t${digest}\t1700000000\t5\tcolour=blue`, { mtimeUs: 1_700_000_000_000_000, sizeBytes: 5, md5 }],
    ["a", `a\tyesterday\t12\t${digest}`, { sizeBytes: 12, md5 }],
    ["a", `a\t99999999999999999999\t12\t${digest}`, { sizeBytes: 12, md5 }],
    ["50%", `50%\t1\t2\t${digest}`, { mtimeUs: 1_000_000, sizeBytes: 2, md5 }],
    ["a%20b", `a%20b\t1\t2\t${digest}`, { mtimeUs: 1_000_000, sizeBytes: 2, md5 }],
  ])("%j is read from %j", (name, line, fields) => {
    const { entries, reader } = readText(line);
    expect(entries).toEqual([{ name, ...unknown, ...fields }]);
    expect(reader.server).toBeUndefined();
  });

  test("that say nothing about a file are counted and passed over, blank and reserved ones only passed over", () => {
    const overlong = `${"n".repeat(MAX_METADATA_LINE_BYTES)}\t1\t2\t${digest}`;
    const text = [
      "",
      "  ",
      "# a list of files",
      "name",
      "\t1\t2",
      overlong,
      `META-DATA\t1\t2\t${digest}`,
      `a\t1`,
    ];
    const { entries, reader } = readText(text.join("\n"));
    expect(entries.map((entry) => entry.name)).toEqual(["a"]);
    expect(reader.skippedLines).toBe(4);
  });

  test("that are not UTF-8 are passed over", () => {
    const { entries, reader } = read([Buffer.from([0xc3, 0x28, 9, 0x31, 10]), Buffer.from("b\t1\n")]);
    expect(entries.map((entry) => entry.name)).toEqual(["b"]);
    expect(reader.skippedLines).toBe(1);
  });

  test("only the first names the server", () => {
    expect(readText(`a\t1\t2\t${digest}\nb\t1\t2\t${digest}\tserver=abc\n`).reader.server).toBeUndefined();
    expect(readText(`a\t1\t2\t${digest}\tserver=../x\n`).reader.server).toBeUndefined();
  });
});
