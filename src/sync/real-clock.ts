import type { Clock } from "./ports.ts";

/** What setTimeout takes. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export const realClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  wake(atMs, callback) {
    let timer: Timer | undefined;
    let immediate: NodeJS.Immediate | undefined;
    const arm = (): void => {
      const waitMs = atMs - performance.now();
      if (waitMs <= 0) immediate = setImmediate(callback);
      // Timers may go off a little early.
      else
        timer = setTimeout(
          () => (performance.now() >= atMs ? callback() : arm()),
          Math.min(Math.ceil(waitMs), MAX_TIMEOUT_MS),
        );
    };
    arm();
    return () => {
      clearTimeout(timer);
      if (immediate !== undefined) clearImmediate(immediate);
    };
  },
};
