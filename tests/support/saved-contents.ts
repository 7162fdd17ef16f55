import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import type { Random } from "./random.ts";

const HEADER = /^saved (\d+) (\d+) ([0-9a-f]{32})\n/;
const MAX_HEADER_BYTES = 80;
const LARGE_BYTES = 1_500_000;

/** Contents that say themselves whether they are whole, and the record of all that were ever saved. */
export class SavedContents {
  readonly #random: Random;
  count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A new content, which no other one equals: mostly small, now and then large. */
  make(): Uint8Array {
    const sizeBytes = this.#random.integer(0, this.#random.next() < 0.06 ? LARGE_BYTES : 6_000);
    const body = new Uint8Array(sizeBytes);
    this.#random.fill(body);
    return Buffer.concat([Buffer.from(`saved ${this.count++} ${sizeBytes} ${md5(body)}\n`), body]);
  }

  /** The files of a folder, by name; what dray keeps for itself is left out. */
  static read(folder: string): Map<string, Buffer> {
    const found = new Map<string, Buffer>();
    for (const name of namesBelow(folder)) {
      const content = readIfThere(join(folder, name));
      if (content !== undefined) found.set(name, content);
    }
    return found;
  }

  namesIn(folder: string): string[] {
    return namesBelow(folder);
  }

  /** @throws when a visible file is not one of the contents, whole */
  expectWhole(folder: string): void {
    for (const [name, content] of SavedContents.read(folder)) {
      if (numberOf(content) === undefined)
        throw new Error(
          `${join(folder, name)} is visible with ${content.length} bytes that nobody has saved so`,
        );
    }
  }

  /** Contents that are in none of the folders: neither visible nor as a version. */
  lostIn(folders: readonly string[]): number[] {
    const found = new Set<number>();
    for (const folder of folders) {
      for (const content of SavedContents.read(folder).values()) found.add(numberOf(content) ?? -1);
      for (const content of SavedContents.read(join(folder, ".dray/versions")).values())
        found.add(numberOf(content) ?? -1);
    }
    return Array.from({ length: this.count }, (_, number) => number).filter((number) => !found.has(number));
  }
}

/** Which content it is; undefined when it is not one, or not whole. */
function numberOf(content: Buffer): number | undefined {
  const header = HEADER.exec(content.subarray(0, MAX_HEADER_BYTES).toString("latin1"));
  if (header === null) return undefined;
  const body = content.subarray(header[0].length);
  return body.length === Number(header[2]) && md5(body) === header[3] ? Number(header[1]) : undefined;
}

function namesBelow(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  const names: string[] = [];
  const visit = (prefix: string): void => {
    for (const entry of readDirectory(join(folder, prefix))) {
      const name = prefix + entry.name;
      if (name === ".dray" || name.endsWith(".swp")) continue;
      if (entry.isDirectory()) visit(`${name}/`);
      else names.push(name);
    }
  };
  visit("");
  return names.sort();
}

/** None for a directory that is removed meanwhile. */
function readDirectory(path: string): fs.Dirent[] {
  try {
    return fs.readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return fs.readFileSync(path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function md5(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("hex");
}
