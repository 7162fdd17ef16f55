/** Buffers come in multiples of this, so that the next file can use what another one leaves. */
const STEP_BYTES = 32 * 1024;

/** How long the buffer is that holds so many bytes. */
export function bufferBytes(neededBytes: number): number {
  return Math.ceil(neededBytes / STEP_BYTES) * STEP_BYTES;
}

/**
 * The buffers of the cache's entries. What one leaves the next one takes: given back to the system and
 * asked for again with every file, they would come to far more than what is in use, since the system
 * takes memory back later than it gives it.
 */
export class EntryMemory {
  /** Of each length, those that nobody uses. */
  readonly #free = new Map<number, Uint8Array<ArrayBuffer>[]>();
  #freeBytes = 0;

  /** At least so many bytes, with whatever was in them before. */
  take(neededBytes: number): Uint8Array<ArrayBuffer> {
    const length = bufferBytes(neededBytes);
    const buffer = this.#free.get(length)?.pop();
    if (buffer === undefined) return new Uint8Array(length);
    this.#freeBytes -= length;
    return buffer;
  }

  /** Nobody may look at it any more. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    const alike = this.#free.get(buffer.length);
    if (alike === undefined) this.#free.set(buffer.length, [buffer]);
    else alike.push(buffer);
    this.#freeBytes += buffer.length;
  }

  /** Of what nobody uses, so many bytes stay; the longest buffers go first. */
  keepAtMost(bytes: number): void {
    if (this.#freeBytes <= bytes) return;
    const lengths = [...this.#free.keys()].sort((a, b) => b - a);
    for (const length of lengths) {
      const alike = this.#free.get(length)!;
      while (this.#freeBytes > bytes && alike.length > 0) {
        // Now, not when the garbage collector comes by: until then it would exceed the bound.
        alike.pop()!.buffer.transfer(0);
        this.#freeBytes -= length;
      }
    }
  }
}
