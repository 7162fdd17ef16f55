import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { DrayError } from "../errors/dray-error.ts";
import { ByteReader, ByteWriter } from "../wire/cursor.ts";
import { type ListEntry, entriesBytes, readEntries, writeEntries } from "../wire/entries.ts";

/** What is kept in memory; the rest of a long list goes to a file. */
const MAX_MEMORY_BYTES = 8 * 1024 * 1024;

/** A list beyond this (some ten million names) is no list: a hostile server fills no disk of ours. */
const MAX_FILE_BYTES = 4 * 1024 ** 3;

/** A list of any length, first in, first out, in bounded memory. */
export class EntrySpool {
  readonly #inMemory: Uint8Array[] = [];
  #memoryBytes = 0;
  /** Lengths of the batches in the file, in order, and from where on they are unread. */
  #inFile: number[] = [];
  #unreadBatch = 0;
  #descriptor: number | undefined;
  #writtenBytes = 0;
  #readBytes = 0;
  #batch: ListEntry[] = [];
  #next = 0;

  /** All pushes come before the first `next`. @throws DrayError "refused" when it is too long; a system error */
  push(entries: readonly ListEntry[]): void {
    const bytes = new Uint8Array(entriesBytes(entries));
    writeEntries(entries, new ByteWriter(bytes, 0));
    if (this.#descriptor === undefined && this.#memoryBytes + bytes.length <= MAX_MEMORY_BYTES) {
      this.#inMemory.push(bytes);
      this.#memoryBytes += bytes.length;
      return;
    }
    if (this.#writtenBytes + bytes.length > MAX_FILE_BYTES)
      throw new DrayError("refused", `the server's list is over ${MAX_FILE_BYTES} bytes long`);
    this.#descriptor ??= nameless();
    for (let taken = 0; taken < bytes.length;) {
      taken += fs.writeSync(this.#descriptor, bytes, taken, bytes.length - taken, this.#writtenBytes + taken);
    }
    this.#writtenBytes += bytes.length;
    this.#inFile.push(bytes.length);
  }

  /** @returns undefined at the end */
  next(): ListEntry | undefined {
    while (this.#next === this.#batch.length) {
      const bytes = this.#inMemory.shift() ?? this.#readBatch();
      if (bytes === undefined) return undefined;
      this.#batch = readEntries(new ByteReader(bytes));
      this.#next = 0;
    }
    return this.#batch[this.#next++];
  }

  /** Empties it. */
  clear(): void {
    if (this.#descriptor !== undefined) fs.closeSync(this.#descriptor);
    this.#descriptor = undefined;
    this.#inMemory.length = 0;
    this.#inFile = [];
    this.#batch = [];
    this.#memoryBytes = this.#unreadBatch = this.#writtenBytes = this.#readBytes = this.#next = 0;
  }

  #readBatch(): Uint8Array | undefined {
    const lengthBytes = this.#inFile[this.#unreadBatch];
    if (lengthBytes === undefined) return undefined;
    const bytes = new Uint8Array(lengthBytes);
    for (let filled = 0; filled < lengthBytes;) {
      const count = fs.readSync(
        this.#descriptor!,
        bytes,
        filled,
        lengthBytes - filled,
        this.#readBytes + filled,
      );
      if (count === 0) throw Object.assign(new Error("the list was cut off"), { code: "EIO" });
      filled += count;
    }
    this.#readBytes += lengthBytes;
    this.#unreadBatch++;
    return bytes;
  }
}

/** A file that is gone with its descriptor, however this process ends. */
function nameless(): number {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dray-list-"));
  const descriptor = fs.openSync(path.join(folder, "list"), "w+", 0o600);
  fs.rmSync(folder, { recursive: true });
  return descriptor;
}
