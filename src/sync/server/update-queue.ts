/**
 * The names of which one client is to hear, each at most once; what to send is decided when a name's turn comes.
 * Pure: told the time.
 */
export class UpdateQueue {
  /** In the order of their turns. */
  readonly #ready = new Set<string>();
  /** Names that failed, and when they are tried again. */
  readonly #later = new Map<string, number>();
  /** Not after the first of those; earlier where it was removed meanwhile. */
  #firstMs = Infinity;

  /** Names that wait, those for later included. */
  get size(): number {
    return this.#ready.size + this.#later.size;
  }

  has(name: string): boolean {
    return this.#ready.has(name) || this.#later.has(name);
  }

  /** Puts a name at the end; one that waits for a later try gets its turn now. @returns false if it was in its turn already */
  add(name: string): boolean {
    if (this.#ready.has(name)) return false;
    this.#later.delete(name);
    this.#ready.add(name);
    return true;
  }

  /** Puts a name aside until `atMs`; one that waits for its turn keeps it. */
  addLater(name: string, atMs: number): void {
    if (this.#ready.has(name)) return;
    this.#later.set(name, atMs);
    this.#firstMs = Math.min(this.#firstMs, atMs);
  }

  remove(name: string): void {
    this.#ready.delete(name);
    this.#later.delete(name);
  }

  /** The name whose turn it is, removed from the queue. */
  take(nowMs: number): string | undefined {
    if (nowMs >= this.#firstMs) this.#takeDue(nowMs);
    for (const name of this.#ready) {
      this.#ready.delete(name);
      return name;
    }
    return undefined;
  }

  /** When to look again for those put aside, at the latest when the next is due; undefined when there is none, or when others have their turn now. */
  get dueMs(): number | undefined {
    if (this.#ready.size > 0 || this.#later.size === 0) return undefined;
    return this.#firstMs;
  }

  #takeDue(nowMs: number): void {
    this.#firstMs = Infinity;
    for (const [name, atMs] of this.#later) {
      if (atMs > nowMs) {
        this.#firstMs = Math.min(this.#firstMs, atMs);
        continue;
      }
      this.#later.delete(name);
      this.#ready.add(name);
    }
  }
}
