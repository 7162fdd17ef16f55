import { Violation } from "./violation.ts";

const STATUS_BITS = 0x80ff;
const NAMED = { 3: "close", 4: "abort", 5: "delete", 6: "request" } as const;

export type TapMessage =
  | { readonly type: "chunk"; readonly name: string; readonly md5: string; readonly data: Buffer }
  | { readonly type: "close" | "abort" | "delete" | "request"; readonly name: string; readonly md5: string }
  | { readonly type: "status"; readonly code: number };

/**
 * One direction of a connection, read by a parser of its own that follows the seed's text and shares no line with src.
 * It knows of each byte what it is, so that damage can be done where the protocol has a checksum.
 */
export class WireTap {
  #pending = Buffer.alloc(0);
  /** Messages that are no keep-alive. */
  messages = 0;
  bytes = 0;
  /** A chunk's data that is still to come. */
  #chunk: { name: string; md5: string; sizeBytes: number; parts: Buffer[]; missing: number } | undefined;

  /**
   * @param guarded told of the offset in `bytes` of every byte that a checksum covers
   * @throws Violation when that is not the protocol
   */
  push(
    bytes: Uint8Array,
    heard: (message: TapMessage) => void,
    guarded: (offset: number, length: number) => void,
  ): void {
    this.bytes += bytes.length;
    let at = 0;
    while (at < bytes.length) {
      if (this.#chunk !== undefined) {
        const count = Math.min(this.#chunk.missing, bytes.length - at);
        if (count > 0) guarded(at, count);
        this.#chunk.parts.push(Buffer.from(bytes.subarray(at, at + count)));
        this.#chunk.missing -= count;
        at += count;
        this.#endChunk(heard);
        continue;
      }
      this.#pending = Buffer.concat([this.#pending, bytes.subarray(at, at + 1)]);
      at++;
      this.#head(heard);
    }
  }

  #head(heard: (message: TapMessage) => void): void {
    const head = this.#pending;
    if (head.length < 2) return;
    const type = head.readUInt16LE(0);
    if (type < 1 || type > 6) throw new Violation("wire", `a message of type ${type} was sent`);
    if (type === 2) {
      if (head.length < 4) return;
      const code = head.readUInt16LE(2);
      this.#pending = Buffer.alloc(0);
      if (code === 0 || (code & ~STATUS_BITS) !== 0)
        throw new Violation("wire", `a status of ${code} was sent`);
      if (code !== 0x8000) this.messages++;
      return heard({ type: "status", code });
    }
    const fixed = type === 1 ? 24 : 20;
    if (head.length < fixed) return;
    const nameBytes = head.readUInt16LE(fixed - 2);
    if (nameBytes === 0) throw new Violation("wire", "a name of no bytes was sent");
    if (head.length < fixed + nameBytes) return;
    this.#pending = Buffer.alloc(0);
    const md5 = head.toString("hex", 2, 18);
    const name = new TextDecoder("utf-8", { fatal: true }).decode(head.subarray(fixed));
    this.messages++;
    if (type === 1) {
      const sizeBytes = head.readUInt32LE(18);
      this.#chunk = { name, md5, sizeBytes, parts: [], missing: sizeBytes };
      return this.#endChunk(heard);
    }
    heard({ type: NAMED[type as keyof typeof NAMED], name, md5 });
  }

  #endChunk(heard: (message: TapMessage) => void): void {
    const chunk = this.#chunk;
    if (chunk === undefined || chunk.missing > 0) return;
    this.#chunk = undefined;
    heard({ type: "chunk", name: chunk.name, md5: chunk.md5, data: Buffer.concat(chunk.parts) });
  }
}
