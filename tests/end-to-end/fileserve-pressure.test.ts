import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { DrayError } from "../../src/errors/dray-error.ts";
import type { Client } from "../../src/transfer/client.ts";
import { FileServer, fetchPieces } from "../support/file-server.ts";
import { currentRssBytes, peakRssBytes } from "../support/memory.ts";
import { seededRandom } from "../support/random.ts";
import { tempFolder } from "../support/temp.ts";

/** DRAY_PRESSURE_SECONDS=60 for the minute that the promise is about. */
const SECONDS = Number(process.env["DRAY_PRESSURE_SECONDS"] ?? 10);
setDefaultTimeout(SECONDS * 1000 + 120_000);

const MIB = 1024 * 1024;
const CACHE_BYTES = 64 * MIB;
const CLIENTS = 32;
const FILES = 120;
const LARGEST_BYTES = 6 * MIB;
const VERSION_BYTES = 8;

/** A version's bytes: its number, then a stretch of this that begins at a place of its own. */
const noise = Buffer.alloc(2 * LARGEST_BYTES);
seededRandom(1).fill(noise);

class ServedFile {
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** The newest version that is in place, whole. */
  current = 0;
  #next = 1;

  constructor(folder: string, number: number) {
    this.name = `file-${number}`;
    this.path = `${folder}/${this.name}`;
    // From 4 KiB to 6 MiB, half of them above 160 KiB: three times what the cache takes, all in all.
    this.sizeBytes = Math.round(4096 * (LARGEST_BYTES / 4096) ** ((number % 40) / 39));
    this.replace();
  }

  replace(): void {
    const version = this.#next++;
    const bytes = Buffer.alloc(this.sizeBytes);
    bytes.writeDoubleLE(version, 0);
    noise.copy(bytes, VERSION_BYTES, this.#startOf(version));
    fs.writeFileSync(`${this.path}.new`, bytes);
    fs.renameSync(`${this.path}.new`, this.path);
    this.current = version;
  }

  /** Takes an answer apart as it comes: which version it is, and whether every byte is that version's. */
  check(): { piece: (bytes: Uint8Array, offset: number) => void; version: () => number } {
    let version = -1;
    return {
      version: () => version,
      piece: (bytes, offset) => {
        const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        const skipped = offset === 0 ? VERSION_BYTES : 0;
        if (offset === 0) version = view.readDoubleLE(0);
        const start = this.#startOf(version) + offset + skipped - VERSION_BYTES;
        const expected = noise.subarray(start, start + view.length - skipped);
        if (!view.subarray(skipped).equals(expected))
          throw new Error(`a wrong byte in version ${version} of ${this.name}, after ${offset}`);
      },
    };
  }

  #startOf(version: number): number {
    return (version * 7919 + this.sizeBytes) % LARGEST_BYTES;
  }
}

test(`for ${SECONDS} s, 32 clients ask for more than the cache takes while files are replaced`, async () => {
  using folder = tempFolder();
  const files = Array.from({ length: FILES }, (_, number) => new ServedFile(folder.path, number));
  const totalBytes = files.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
  expect(totalBytes).toBeGreaterThan(1.5 * CACHE_BYTES);
  await using server = await FileServer.start(folder.path, ["--cache-size", String(CACHE_BYTES)]);
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => server.connect()));

  const endMs = performance.now() + SECONDS * 1000;
  const counts = { answers: 0, changed: 0, replaced: 0 };
  const mostBytes = { cached: 0, resident: 0 };

  const ask = async (client: Client, seed: number): Promise<void> => {
    const random = seededRandom(seed);
    while (performance.now() < endMs) {
      // Some are asked for far more often than others.
      const file = files[Math.floor(FILES * random.next() ** 2)]!;
      const leastVersion = file.current;
      const { piece, version } = file.check();
      try {
        await fetchPieces(client, file.name, piece);
      } catch (error) {
        if (!(error instanceof DrayError) || error.code !== "changed") throw error;
        counts.changed++;
        continue;
      }
      counts.answers++;
      if (version() < leastVersion)
        throw new Error(`version ${version()} of ${file.name}, when ${leastVersion} had been there already`);
    }
  };
  const replace = async (): Promise<void> => {
    const random = seededRandom(99);
    while (performance.now() < endMs) {
      files[random.integer(0, FILES - 1)]!.replace();
      counts.replaced++;
      await Bun.sleep(random.integer(0, 40));
    }
  };
  const watch = async (): Promise<void> => {
    while (performance.now() < endMs) {
      mostBytes.resident = Math.max(mostBytes.resident, currentRssBytes(server.program.pid));
      mostBytes.cached = Math.max(mostBytes.cached, (await server.statistics()).bytes);
      await Bun.sleep(200);
    }
  };
  await Promise.all([...clients.map((client, index) => ask(client, index)), replace(), watch()]);

  const statistics = await server.statistics();
  expect(peakRssBytes(server.program.pid)).toBeLessThan(CACHE_BYTES + 100 * MIB);
  expect(mostBytes.cached).toBeLessThanOrEqual(CACHE_BYTES);
  expect(statistics.pinnedBytes).toBe(0);
  expect(statistics.evictions).toBeGreaterThan(0);
  expect(counts.answers).toBeGreaterThan(CLIENTS);
  expect(counts.replaced).toBeGreaterThan(0);
  // Now that nobody replaces anything any more, everything is new.
  for (const file of files) {
    const { piece, version } = file.check();
    await fetchPieces(clients[0]!, file.name, piece);
    expect(version()).toBe(file.current);
  }
});
