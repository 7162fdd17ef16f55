import { DrayError } from "../errors/dray-error.ts";

/** @throws DrayError "interrupted" as soon as the signal fires */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = (): void => reject(new DrayError("interrupted", "stopped"));
  const timer = setTimeout(resolve, durationMs);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
