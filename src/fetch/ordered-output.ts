/** Bytes for a stream that takes them at its own pace, one write behind the other. */
export class OrderedOutput {
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isWriting = false;
  #failure: { error: unknown } | undefined;
  #changed: (() => void) | undefined;

  /** @param write resolves when the bytes were taken */
  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  /** Queues bytes, which must stay as they are. @throws what an earlier write threw */
  write(bytes: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (!this.#isWriting) void this.#writeAll();
  }

  /** Resolves when at most so many bytes wait. @throws what a write threw */
  async room(mostBytes: number): Promise<void> {
    while (this.#failure === undefined && this.#waitingBytes > mostBytes) {
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    try {
      for (let bytes = this.#waiting.shift(); bytes !== undefined; bytes = this.#waiting.shift()) {
        await this.#write(bytes);
        this.#waitingBytes -= bytes.length;
        this.#changed?.();
      }
    } catch (error) {
      this.#failure = { error };
      this.#waiting = [];
      this.#changed?.();
    } finally {
      this.#isWriting = false;
    }
  }
}
