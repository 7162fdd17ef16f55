import type { ContainedRoot } from "../disk/contained-root.ts";
import type { FileFacts } from "../disk/file-facts.ts";
import { type Hides, isHidden } from "../disk/walk.ts";
import { DrayError } from "../errors/dray-error.ts";
import { type FetchOrder, FetchResponder } from "../transfer/fetch-responder.ts";
import type { FillResult, OutBuffer, Responder } from "../transfer/responder.ts";
import { DigestChain } from "../wire/digest.ts";
import { dataFrameOverhead, writeDataFrame } from "../wire/messages.ts";
import { parsePath } from "../wire/names.ts";
import { CACHE_PIECE_BYTES, type CacheEntry } from "./cache-entry.ts";
import type { CacheUse, FileCache } from "./file-cache.ts";
import { addressAnswer } from "./whole-answer.ts";

/** Enough for FILE or END. */
const HEAD_ROOM_BYTES = 128;

/** Where files are served from. */
export interface ServedTree {
  readonly root: ContainedRoot;
  readonly cache: FileCache;
  readonly hides: Hides;
}

/** Sends one file from the cache; past it, from the disk, if it does not fit. */
export class CachedFetch implements Responder {
  readonly #tree: ServedTree;
  readonly #order: FetchOrder;
  readonly #requestId: number;
  readonly #wake: () => void;
  #chain: DigestChain | undefined;
  #use: CacheUse | undefined;
  /** Sends the file instead of us. */
  #fromDisk: FetchResponder | undefined;
  #rest: { readonly seen: FileFacts; readonly timer: Timer } | undefined;
  #isResting = false;
  #start = 0;
  #position = 0;
  #end = 0;

  constructor(tree: ServedTree, order: FetchOrder, requestId: number, wake: () => void) {
    this.#tree = tree;
    this.#order = order;
    this.#requestId = requestId;
    this.#wake = wake;
  }

  fill(out: OutBuffer): FillResult {
    if (this.#fromDisk !== undefined) return this.#fromDisk.fill(out);
    if (this.#use === undefined) {
      if (this.#rest === undefined) {
        const filled = this.#fillAtOnce(out);
        if (filled !== undefined) return filled;
      }
      if (this.#isResting) return "waiting";
      if (out.freeBytes < HEAD_ROOM_BYTES) return "more";
      const use = this.#open();
      if (use === undefined) return this.fill(out);
      const entry = use.whole();
      const lengthBytes = entry === undefined ? undefined : this.#answerBytes(entry);
      if (entry !== undefined && lengthBytes !== undefined && lengthBytes <= out.freeBytes)
        return this.#putAnswer(entry, lengthBytes, out);
      this.#putHead(use, out);
      return this.#send(use, out);
    }
    return this.#send(this.#use, out);
  }

  release(): void {
    clearTimeout(this.#rest?.timer);
    this.#use?.release(this.#wake);
    this.#fromDisk?.release();
  }

  /** The whole file with one write, where that is what is asked for and what there is. */
  #fillAtOnce(out: OutBuffer): FillResult | undefined {
    const { cache } = this.#tree;
    const entry = cache.peek(this.#order.path);
    const lengthBytes = entry === undefined ? undefined : this.#answerBytes(entry);
    if (entry === undefined || lengthBytes === undefined) return undefined;
    if (lengthBytes > out.freeBytes) return "more";
    if (!cache.confirm(entry)) return undefined;
    return this.#putAnswer(entry, lengthBytes, out);
  }

  /** How long the entry's own answer is, if that is the one to this request. */
  #answerBytes(entry: CacheEntry): number | undefined {
    const { offset, length, digest } = this.#order;
    const isAll = offset === 0 && length >= entry.facts.sizeBytes;
    return isAll && digest === "xxh3" ? entry.answerBytes : undefined;
  }

  #putAnswer(entry: CacheEntry, lengthBytes: number, out: OutBuffer): FillResult {
    const at = out.usedBytes;
    addressAnswer(out.putFrames(entry.answer), at, lengthBytes, this.#requestId);
    return "done";
  }

  /** @returns the file in the cache, or undefined when it has to rest, or comes from the disk */
  #open(): CacheUse | undefined {
    const { root, cache, hides } = this.#tree;
    const components = parsePath(this.#order.path);
    if (components.length === 0) throw new DrayError("refused", "it is a directory");
    if (isHidden(components, hides)) throw new DrayError("not-found", "no such file or directory");
    const found = cache.open(components, this.#rest?.seen);
    if ("restMs" in found) {
      this.#isResting = true;
      const timer = setTimeout(() => {
        this.#isResting = false;
        this.#wake();
      }, found.restMs);
      this.#rest = { seen: found.seen, timer };
    } else if (found.use === undefined) {
      this.#fromDisk = new FetchResponder(root, hides, this.#order, this.#requestId);
    }
    this.#use = "use" in found ? found.use : undefined;
    return this.#use;
  }

  #putHead(use: CacheUse, out: OutBuffer): void {
    const { sizeBytes, mtimeUs, mode } = use.facts;
    const offset = Math.min(this.#order.offset, sizeBytes);
    const length = Math.min(this.#order.length, sizeBytes - offset);
    this.#start = this.#position = offset;
    this.#end = offset + length;
    out.put({ type: "file", size: sizeBytes, mtimeUs, mode, offset, length }, this.#requestId);
  }

  #send(use: CacheUse, out: OutBuffer): FillResult {
    const { digest } = this.#order;
    const overheadBytes = dataFrameOverhead(digest);
    const chain = (this.#chain ??= new DigestChain(digest));
    if (this.#position < this.#end) {
      const pieceBytes = Math.min(CACHE_PIECE_BYTES, this.#end - this.#position);
      if (overheadBytes + pieceBytes > out.freeBytes) return "more";
      const piece = use.bytes(this.#position, pieceBytes, this.#end, this.#wake);
      if (piece === undefined) return "waiting";
      const pieceDigest = use.digest(digest, this.#position, pieceBytes);
      chain.add(pieceDigest);
      out.usedBytes = writeDataFrame(out.bytes, out.usedBytes, this.#requestId, pieceDigest, piece);
      this.#position += pieceBytes;
      // One at a time: what the system does not take of it is what a slow client costs.
      if (this.#position < this.#end) return "more";
    }
    if (out.freeBytes < HEAD_ROOM_BYTES) return "more";
    out.put({ type: "end", length: this.#end - this.#start, chain: chain.value }, this.#requestId);
    return "done";
  }
}
