import { EXIT } from "../errors/codes.ts";
import { DrayError } from "../errors/dray-error.ts";

type StopSignal = "SIGINT" | "SIGTERM";

/** How long a client that was interrupted may take to close its connections, in milliseconds. */
const WIND_UP_MS = 2000;

/** A command that a signal ended: exit code 130 for SIGINT, 143 for SIGTERM, as a shell reports them. */
class Interrupted extends DrayError {
  readonly #signal: StopSignal;

  constructor(signal: StopSignal, message = `interrupted by ${signal}`) {
    super("interrupted", message);
    this.#signal = signal;
  }

  override get exitCode(): number {
    return exitCodeOf(this.#signal);
  }

  withMessage(message: string): Interrupted {
    return new Interrupted(this.#signal, message);
  }
}

/**
 * For servers: waits for SIGTERM or SIGINT, then calls `stop` and gives it up to `graceMs`.
 * A second signal ends the process at once.
 *
 * @returns exit code 0, whether `stop` got ready within its time or not
 * @throws what `stop` throws
 */
export async function onShutdown(graceMs: number, stop: () => Promise<void>): Promise<number> {
  await new Promise<void>((resolve) => onFirstSignal(() => resolve()));
  await withDeadline(stop(), graceMs);
  return EXIT.ok;
}

/**
 * For clients: runs `work`, whose AbortSignal fires at the first SIGINT or SIGTERM. A second signal
 * ends the process at once.
 *
 * @returns the exit code of `work`
 * @throws what `work` throws; after a signal, Interrupted, with the message of `work` if it threw an
 *   error "interrupted" of its own to say what happens next
 */
export async function untilInterrupted(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  const windUpOver = new Promise<void>((resolve) => {
    onFirstSignal((signal) => {
      controller.abort(new Interrupted(signal));
      setTimeout(resolve, WIND_UP_MS);
    });
  });
  try {
    const exitCode = await Promise.race([work(controller.signal), windUpOver]);
    if (exitCode !== undefined && !controller.signal.aborted) return exitCode;
  } catch (error) {
    const reason: unknown = controller.signal.reason;
    if (!(reason instanceof Interrupted)) throw error;
    // What breaks after a signal breaks because of it.
    if (error instanceof DrayError && error.code === "interrupted") throw reason.withMessage(error.message);
  }
  throw controller.signal.reason;
}

function onFirstSignal(handle: (signal: StopSignal) => void): void {
  let signals = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) process.exit(exitCodeOf(signal));
      handle(signal);
    });
  }
}

function exitCodeOf(signal: StopSignal): number {
  return signal === "SIGINT" ? EXIT.interrupted : EXIT.terminated;
}

async function withDeadline(work: Promise<void>, deadlineMs: number): Promise<void> {
  let timer: Timer | undefined;
  const expired = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, deadlineMs);
  });
  try {
    await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}
