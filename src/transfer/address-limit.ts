/** How often in a row an address may, before it has to wait. */
const BURST = 20;
/** How long it takes until once more is allowed. */
const REFILL_MS = 1_000;
/** The oldest ones are forgotten: this is the bound on memory. */
const MAX_ADDRESSES = 10_000;

interface Times {
  /** How many times still count, as of `atMs`. */
  count: number;
  atMs: number;
}

/**
 * How often each address may do something: 20 times at once, then once a second. Pure: told what happened
 * and when.
 */
export class AddressLimit {
  readonly #byAddress = new Map<string, Times>();

  /** @returns after how many milliseconds the address may once more; 0: now */
  waitMs(address: string, nowMs: number): number {
    const times = this.#byAddress.get(address);
    if (times === undefined) return 0;
    return Math.max(0, Math.ceil((countAt(times, nowMs) - BURST + 1) * REFILL_MS));
  }

  /** The address did it. */
  count(address: string, nowMs: number): void {
    const times = this.#byAddress.get(address);
    const count = 1 + (times === undefined ? 0 : countAt(times, nowMs));
    this.#byAddress.delete(address); // so that the order of the map is that of the last times
    this.#byAddress.set(address, { count, atMs: nowMs });
    if (this.#byAddress.size <= MAX_ADDRESSES) return;
    const [oldest] = this.#byAddress.keys();
    this.#byAddress.delete(oldest!);
  }
}

function countAt({ count, atMs }: Times, nowMs: number): number {
  return Math.max(0, count - (nowMs - atMs) / REFILL_MS);
}
