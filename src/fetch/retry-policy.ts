import type { ErrorCode } from "../errors/codes.ts";
import { type Backoff, delayAfterAttempt } from "../net/backoff.ts";

/** Whether and when to try again. Pure: the caller brings the clock and the randomness. */

export interface Failure {
  code: ErrorCode;
  retryable: boolean;
  /** The earliest moment that makes sense, as the server says; 0 if it does not. */
  retryAfterMs: number;
}

/** What is to be done about a failure: wait, then try again. */
export interface Retry {
  waitMs: number;
  /** Which attempt in a row has failed… */
  attempt: number;
  /** …of so many; undefined where time is the limit. */
  attempts: number | undefined;
}

const BACKOFF: Backoff = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 250, maxDelayMs: 5_000 };

export interface DialPatience {
  /** How long to try to reach a server that has not been there yet. */
  timeoutMs: number;
  /** How long a server that was there may be gone, or have no room. */
  patienceMs: number;
}

/** A server that is not there, or busy, is a matter of time. One for all connections to it. */
export class DialPolicy {
  readonly #patience: DialPatience;
  readonly #startedMs: number;
  #lastThereMs: number | undefined;
  #inVain = 0;

  constructor(patience: DialPatience, nowMs: number) {
    this.#patience = patience;
    this.#startedMs = nowMs;
  }

  /** The server took us in, or sent something. */
  wasThere(nowMs: number): void {
    this.#lastThereMs = nowMs;
    this.#inVain = 0;
  }

  /**
   * @param random from 0 up to 1
   * @returns undefined when it is to be given up
   */
  failed(failure: Failure, nowMs: number, random: number): Retry | undefined {
    const wasThere = this.#lastThereMs !== undefined;
    if (!mayPass(failure, wasThere)) return undefined;
    const { timeoutMs, patienceMs } = this.#patience;
    const untilMs = wasThere ? this.#lastThereMs! + patienceMs : this.#startedMs + timeoutMs;
    const attempt = ++this.#inVain;
    const waitMs = waitAfter(attempt, failure, random);
    return nowMs + waitMs >= untilMs ? undefined : { waitMs, attempt, attempts: undefined };
  }
}

/**
 * A file that cannot be fetched, from a server that is there, is a matter of attempts. Progress begins
 * their count anew; but a file that changes again and again makes progress each time and never ends,
 * so changes are counted for themselves.
 */
export class AttemptPolicy {
  readonly #attempts: number;
  #inVain = 0;
  #changes = 0;

  /** @param attempts how often it may fail in a row without any progress in between */
  constructor(attempts: number) {
    this.#attempts = attempts;
  }

  /** Verified bytes came. */
  progressed(): void {
    this.#inVain = 0;
  }

  /**
   * @param random from 0 up to 1
   * @returns undefined when it is to be given up
   */
  failed(failure: Failure, random: number): Retry | undefined {
    if (!mayPass(failure, true)) return undefined;
    const attempt = failure.code === "changed" ? ++this.#changes : ++this.#inVain;
    if (attempt >= this.#attempts) return undefined;
    return { waitMs: waitAfter(attempt, failure, random), attempt, attempts: this.#attempts };
  }
}

/** A server that has spoken the protocol before still does: what looks otherwise was damaged on the way. */
function mayPass({ code, retryable }: Failure, wasThere: boolean): boolean {
  return retryable || (code === "protocol" && wasThere);
}

function waitAfter(attempt: number, { retryAfterMs }: Failure, random: number): number {
  return Math.max(delayAfterAttempt(BACKOFF, attempt, random) ?? 0, retryAfterMs);
}
