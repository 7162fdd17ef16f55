import { asDrayError } from "../errors/dray-error.ts";
import { delayAfterAttempt } from "../net/backoff.ts";
import type { DialTarget } from "../net/dial.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";

const BACKOFF = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 200, maxDelayMs: 5_000 };

/**
 * Connects, trying again as long as that can help and the time lasts.
 * @param limitMs for all attempts together; there is always one
 * @throws the last attempt's DrayError, or the signal's reason
 */
export async function connectWithin(
  target: DialTarget,
  settings: ClientSettings,
  limitMs: number,
  signal: AbortSignal,
): Promise<Client> {
  const startedMs = performance.now();
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    try {
      const client = await Client.connect(target, settings);
      if (!signal.aborted) return client;
      client.close();
    } catch (error) {
      const known = asDrayError(error);
      const delayMs = delayAfterAttempt(BACKOFF, attempt, Math.random()) ?? 0;
      const pauseMs = Math.max(delayMs, known.retryAfterMs);
      if (!known.retryable || performance.now() + pauseMs - startedMs > limitMs) throw known;
      await sleep(pauseMs, signal);
    }
  }
}

/** Resolves after a while, or when the signal fires. */
export function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    clearTimeout(timer);
    signal.removeEventListener("abort", done);
    resolve();
  };
  const timer = setTimeout(done, delayMs);
  signal.addEventListener("abort", done);
  if (signal.aborted) done();
  return promise;
}
