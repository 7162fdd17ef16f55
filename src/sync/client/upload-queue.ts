export interface UploadLimits {
  /** Files that are sent at the same time. */
  readonly files: number;
  /** Of those, large ones: a small file does not wait until a large one is through. */
  readonly largeFiles: number;
  readonly largeBytes: number;
}

/** One file and one chunk at a time: what every server understands. */
export const LITERAL_UPLOADS: UploadLimits = { files: 1, largeFiles: 1, largeBytes: Infinity };
export const PARALLEL_UPLOADS: UploadLimits = { files: 512, largeFiles: 4, largeBytes: 4 * 1024 * 1024 };

/** Which files are sent next, pure: in the order in which they came, large ones a few at a time. */
export class UploadQueue {
  #limits: UploadLimits = LITERAL_UPLOADS;
  readonly #waiting = new Map<string, number>();
  readonly #running = new Map<string, number>();
  readonly #sizes = new Map<number, number>();
  #largeRunning = 0;

  get waiting(): number {
    return this.#waiting.size;
  }

  get running(): number {
    return this.#running.size;
  }

  limit(limits: UploadLimits): void {
    this.#limits = limits;
    this.#largeRunning = [...this.#running.values()].filter((size) => size >= limits.largeBytes).length;
  }

  /** Adds a file, or notes its new size. Does nothing for one that is being sent. */
  add(name: string, sizeBytes: number): void {
    if (this.#running.has(name)) return;
    const old = this.#waiting.get(name);
    if (old !== undefined) this.#count(old, -1);
    this.#waiting.set(name, sizeBytes);
    this.#count(sizeBytes, 1);
  }

  /** It is not to be sent after all. */
  drop(name: string): void {
    const size = this.#waiting.get(name);
    if (size === undefined) return;
    this.#waiting.delete(name);
    this.#count(size, -1);
  }

  /** The next file to begin with; it counts as running until `ended`. */
  next(): string | undefined {
    if (this.#running.size >= this.#limits.files) return undefined;
    for (const [name, size] of this.#waiting) {
      const isLarge = size >= this.#limits.largeBytes;
      if (isLarge && this.#largeRunning >= this.#limits.largeFiles) continue;
      this.#waiting.delete(name);
      this.#running.set(name, size);
      if (isLarge) this.#largeRunning++;
      return name;
    }
    return undefined;
  }

  ended(name: string): void {
    const size = this.#running.get(name);
    if (size === undefined) return;
    this.#running.delete(name);
    this.#count(size, -1);
    if (size >= this.#limits.largeBytes) this.#largeRunning--;
  }

  isRunning(name: string): boolean {
    return this.#running.has(name);
  }

  /** Whether a file of this size waits or is being sent. */
  hasSize(sizeBytes: number): boolean {
    return this.#sizes.has(sizeBytes);
  }

  /** Nothing waits any more. What is running is so until `ended`. */
  clear(): void {
    for (const name of this.#waiting.keys()) this.drop(name);
  }

  #count(sizeBytes: number, step: 1 | -1): void {
    const count = (this.#sizes.get(sizeBytes) ?? 0) + step;
    if (count > 0) this.#sizes.set(sizeBytes, count);
    else this.#sizes.delete(sizeBytes);
  }
}
