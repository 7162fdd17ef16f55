/** Work on one name happens one after the other; on different names at the same time. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** How many names are being worked on. */
  get size(): number {
    return this.#last.size;
  }

  /** Runs `work` when all that was given for this name before has ended. @throws what `work` throws */
  run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const result = before.then(work, work);
    const last: Promise<void> = result.then(
      () => this.#leave(name, last),
      () => this.#leave(name, last),
    );
    this.#last.set(name, last);
    return result;
  }

  /** Resolves when nothing is being worked on any more. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }

  #leave(name: string, which: Promise<unknown>): void {
    if (this.#last.get(name) === which) this.#last.delete(name);
  }
}
