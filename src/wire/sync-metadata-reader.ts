import {
  type MetadataEntry,
  type MetadataServer,
  metadataServerOf,
  parseMetadataLine,
} from "./sync-metadata.ts";
import { MAX_SYNC_NAME_BYTES } from "./sync-messages.ts";
import { isReservedName } from "./sync-reserved.ts";

/** Longest line in bytes: a name whose every byte is escaped, and room for the fields. */
export const MAX_METADATA_LINE_BYTES = MAX_SYNC_NAME_BYTES * 3 + 4096;

const LINE_FEED = 0x0a;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads META-DATA as its bytes arrive, in memory for one line. */
export class MetadataReader {
  readonly #onEntry: (entry: MetadataEntry) => void;
  #line = new Uint8Array(1024);
  #lineBytes = 0;
  #isOverlong = false;
  #isFirst = true;
  #server: MetadataServer | undefined;
  #skippedLines = 0;

  /** @param onEntry called for every file, in the order of the lines; names are not checked, but none is reserved */
  constructor(onEntry: (entry: MetadataEntry) => void) {
    this.#onEntry = onEntry;
  }

  /** Known as soon as the first line is read; stays undefined if the sender is not dray. */
  get server(): MetadataServer | undefined {
    return this.#server;
  }

  /** Lines that are too long, not UTF-8, or say nothing about a file; blank ones are not counted. */
  get skippedLines(): number {
    return this.#skippedLines;
  }

  push(bytes: Uint8Array): void {
    for (let position = 0; position < bytes.length;) {
      const found = bytes.indexOf(LINE_FEED, position);
      const end = found < 0 ? bytes.length : found;
      this.#keep(bytes.subarray(position, end));
      if (found >= 0) this.#endLine();
      position = end + 1;
    }
  }

  /** The last line, if it has no line feed. */
  end(): void {
    this.#endLine();
  }

  #keep(part: Uint8Array): void {
    const neededBytes = this.#lineBytes + part.length;
    if (neededBytes > MAX_METADATA_LINE_BYTES) this.#isOverlong = true;
    if (this.#isOverlong) return;
    if (neededBytes > this.#line.length) {
      const grown = new Uint8Array(Math.min(neededBytes * 2, MAX_METADATA_LINE_BYTES));
      grown.set(this.#line.subarray(0, this.#lineBytes));
      this.#line = grown;
    }
    this.#line.set(part, this.#lineBytes);
    this.#lineBytes = neededBytes;
  }

  #endLine(): void {
    const line = this.#isOverlong ? undefined : decode(this.#line.subarray(0, this.#lineBytes));
    this.#lineBytes = 0;
    this.#isOverlong = false;
    if (line?.trim() === "") return;
    if (this.#isFirst && line !== undefined) this.#server = metadataServerOf(line);
    this.#isFirst = false;
    const entry = line === undefined ? undefined : parseMetadataLine(line);
    if (entry === undefined) this.#skippedLines++;
    else if (!isReservedName(entry.name)) this.#onEntry(entry);
  }
}

function decode(line: Uint8Array): string | undefined {
  try {
    return utf8.decode(line).replace(/\r$/, "");
  } catch {
    return undefined;
  }
}
