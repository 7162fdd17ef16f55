/** How long to wait between attempts. Pure: the caller brings the randomness and the clock. */
export interface Backoff {
  attempts: number;
  firstDelayMs: number;
  maxDelayMs: number;
}

/**
 * The delay after attempt number `attempt` (1 is the first): doubling, capped, and spread by half so
 * that many clients do not come back in step.
 * @param random from 0 up to 1
 * @returns milliseconds, or undefined when no attempt is left
 */
export function delayAfterAttempt(backoff: Backoff, attempt: number, random: number): number | undefined {
  if (attempt >= backoff.attempts) return undefined;
  const fullMs = Math.min(backoff.maxDelayMs, backoff.firstDelayMs * 2 ** (attempt - 1));
  return Math.round(fullMs * (0.5 + random / 2));
}
