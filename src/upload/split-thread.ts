import * as fs from "node:fs";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { digestBytes, writeDigest } from "../wire/digest.ts";
import { BLOCK_BYTES, PieceSums } from "../wire/piece-digest.ts";
import type { FromSplitThread, SplitRange, ToSplitThread } from "./split-messages.ts";

const PROGRESS_BYTES = 64 * 1024 * 1024;

/** A pool thread's side of a put of split files: digests of ranges of a file, one range after the other. */
export class SplitThread {
  readonly #post: (message: FromSplitThread) => void;
  readonly #block = new Uint8Array(BLOCK_BYTES);

  constructor(post: (message: FromSplitThread) => void) {
    this.#post = post;
  }

  take(message: ToSplitThread): void {
    const { job } = message;
    try {
      this.#post({ type: "split-done", job, ...this.#sums(message) });
    } catch (error) {
      const { code, message: why } = asDrayError(error);
      this.#post({ type: "split-failed", job, code, message: why });
    }
  }

  #sums({ job, descriptor, offset, lengthBytes, pieces: wanted }: SplitRange): {
    sha256: string;
    pieces: Uint8Array;
  } {
    const hasher = new Bun.CryptoHasher("sha256");
    const width = wanted === undefined ? 0 : digestBytes(wanted.digest);
    const sums = wanted && new PieceSums(wanted.digest, wanted.pieceBytes / BLOCK_BYTES);
    const count = wanted === undefined ? 0 : Math.ceil(lengthBytes / wanted.pieceBytes);
    const pieces = new Uint8Array(count * width);
    const digest = new Uint8Array(width);
    let [filled, toldBytes] = [0, 0];
    const takePieces = (): void => {
      for (let next = sums?.takeDigest(); next !== undefined; next = sums?.takeDigest()) {
        pieces.set(next, filled);
        filled += width;
      }
    };
    for (let done = 0; done < lengthBytes; done += BLOCK_BYTES) {
      const block = this.#read(descriptor, offset + done, Math.min(BLOCK_BYTES, lengthBytes - done));
      hasher.update(block);
      if (wanted !== undefined) {
        writeDigest(wanted.digest, block, digest, 0);
        sums!.add(digest);
        takePieces();
      }
      if (done + block.length - toldBytes >= PROGRESS_BYTES || done + block.length === lengthBytes) {
        this.#post({ type: "split-progress", job, bytes: done + block.length - toldBytes });
        toldBytes = done + block.length;
      }
    }
    sums?.end();
    takePieces();
    return { sha256: hasher.digest("hex"), pieces };
  }

  #read(descriptor: number, offset: number, lengthBytes: number): Uint8Array {
    const block = this.#block.subarray(0, lengthBytes);
    for (let filled = 0; filled < lengthBytes;) {
      const count = fs.readSync(descriptor, block, filled, lengthBytes - filled, offset + filled);
      if (count === 0) throw new DrayError("changed", "the file became shorter while it was being read");
      filled += count;
    }
    return block;
  }
}
