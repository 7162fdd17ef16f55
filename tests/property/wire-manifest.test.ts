import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { digestBytes } from "../../src/wire/digest.ts";
import {
  MANIFEST_LIMITS,
  type Manifest,
  partCount,
  partSize,
  pieceCount,
  pieceDigestAt,
  pieceDigestsOfPart,
  splitSizes,
} from "../../src/wire/manifest.ts";
import { decodeManifest, encodeManifest } from "../../src/wire/manifest-codec.ts";
import { PieceSums, pieceMatches, writePieceDigest } from "../../src/wire/piece-digest.ts";
import { writeDigest } from "../../src/wire/digest.ts";
import { seededRandom } from "../support/random.ts";
import { codeOf } from "./error-code.ts";
import { runs } from "./runs.ts";

const MIB = 1024 * 1024;

const sha256 = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString("hex"));
const hosts = fc.constantFrom("a.example", "10.0.0.7", "::1", "fe80::1%eth0", "bücher.example", "x_1");
const servers = fc.uniqueArray(fc.record({ host: hosts, port: fc.integer({ min: 1, max: 65_535 }) }), {
  maxLength: 12,
  selector: ({ host, port }) => `${host} ${port}`,
});

/** Any manifest within the limits, of small and of huge files. */
const manifests: fc.Arbitrary<Manifest> = fc
  .record({
    sizeBytes: fc.oneof(fc.nat(40 * MIB), fc.constantFrom(0, 1, MIB, 64 * MIB + 1, 2 ** 36 + 1)),
    wished: fc.constantFrom(1, MIB, 3 * MIB, 64 * MIB),
    servers,
    mtimeUs: fc.maxSafeInteger(),
    placedMs: fc.integer({ min: 0, max: MANIFEST_LIMITS.placedMs }),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    copies: fc.integer({ min: 1, max: 64 }),
    digest: fc.constantFrom("xxh3" as const, "sha256" as const),
    root: sha256,
    seed: fc.nat(),
  })
  .map(({ wished, seed, ...fields }) => {
    const sizes = { sizeBytes: fields.sizeBytes, ...splitSizes(fields.sizeBytes, wished) };
    const random = seededRandom(seed);
    const parts = Array.from({ length: partCount(sizes) }, (_, index) => ({
      offset: index * sizes.partBytes,
      sizeBytes: partSize(sizes, index),
      sha256: new Bun.CryptoHasher("sha256").update(`${seed}/${index}`).digest("hex"),
      holders: fields.servers
        .map((_, server) => server)
        .filter((server) => (seed + index + server) % 3 === 0),
    }));
    const pieces = new Uint8Array(pieceCount(sizes) * digestBytes(fields.digest));
    random.fill(pieces);
    return { ...fields, ...sizes, parts, pieces };
  });

describe("a manifest", () => {
  test("comes back as it went in", () => {
    fc.assert(
      fc.property(manifests, (manifest) => {
        const { pieces, ...decoded } = decodeManifest(encodeManifest(manifest));
        // Comparing megabytes as a list of numbers takes seconds.
        expect(Buffer.compare(pieces, manifest.pieces)).toBe(0);
        const { pieces: _, ...expected } = manifest;
        expect(decoded).toEqual(expected);
      }),
      runs(150),
    );
  });

  test("is two lines, the second one what sha256sum says of the first", () => {
    const [manifest] = fc.sample(manifests, { ...runs(1), numRuns: 1 });
    const [line, sum, rest] = Buffer.from(encodeManifest(manifest!)).toString().split("\n");
    expect(new Bun.CryptoHasher("sha256").update(`${line}\n`).digest("hex")).toBe(sum!);
    expect(rest).toBe("");
    expect(JSON.parse(line!)).toMatchObject({ format: "dray-manifest-1", root: manifest!.root });
  });

  test("with any bit changed, or any byte missing, is noticed", () => {
    fc.assert(
      fc.property(manifests, fc.nat(), fc.nat(7), (manifest, at, bit) => {
        const bytes = encodeManifest(manifest);
        const flipped = bytes.slice();
        flipped[at % bytes.length]! ^= 1 << bit;
        expect(codeOf(() => decodeManifest(flipped))).toBe("integrity");
        expect(codeOf(() => decodeManifest(bytes.subarray(0, at % bytes.length)))).toBe("integrity");
      }),
      runs(200),
    );
  });

  test("of any bytes ends in a manifest or in an error that says why", () => {
    const texts = fc.oneof(fc.json(), fc.string({ maxLength: 200 }));
    fc.assert(
      fc.property(texts, (text) => {
        expect(codeOf(() => decodeManifest(sealed(text)))).toBe("integrity");
      }),
      runs(500),
    );
  });

  /** One field changed to what it must not be, the checksum right. */
  const wrongFields: [string, unknown][] = [
    ["format", "other"],
    ["sizeBytes", -1],
    ["sizeBytes", 1.5],
    ["sizeBytes", 2 ** 53],
    ["sizeBytes", 41 * MIB],
    ["mode", 0o10000],
    ["root", "ab"],
    ["root", "A".repeat(64)],
    ["pieceBytes", MIB / 2],
    ["pieceBytes", 3 * MIB],
    ["pieceBytes", 2 * MIB],
    ["partBytes", MIB + 1],
    ["partBytes", 0],
    ["digest", "md5"],
    ["placedMs", -1],
    ["placedMs", 8_640_000_000_000_001],
    ["copies", 0],
    ["copies", 65],
    ["servers", ["a.example:1", "a.example:1"]],
    ["servers", ["a.example"]],
    ["servers", ["a.example:0"]],
    ["servers", ["a.example:65536"]],
    ["servers", ["a/../b:1"]],
    ["servers", ["[a.example]:1"]],
    ["servers", ["::1:1"]],
    ["parts", []],
    ["parts", [{ sha256: "ab", holders: [] }]],
    ["parts", [{ sha256: "0".repeat(64), holders: [2] }]],
    ["parts", [{ sha256: "0".repeat(64), holders: [0, 0] }]],
    ["parts", [{ sha256: "0".repeat(64), holders: [0], more: 1 }]],
    ["parts", [null]],
    ["pieces", ""],
    ["pieces", "AAAAAAAAAAA"],
    ["pieces", "AAAAAAAAAAB="],
    ["more", 1],
  ];
  test.each(wrongFields)("with %s as %j is refused", (key, value) => {
    const line = JSON.parse(Buffer.from(encodeManifest(small())).toString().split("\n")[0]!);
    expect(codeOf(() => decodeManifest(sealed(JSON.stringify(line))))).toBe("no error");
    expect(codeOf(() => decodeManifest(sealed(JSON.stringify({ ...line, [key]: value }))))).toBe("integrity");
  });

  test("of a later format is told from one that is wrong", () => {
    const text = JSON.stringify({ format: "dray-manifest-2" });
    expect(codeOf(() => decodeManifest(sealed(text)))).toBe("unsupported");
  });

  test("that would blow up memory is not parsed", () => {
    for (const text of [
      `[${"{},".repeat(2_000_000)}{}]`,
      "[".repeat(4_000_000),
      `[${"0,".repeat(3_000_000)}0]`,
    ]) {
      expect(() => decodeManifest(sealed(text))).toThrow("too many parts");
    }
    expect(() => decodeManifest(new Uint8Array(MANIFEST_LIMITS.manifestBytes + 1))).toThrow("larger than");
  });

  test("of the largest kind keeps within its limits", () => {
    const sizes = { sizeBytes: 2 ** 52, ...splitSizes(2 ** 52, MIB) };
    const holders = Array.from({ length: 64 }, (_, index) => 960 + index);
    const manifest: Manifest = {
      ...small(),
      ...sizes,
      digest: "sha256",
      servers: Array.from({ length: 1024 }, (_, index) => ({
        host: `${"h".repeat(240)}${index}`,
        port: 50_000,
      })),
      parts: Array.from({ length: partCount(sizes) }, (_, index) => ({
        offset: index * sizes.partBytes,
        sizeBytes: sizes.partBytes,
        sha256: "f".repeat(64),
        holders,
      })),
      pieces: new Uint8Array(65_536 * 32),
    };
    const bytes = encodeManifest(manifest);
    expect(bytes.length).toBeLessThan(MANIFEST_LIMITS.manifestBytes);
    expect(decodeManifest(bytes)).toEqual(manifest);
  });
});

describe("how a file is cut", () => {
  test("whole pieces, within the limits, nothing left over", () => {
    const sizes = fc.oneof(fc.nat(), fc.bigInt(0n, 2n ** 52n).map(Number));
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 2 ** 31 }), (sizeBytes, wished) => {
        const cut = { sizeBytes, ...splitSizes(sizeBytes, wished) };
        const parts = partCount(cut);
        expect(parts).toBeLessThanOrEqual(MANIFEST_LIMITS.parts);
        expect(pieceCount(cut)).toBeLessThanOrEqual(MANIFEST_LIMITS.pieces);
        expect(cut.partBytes % cut.pieceBytes).toBe(0);
        expect(cut.partBytes).toBeGreaterThanOrEqual(wished);
        let total = 0;
        for (let index = 0; index < parts; index++) {
          expect(partSize(cut, index)).toBeGreaterThan(0);
          total += partSize(cut, index);
        }
        expect(total).toBe(sizeBytes);
      }),
      runs(100),
    );
  });

  test("the seed's sizes make parts of 64 MiB", () => {
    expect(
      [294_716_309, 518_895_817, 975_886_892].map((sizeBytes) =>
        partCount({ sizeBytes, ...splitSizes(sizeBytes) }),
      ),
    ).toEqual([5, 8, 15]);
  });

  test("each piece has its digest, in its part and in the file", () => {
    const manifest = small();
    const width = digestBytes(manifest.digest);
    expect(pieceDigestsOfPart(manifest, 0)).toEqual(manifest.pieces);
    expect(pieceDigestAt(manifest, 0)).toEqual(manifest.pieces.subarray(0, width));
  });
});

describe.each(["xxh3", "sha256"] as const)("the %s of a piece", (kind) => {
  test("is the same whether it comes whole or in blocks", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 5, MIB - 1, MIB, MIB + 1, 2 * MIB, 4 * MIB - 3),
        fc.nat(),
        (length, seed) => {
          const bytes = new Uint8Array(length);
          seededRandom(seed).fill(bytes);
          const whole = new Uint8Array(digestBytes(kind));
          writePieceDigest(kind, bytes, whole, 0);
          const sums = new PieceSums(kind, 4);
          for (let at = 0; at < length; at += MIB) {
            const block = new Uint8Array(digestBytes(kind));
            writeDigest(kind, bytes.subarray(at, at + MIB), block, 0);
            sums.add(block);
          }
          sums.end();
          expect(sums.takeDigest()).toEqual(whole);
          expect(sums.takeDigest()).toBeUndefined();
          expect(pieceMatches(kind, bytes, whole)).toBe(true);
          bytes[seed % length]! ^= 1;
          expect(pieceMatches(kind, bytes, whole)).toBe(false);
        },
      ),
      runs(30),
    );
  });
});

function small(): Manifest {
  return {
    sizeBytes: 5,
    mtimeUs: 0,
    mode: 0o644,
    root: "0".repeat(64),
    pieceBytes: MIB,
    partBytes: MIB,
    digest: "xxh3",
    placedMs: 1,
    copies: 1,
    servers: [
      { host: "a.example", port: 1 },
      { host: "::1", port: 2 },
    ],
    parts: [{ offset: 0, sizeBytes: 5, sha256: "0".repeat(64), holders: [0] }],
    pieces: new Uint8Array(8),
  };
}

/** A line with the checksum that belongs to it. */
function sealed(text: string): Uint8Array {
  const line = `${text}\n`;
  return Buffer.from(`${line}${new Bun.CryptoHasher("sha256").update(line).digest("hex")}\n`);
}
