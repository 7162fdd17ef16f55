import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import type { FileReceiver } from "../../src/transfer/fetch-reply.ts";
import type { Client, FetchRequest } from "../../src/transfer/client.ts";
import { asLocalFile } from "../../src/upload/part-source.ts";
import { TempParts } from "../../src/upload/temp-parts.ts";
import type { Manifest } from "../../src/wire/manifest.ts";
import { rejectionCodeOf } from "../property/error-code.ts";

const MIB = 1024 * 1024;
const contents = Buffer.alloc(MIB + 5, "dray");
const sum = (bytes: Uint8Array): string => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

const manifest: Manifest = {
  sizeBytes: contents.length,
  mtimeUs: 0,
  mode: 0o644,
  root: sum(contents),
  pieceBytes: MIB,
  partBytes: MIB,
  digest: "xxh3",
  placedMs: 1,
  copies: 1,
  servers: [],
  parts: [0, 1].map((part) => {
    const bytes = contents.subarray(part * MIB, (part + 1) * MIB);
    return { offset: part * MIB, sizeBytes: bytes.length, sha256: sum(bytes), holders: [] };
  }),
  pieces: new Uint8Array(16),
};

/** A server that sends this for whatever it is asked. */
function sending(bytes: Uint8Array): Client {
  const fetch = async (_: FetchRequest, receiver: FileReceiver): Promise<void> => {
    receiver.head({ sizeBytes: bytes.length, mtimeUs: 0, mode: 0, offset: 0, lengthBytes: bytes.length });
    for (let at = 0; at < bytes.length; at += 300_000)
      receiver.piece(bytes.subarray(at, at + 300_000), new Uint8Array(8));
    receiver.complete(new Uint8Array(8), 300_000);
  };
  return { fetch } as unknown as Client;
}

test("a part that is brought is put just as it is, and nothing is left behind", async () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith("dray-repair-"));
  const temp = new TempParts();
  try {
    await temp.bring(sending(contents.subarray(MIB)), "a", manifest, 1);
    const opened = temp.open(asLocalFile("a", "a", 1, 5));
    const read = new Uint8Array(5);
    opened.readFully(read, 0);
    opened.assertUnchanged();
    opened.close();
    expect(read).toEqual(new Uint8Array(contents.subarray(MIB)));
    temp.remove(1);
    expect(() => temp.open(asLocalFile("a", "a", 1, 5))).toThrow();
  } finally {
    temp.close();
  }
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith("dray-repair-"))).toEqual(before);
});

test("a part that is not what the manifest says is not taken, though its digests on the wire were right", async () => {
  const temp = new TempParts();
  try {
    const wrong = Buffer.from(contents.subarray(0, MIB));
    wrong[777]! ^= 1;
    expect(await rejectionCodeOf(temp.bring(sending(wrong), "a", manifest, 0))).toBe("integrity");
    expect(await rejectionCodeOf(temp.bring(sending(contents), "a", manifest, 0))).toBe("integrity");
    expect(await rejectionCodeOf(temp.bring(sending(contents.subarray(0, MIB)), "a", manifest, 0))).toBe(
      "no error",
    );
  } finally {
    temp.close();
  }
});
