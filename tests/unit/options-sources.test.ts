import { expect, test } from "bun:test";
import fc from "fast-check";
import { isHost } from "../../src/options/host.ts";
import { MAX_SOURCES } from "../../src/options/source-list.ts";
import { formatSource, parseSources, type Source } from "../../src/options/sources.ts";
import { MAX_SOURCES_PER_ORDER, orderSourceSchema, type OrderSource } from "../../src/wire/order.ts";

const source = (host: string, port: number, path: string, delayMs: number): Source => ({
  host,
  port,
  path,
  delayMs,
});

test.each([
  ["a:9000:docs:0", [source("a", 9000, "docs", 0)]],
  ["a:1:x:0,b:2:y/z:1.5", [source("a", 1, "x", 0), source("b", 2, "y/z", 1500)]],
  ["a:1:x:0, b:2:y:1\n", [source("a", 1, "x", 0), source("b", 2, "y", 1000)]],
  ["10.0.0.1:65535:.:86400", [source("10.0.0.1", 65_535, ".", 86_400_000)]],
  ["[::1]:9000:docs:0.25", [source("::1", 9000, "docs", 250)]],
  ["[fe80::1%eth0]:9000:docs:.5", [source("fe80::1%eth0", 9000, "docs", 500)]],
  ["my_host:1:12:30:00 log.txt:2", [source("my_host", 1, "12:30:00 log.txt", 2000)]],
  [String.raw`a:1:one\, two:0`, [source("a", 1, "one, two", 0)]],
  [String.raw`a:1:back\\slash\\\,:0,b:1:x:0`, [source("a", 1, "back\\slash\\,", 0), source("b", 1, "x", 0)]],
])("%p is read", (text, sources) => {
  expect(parseSources(text)).toEqual({ sources, problems: [] });
});

test.each([
  ["", "the item is empty"],
  ["a", "expected host:port:dirorfile:delay"],
  ["a:9000", "expected host:port:dirorfile:delay"],
  ["a:9000:docs", "the delay is missing"],
  ["a:9000:docs:", "the delay must be seconds"],
  ["a:9000:docs:-1", "the delay must be seconds"],
  ["a:9000:docs:86401", "the delay must be seconds"],
  ["a:9000:docs:1e3", "the delay must be seconds"],
  ["a:9000::0", "the path is missing"],
  [":9000:docs:0", "the host is missing"],
  ["a b:9000:docs:0", "the host is neither a name nor an address"],
  ["../x:9000:docs:0", "the host is neither a name nor an address"],
  ["10.0.0.300:9000:docs:0", "the host is neither a name nor an address"],
  ["a:0:docs:0", "the port must be a whole number from 1 to 65535"],
  ["a:65536:docs:0", "the port must be a whole number from 1 to 65535"],
  ["a:http:docs:0", "the port must be a whole number from 1 to 65535"],
  ["::1:9000:docs:0", "an IPv6 address must stand in brackets"],
  ["2001:db8::1:9000:docs:0", "an IPv6 address must stand in brackets"],
  ["[::1:9000:docs:0", "]: after an IPv6 address"],
  ["[::1]9000:docs:0", "]: after an IPv6 address"],
  [String.raw`a:1:dir\file:0`, "a backslash in the path must be written"],
  ["a:1:x\\", "the delay is missing"],
  [`a:1:${"x".repeat(4097)}:0`, "the path is longer than 4096 bytes"],
])("%p is refused", (text, why) => {
  const { sources, problems } = parseSources(text);
  expect(sources).toEqual([]);
  expect(problems).toHaveLength(1);
  expect(problems[0]?.why).toContain(why);
});

test("every bad item is named by number and text, and the good ones are still read", () => {
  const { sources, problems } = parseSources("a:1:x:0,,b:0:y:-1,c:1:z:0,d:1:e", 5);
  expect(sources.map(({ host }) => host)).toEqual(["a", "c"]);
  expect(problems.map(({ number, text }) => [number, text])).toEqual([
    [6, ""],
    [7, "b:0:y:-1"],
    [9, "d:1:e"],
  ]);
  // Both things that are wrong with it, at once.
  expect(problems[1]?.why).toMatch(/the port .*; the delay /);
});

const hosts = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string({ unit: "grapheme" })).filter(isHost);
const paths = fc
  .oneof(
    fc.string({ unit: "binary", minLength: 1 }),
    fc.string({ unit: fc.constantFrom(..."ab:,\\ /."), minLength: 1 }),
  )
  .filter((path) => Buffer.byteLength(path) <= 4096);
const sources = fc.record({
  host: hosts,
  port: fc.integer({ min: 1, max: 65_535 }),
  path: paths,
  delayMs: fc.integer({ min: 0, max: 86_400_000 }),
});

test("every list of sources survives being written and read", () => {
  fc.assert(
    fc.property(fc.array(sources, { minLength: 1, maxLength: 5 }), (list) => {
      expect(parseSources(list.map(formatSource).join(","))).toEqual({ sources: list, problems: [] });
    }),
  );
});

test("whatever the text, each item is either a source that an order can carry, or a problem", () => {
  const texts = fc
    .array(fc.constantFrom(..."a1:,\\[].- /"), { maxLength: 40 })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.oneof(texts, fc.string({ unit: "binary" })), (text) => {
      const parsed = parseSources(text);
      const carried: OrderSource[] = parsed.sources.map((item) => orderSourceSchema.parse(item));
      expect(carried.length + parsed.problems.length).toBeGreaterThan(0);
    }),
  );
});

test("an order can carry as many sources as the option takes", () => {
  expect(MAX_SOURCES).toBe(MAX_SOURCES_PER_ORDER);
});

test("hosts are names or addresses, never paths", () => {
  for (const good of [
    "localhost",
    "a.example",
    "my_service",
    "::1",
    "fe80::1%en0",
    "1.2.3.4",
    "bücher.example",
    "3com",
  ]) {
    expect({ good, is: isHost(good) }).toEqual({ good, is: true });
  }
  for (const bad of [
    "",
    ".",
    "..",
    "a..b",
    "a/b",
    "-a",
    "a-",
    "a b",
    "1.2.3",
    "01.2.3.4",
    ":::",
    "1::2::3",
    "[::1]",
    "a\0",
    "x".repeat(254),
  ]) {
    expect({ bad, is: isHost(bad) }).toEqual({ bad, is: false });
  }
});
