import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { DrayError } from "../../src/errors/dray-error.ts";
import { Client } from "../../src/transfer/client.ts";
import { contentService } from "../../src/transfer/content-service.ts";
import { Server } from "../../src/transfer/server.ts";
import { SumsReply } from "../../src/transfer/sums-reply.ts";
import type { DigestKind } from "../../src/wire/digest.ts";
import type { Message } from "../../src/wire/messages.ts";
import { tempFolder } from "../support/temp.ts";
import { arbitraryMessage } from "./arbitrary-messages.ts";
import { runs } from "./runs.ts";

const PIECE_BYTES = 4096;
const kinds = fc.constantFrom<DigestKind[]>("xxh3", "sha256");

/** By other means than the code's own. */
function digestOf(kind: DigestKind, bytes: Uint8Array): Buffer {
  if (kind === "sha256") return new Bun.CryptoHasher("sha256").update(bytes).digest();
  const digest = Buffer.alloc(8);
  digest.writeBigUInt64LE(Bun.hash.xxHash3(bytes));
  return digest;
}

function digestsOf(kind: DigestKind, contents: Uint8Array, pieceBytes: number): Buffer[] {
  return Array.from({ length: Math.ceil(contents.length / pieceBytes) }, (_, index) =>
    digestOf(kind, contents.subarray(index * pieceBytes, (index + 1) * pieceBytes)),
  );
}

test("a server's sums are those of the file's pieces, whatever its size", async () => {
  using folder = tempFolder();
  const root = new ContainedRoot(folder.path);
  const server = new Server(
    { address: "127.0.0.1", port: 0, maxConnections: 4 },
    contentService(root, "test"),
    { debug: () => {}, warn: () => {} },
  );
  const client = await Client.connect(
    { host: "127.0.0.1", port: server.port },
    { agent: "test", timeoutMs: 5_000 },
  );
  const sizes = fc.oneof(
    fc.integer({ min: 0, max: 9 * 4096 }),
    fc.constantFrom(0, 1, 4095, 4096, 4097, 64 * 4096, 64 * 4096 + 1, 5 * 1024 * 1024),
  );
  await fc.assert(
    fc.asyncProperty(
      sizes,
      kinds,
      fc.constantFrom(4096, 65_536, 1_048_576),
      async (size, digest, pieceBytes) => {
        const contents = new Uint8Array(size).map((_, index) => (index * 7 + size) & 0xff);
        fs.writeFileSync(folder.join("file"), contents);
        const received: string[] = [];
        let sizeBytes = -1;
        await client.sums(
          { path: "file", pieceBytes, digest },
          {
            head: (head) => void (sizeBytes = head.sizeBytes),
            digest: (one) => void received.push(Buffer.from(one).toString("hex")),
          },
        );
        expect(sizeBytes).toBe(size);
        expect(received).toEqual(digestsOf(digest, contents, pieceBytes).map((one) => one.toString("hex")));
      },
    ),
    runs(60),
  );
  for (const pieceBytes of [0, 1, 4095, 5000, 2_097_152]) {
    const asked = client.sums(
      { path: "file", pieceBytes, digest: "xxh3" },
      { head: () => {}, digest: () => {} },
    );
    expect(await asked.catch((error: unknown) => error instanceof DrayError && error.code)).toBe("usage");
  }
  const missing = client.sums(
    { path: "../file", pieceBytes: 4096, digest: "xxh3" },
    { head: () => {}, digest: () => {} },
  );
  expect(await missing.catch((error: unknown) => error instanceof DrayError && error.code)).toBe("name");
  client.close();
  await server.stop();
  root.close();
});

function goodAnswer(kind: DigestKind, contents: Uint8Array): Message[] {
  const digests = digestsOf(kind, contents, PIECE_BYTES);
  const { length } = contents;
  const width = kind === "xxh3" ? 8 : 32;
  let chain: Buffer = Buffer.alloc(width);
  for (const digest of digests) chain = digestOf(kind, Buffer.concat([chain, digest]));
  return [
    { type: "file", size: length, mtimeUs: 1, mode: 0o644, offset: 0, length },
    ...digests.map((payload) => ({ type: "digests", payload }) as const),
    { type: "end", length, chain },
  ];
}

describe("an answer to SUMS that is not as it should be", () => {
  const arbitraryAnswer = fc
    .tuple(kinds, fc.uint8Array({ minLength: 1, maxLength: 5 * PIECE_BYTES, size: "max" }))
    .map(([kind, contents]) => ({ kind, contents, answer: goodAnswer(kind, contents) }));

  const takes = (kind: DigestKind, messages: readonly Message[]): boolean => {
    const reply = new SumsReply(kind, PIECE_BYTES, { head: () => {}, digest: () => {} });
    return messages.reduce((_, message) => reply.take(message), false);
  };
  const isRefused = (kind: DigestKind, messages: readonly Message[]): boolean => {
    try {
      return !takes(kind, messages);
    } catch (error) {
      expect(error).toBeInstanceOf(DrayError);
      return true;
    }
  };

  test("is refused: a message that is missing, doubled, or something else", () => {
    fc.assert(
      fc.property(arbitraryAnswer, fc.nat(), arbitraryMessage, ({ kind, answer }, at, other) => {
        expect(takes(kind, answer)).toBe(true);
        const index = at % answer.length;
        expect(isRefused(kind, answer.toSpliced(index, 1))).toBe(true);
        expect(isRefused(kind, [...answer.slice(0, index + 1), ...answer.slice(index)])).toBe(
          index < answer.length - 1,
        );
        const isSame = JSON.stringify(other) === JSON.stringify(answer[index]);
        if (!isSame) expect(isRefused(kind, answer.with(index, other))).toBe(true);
      }),
      runs(200),
    );
  });

  test("is refused: a digest with one bit flipped, or in another place", () => {
    fc.assert(
      fc.property(arbitraryAnswer, fc.nat(), fc.nat(), ({ kind, answer }, which, bit) => {
        const digests = answer.filter((message) => message.type === "digests");
        const index = which % digests.length;
        const payload = digests[index]!.payload.slice();
        payload[(bit >> 3) % payload.length]! ^= 1 << (bit & 7);
        expect(isRefused(kind, answer.with(index + 1, { type: "digests", payload }))).toBe(true);
      }),
      runs(200),
    );
  });
});
