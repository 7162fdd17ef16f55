/** How long a wait may take before the test fails, unless it says otherwise. */
const DEFAULT_TIMEOUT_MS = 20_000;

export interface WaitOptions {
  /** Fails loudly when this has passed; 20 s if not given. */
  timeoutMs?: number;
}

/** The promise, or an error with `describe()` in it once `timeoutMs` have passed. */
export async function withDeadline<T>(
  promise: Promise<T>,
  timeoutMs: number,
  describe: () => string,
): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new Error(`Waited ${timeoutMs} ms in vain for ${describe()}`));
  }, timeoutMs);
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets a test wait until something that others change comes true, without polling. */
export class Condition {
  private waiting: (() => void)[] = [];

  /** Whoever changed something says so; every waiter looks again. */
  changed(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const wake of waiting) wake();
  }

  /**
   * The first defined value that `probe` gives, looked at now and after every change. What `probe`
   * throws is thrown to the caller.
   */
  async until<T>(probe: () => T | undefined, describe: () => string, options: WaitOptions = {}): Promise<T> {
    return await withDeadline(this.firstDefined(probe), options.timeoutMs ?? DEFAULT_TIMEOUT_MS, describe);
  }

  private async firstDefined<T>(probe: () => T | undefined): Promise<T> {
    for (;;) {
      const value = probe();
      if (value !== undefined) return value;
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }
}
