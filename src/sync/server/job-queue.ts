/**
 * A pool of workers with a queue in front: jobs begin in the order in which they came, so many at a time as there
 * are workers (the seed's extra credit). The workers take turns in one thread; what is long in a job runs elsewhere.
 */
export class JobQueue {
  readonly #workers: number;
  readonly #waiting: (() => Promise<void>)[] = [];
  #next = 0;
  #running = 0;
  #idle: (() => void)[] = [];

  /** @param workers at least 1 */
  constructor(workers: number) {
    this.#workers = workers;
  }

  get waiting(): number {
    return this.#waiting.length - this.#next;
  }

  get running(): number {
    return this.#running;
  }

  /** Runs a job when its turn has come; its outcome is the promise's. */
  run<T>(job: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.push(async () => {
      try {
        resolve(await job());
      } catch (error) {
        reject(error);
      }
    });
    this.#begin();
    return promise;
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #begin(): void {
    while (this.#running < this.#workers && this.#next < this.#waiting.length) {
      const begin = this.#waiting[this.#next++]!;
      if (this.#next > 1024 && this.#next * 2 > this.#waiting.length) {
        this.#waiting.splice(0, this.#next);
        this.#next = 0;
      }
      this.#running++;
      void begin().finally(() => this.#ended());
    }
  }

  #ended(): void {
    this.#running--;
    this.#begin();
    if (this.#running > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
