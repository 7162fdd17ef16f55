import type { FileFacts } from "./file-facts.ts";

/** Longer than a tick of the clock by which kernels stamp files: 1 to 10 ms. */
const TICK_MS = 20;
/** The same for file systems that keep whole seconds, or two (FAT). */
const COARSE_TICK_MS = 2_050;

/**
 * How long to leave a file alone before it is read, in milliseconds. A file that is written twice within
 * one tick of the file system's clock looks the same after either: only of one that has rested for a tick
 * can anybody tell later, by its times, whether it was written again.
 * @param nowMs wall clock; a file from the future rests for a tick
 */
export function restNeededMs(facts: FileFacts, nowMs: number): number {
  // A clock that counts finer hits a whole second once in millions.
  const tickMs = facts.ctimeMs % 1000 === 0 ? COARSE_TICK_MS : TICK_MS;
  const restedMs = Math.max(0, nowMs - facts.ctimeMs);
  return restedMs >= tickMs ? 0 : Math.ceil(tickMs - restedMs);
}
