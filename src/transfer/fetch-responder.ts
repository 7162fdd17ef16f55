import type { ContainedRoot } from "../disk/contained-root.ts";
import type { FileRead } from "../disk/file-read.ts";
import type { Hides } from "../disk/walk.ts";
import { type DigestKind, DigestChain } from "../wire/digest.ts";
import { dataFrameOverhead, sealDataFrame } from "../wire/messages.ts";
import { openForSending } from "./open-for-sending.ts";
import type { FillResult, OutBuffer, Responder } from "./responder.ts";

/** What one DATA message carries at most: large enough for full speed, small enough to lose. */
const PIECE_BYTES = 256 * 1024;

export interface FetchOrder {
  path: string;
  offset: number;
  length: number;
  digest: DigestKind;
}

/** Sends one file: FILE, then its pieces, then END; nothing but an error once it changed on the way. */
export class FetchResponder implements Responder {
  readonly #root: ContainedRoot;
  readonly #hides: Hides;
  readonly #order: FetchOrder;
  readonly #requestId: number;
  readonly #chain: DigestChain;
  #file: FileRead | undefined;
  #position = 0;
  #endPosition = 0;

  constructor(root: ContainedRoot, hides: Hides, order: FetchOrder, requestId: number) {
    this.#root = root;
    this.#hides = hides;
    this.#order = order;
    this.#requestId = requestId;
    this.#chain = new DigestChain(order.digest);
  }

  release(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  fill(out: OutBuffer): FillResult {
    if (this.#file === undefined) {
      if (out.freeBytes < HEAD_ROOM_BYTES) return "more";
      this.#file = this.#open(out);
    }
    const overheadBytes = dataFrameOverhead(this.#order.digest);
    while (this.#position < this.#endPosition) {
      const pieceBytes = Math.min(PIECE_BYTES, this.#endPosition - this.#position);
      if (overheadBytes + pieceBytes > out.freeBytes) return "more";
      const start = out.usedBytes + overheadBytes;
      this.#file.readFully(out.bytes.subarray(start, start + pieceBytes), this.#position);
      this.#chain.add(
        sealDataFrame(out.bytes, out.usedBytes, this.#requestId, this.#order.digest, pieceBytes),
      );
      out.usedBytes = start + pieceBytes;
      this.#position += pieceBytes;
    }
    if (out.freeBytes < HEAD_ROOM_BYTES) return "more";
    this.#file.assertUnchanged();
    const length = this.#endPosition - this.#start;
    out.put({ type: "end", length, chain: this.#chain.value }, this.#requestId);
    return "done";
  }

  get #start(): number {
    return Math.min(this.#order.offset, this.#file!.facts.sizeBytes);
  }

  #open(out: OutBuffer): FileRead {
    const file = openForSending(this.#root, this.#hides, this.#order.path);
    this.#file = file;
    const { sizeBytes, mtimeUs, mode } = file.facts;
    const offset = this.#start;
    const length = Math.min(this.#order.length, sizeBytes - offset);
    this.#position = offset;
    this.#endPosition = offset + length;
    out.put({ type: "file", size: sizeBytes, mtimeUs, mode, offset, length }, this.#requestId);
    return file;
  }
}

/** Enough for FILE or END. */
const HEAD_ROOM_BYTES = 128;
