import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import {
  DigestChain,
  type DigestKind,
  digestBytes,
  digestMatches,
  writeDigest,
} from "../../src/wire/digest.ts";
import { seededRandom } from "../support/random.ts";
import { runs } from "./runs.ts";

const KINDS: DigestKind[] = ["xxh3", "sha256"];

function digestOf(kind: DigestKind, data: Uint8Array): Uint8Array {
  const digest = new Uint8Array(digestBytes(kind));
  writeDigest(kind, data, digest, 0);
  return digest;
}

function chainOf(kind: DigestKind, pieces: readonly Uint8Array[]): string {
  const chain = new DigestChain(kind);
  for (const piece of pieces) chain.add(digestOf(kind, piece));
  return Buffer.from(chain.value).toString("hex");
}

function randomBytes(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  seededRandom(seed).fill(bytes);
  return bytes;
}

describe.each(KINDS)("%s of a piece", (kind) => {
  /** Around the lengths at which XXH3 takes another path, and up to the largest piece. */
  const length = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 600 }) },
    { weight: 3, arbitrary: fc.constantFrom(8, 16, 17, 128, 129, 240, 241, 256, 1024, 4096, 65_536) },
    { weight: 1, arbitrary: fc.constantFrom(262_144, 1_048_575, 1_048_576) },
  );

  test("changes with any single bit", () => {
    fc.assert(
      fc.property(length, fc.nat(), fc.nat(), (length, seed, at) => {
        const piece = randomBytes(seed, length);
        const digest = digestOf(kind, piece);
        expect(digestMatches(kind, piece, digest)).toBe(true);
        const bit = at % (length * 8);
        piece[bit >> 3]! ^= 1 << (bit & 7);
        expect(digestMatches(kind, piece, digest)).toBe(false);
        expect(digestOf(kind, piece)).not.toEqual(digest);
      }),
      runs(400),
    );
  });

  test("changes with every one of the bits of a short piece", () => {
    for (const length of [1, 3, 8, 33]) {
      const piece = randomBytes(length, length);
      const digest = digestOf(kind, piece);
      for (let bit = 0; bit < length * 8; bit++) {
        const flipped = piece.slice();
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        expect(digestMatches(kind, flipped, digest)).toBe(false);
      }
    }
  });

  test("does not match a digest with one flipped bit, cut short, or of the other kind", () => {
    const piece = randomBytes(1, 100);
    const digest = digestOf(kind, piece);
    for (let bit = 0; bit < digest.length * 8; bit++) {
      const flipped = digest.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(digestMatches(kind, piece, flipped)).toBe(false);
    }
    const other = kind === "xxh3" ? "sha256" : "xxh3";
    expect(digestMatches(kind, piece, digest.subarray(0, -1))).toBe(false);
    expect(digestMatches(kind, piece, digestOf(other, piece))).toBe(false);
  });

  test("is written where it belongs, from and to views of larger memory", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(20), fc.nat(20), (data, before, offset) => {
        const memory = new Uint8Array(before + data.length + 5).fill(1);
        memory.set(data, before);
        const target = new Uint8Array(offset + digestBytes(kind) + 3).fill(0xa5);
        writeDigest(kind, memory.subarray(before, before + data.length), target, offset);
        expect(Buffer.compare(target.subarray(offset, -3), digestOf(kind, data))).toBe(0);
        expect([...target.subarray(0, offset), ...target.subarray(-3)].every((byte) => byte === 0xa5)).toBe(
          true,
        );
        expect(digestMatches(kind, data, target.subarray(offset, -3))).toBe(true);
      }),
      runs(200),
    );
  });
});

test("SHA-256 is what node:crypto says", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000, size: "max" }), (data) => {
      expect(Buffer.from(digestOf("sha256", data))).toEqual(createHash("sha256").update(data).digest());
    }),
    runs(200),
  );
});

describe("XXH3-64 is what its authors published", () => {
  // Seed 0 over the buffer of xxHash's own sanity check (xxHash 0.8, tests/sanity_test_vectors.h).
  const buffer = sanityBuffer(2367);
  test.each([
    [0, "2d06800538d394c2"],
    [1, "c44bdff4074eecdb"],
    [6, "27b56a84cd2d7325"],
    [12, "a713daf0dfbb77e7"],
    [24, "a3fe70bf9d3510eb"],
    [48, "397da259ecba1f11"],
    [80, "bcdefbbb2c47c90a"],
    [195, "cd94217ee362ec3a"],
    [403, "cdeb804d65c6dea4"],
    [512, "617e49599013cb6b"],
    [2048, "dd59e2c3a5f038e0"],
    [2240, "6e73a90539cf2948"],
    [2367, "cb37aeb9e5d361ed"],
  ])("for %d bytes", (length, published) => {
    const digest = digestOf("xxh3", buffer.subarray(0, length));
    expect(Buffer.from(digest).reverse().toString("hex")).toBe(published);
  });
});

/** The top byte of a number that starts at 2654435761 and is multiplied by a prime for each next one. */
function sanityBuffer(length: number): Uint8Array {
  let state = 2_654_435_761n;
  return Uint8Array.from({ length }, () => {
    const byte = Number(state >> 56n);
    state = (state * 11_400_714_785_074_694_797n) % 2n ** 64n;
    return byte;
  });
}

describe.each(KINDS)("the chain of %s digests", (kind) => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });

  test("is zero for no pieces, then the digest of what was before it and the piece's digest", () => {
    fc.assert(
      fc.property(pieces, (pieces) => {
        const naive = pieces.reduce<Buffer>(
          (before, piece) => Buffer.from(digestOf(kind, Buffer.concat([before, digestOf(kind, piece)]))),
          Buffer.alloc(digestBytes(kind)),
        );
        expect(chainOf(kind, pieces)).toBe(naive.toString("hex"));
      }),
      runs(300),
    );
  });

  test("depends on the contents, the order and the number of pieces, and on how they were cut", () => {
    fc.assert(
      fc.property(pieces, pieces, (one, other) => {
        const isSame =
          one.length === other.length && one.every((piece, at) => Buffer.compare(piece, other[at]!) === 0);
        expect(chainOf(kind, one) === chainOf(kind, other)).toBe(isSame);
      }),
      runs(300),
    );
    const [a, b, empty] = [randomBytes(1, 10), randomBytes(2, 10), new Uint8Array(0)];
    const variants = [[], [empty], [empty, empty], [a], [b], [a, b], [b, a], [a, a], [a, b, empty]];
    variants.push([Uint8Array.from([...a, ...b])], [a.subarray(0, 5), a.subarray(5), b]);
    expect(new Set(variants.map((pieces) => chainOf(kind, pieces))).size).toBe(variants.length);
  });

  test("of chains that are built in turns do not mix", () => {
    const [first, second] = [new DigestChain(kind), new DigestChain(kind)];
    const [a, b] = [digestOf(kind, randomBytes(3, 9)), digestOf(kind, randomBytes(4, 9))];
    first.add(a);
    second.add(b);
    first.add(b);
    second.add(a);
    expect(Buffer.from(first.value).toString("hex")).toBe(
      chainOf(kind, [randomBytes(3, 9), randomBytes(4, 9)]),
    );
    expect(Buffer.from(second.value).toString("hex")).toBe(
      chainOf(kind, [randomBytes(4, 9), randomBytes(3, 9)]),
    );
  });
});

test("the chain of SHA-256 is what node:crypto makes of it", () => {
  const sha256 = (data: Uint8Array): Buffer => createHash("sha256").update(data).digest();
  const pieces = [1, 262_144, 5].map((length) => randomBytes(length, length));
  let chain: Buffer = Buffer.alloc(32);
  for (const piece of pieces) chain = sha256(Buffer.concat([chain, sha256(piece)]));
  expect(chainOf("sha256", pieces)).toBe(chain.toString("hex"));
});
