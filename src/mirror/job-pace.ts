import type { DrayError } from "../errors/dray-error.ts";

/** Charged for each request beside the bytes that it asks for: about what its frames take. */
export const REQUEST_COST_BYTES = 128;
/** A request is not made for less, unless less is missing. */
const MIN_RANGE_BYTES = 1024;

/** A job's side of the bandwidth limits: how much it may request from its source, and when. */
export class JobPace {
  readonly #ask: (bytes: number) => void;
  #isMetered: boolean;
  /** Granted and not used. */
  #leftBytes = 0;
  /** What the job's files still need, each with the cost of a request. */
  #neededBytes = 0;
  #waiting: PromiseWithResolvers<void> | undefined;
  #refusal: DrayError | undefined;

  /** @param ask sends for a grant of some of these bytes: `granted` or `refuse` is the answer */
  constructor(isMetered: boolean, ask: (bytes: number) => void) {
    this.#isMetered = isMetered;
    this.#ask = ask;
  }

  /** Whether nothing may be requested without asking. */
  get isMetered(): boolean {
    return this.#isMetered;
  }

  /** A limit has come. */
  meter(): void {
    this.#isMetered = true;
  }

  /** Says what is going to be taken, or will not be taken after all, so that small files share a grant. */
  expect(bytes: number): void {
    this.#neededBytes += bytes;
  }

  /**
   * Waits until it is the job's turn. Not to be called again before it is answered.
   * @param wantedBytes at least one
   * @returns how many may be requested now, cost included: not more than is wanted, and not so little
   *   that it is not worth a request; undefined when there is no limit any more
   * @throws DrayError "interrupted" when the job gets nothing more
   */
  async take(wantedBytes: number): Promise<number | undefined> {
    const leastBytes = Math.min(wantedBytes, MIN_RANGE_BYTES + REQUEST_COST_BYTES);
    while (this.#isMetered && this.#leftBytes < leastBytes) {
      if (this.#refusal !== undefined) throw this.#refusal;
      this.#waiting = Promise.withResolvers();
      this.#ask(Math.max(wantedBytes, this.#neededBytes) - this.#leftBytes);
      await this.#waiting.promise;
    }
    if (!this.#isMetered) return undefined;
    const takenBytes = Math.min(this.#leftBytes, wantedBytes);
    this.#leftBytes -= takenBytes;
    this.#neededBytes -= takenBytes;
    return takenBytes;
  }

  /** @param bytes undefined: no limit concerns the job any more */
  granted(bytes: number | undefined): void {
    if (bytes === undefined) {
      this.#isMetered = false;
      this.#leftBytes = 0;
    } else {
      this.#leftBytes += bytes;
    }
    this.#waiting?.resolve();
  }

  /** Nothing more is granted: what waits fails, and so does what comes. */
  refuse(reason: DrayError): void {
    this.#refusal = reason;
    this.#waiting?.reject(reason);
  }
}
