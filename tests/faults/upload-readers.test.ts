import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { asDrayError } from "../../src/errors/dray-error.ts";
import { FileServer, fetchBytes } from "../support/file-server.ts";
import { putBytes } from "../support/put-bytes.ts";
import { tempFolder } from "../support/temp.ts";

setDefaultTimeout(60_000);

const ROUNDS = 60;

test("readers see one version or the other, whole, and never an old one once the new one is done", async () => {
  using folder = tempFolder();
  mkdirSync(folder.join("served"));
  // One file that the cache holds, and one that it streams.
  await using server = await FileServer.start(folder.join("served"), ["--writable", "--cache-size", "1MiB"]);
  const writer = await server.connect();
  for (const sizeBytes of [100_000, 3_000_000]) {
    const name = `file-${sizeBytes}`;
    let done = 0;
    let isOver = false;
    const contents = (version: number): Uint8Array => new Uint8Array(sizeBytes + version).fill(version);
    await putBytes(writer, name, contents(++done), done * 1_000_000);
    let seen = 0;
    const read = async (): Promise<void> => {
      const reader = await server.connect();
      while (!isOver) {
        const least = done;
        try {
          const bytes = await fetchBytes(reader, name);
          const version = bytes[0]!;
          expect(version).toBeGreaterThanOrEqual(least);
          expect(Buffer.compare(bytes, contents(version))).toBe(0);
          seen++;
        } catch (error) {
          // It was replaced in the middle of the answer: said plainly, and never mixed.
          if (asDrayError(error).code !== "changed") throw error;
        }
      }
    };
    const readers = Promise.all([read(), read(), read()]);
    try {
      for (let version = 2; version <= ROUNDS; version++) {
        await putBytes(writer, name, contents(version), version * 1_000_000);
        done = version;
      }
    } finally {
      isOver = true;
    }
    await readers;
    expect(seen).toBeGreaterThan(10);
  }
});
