import { systemErrorCode, withContext, type DrayError } from "../errors/dray-error.ts";
import { jsonLine } from "../report/json-line.ts";

/**
 * The results of a command: whole lines on stdout, which may be a pipe.
 *
 * A reader that goes away (`| head`) is no failure: the command's work goes on, and what it says is
 * dropped. Any other failure to write, such as a full disk, is kept for `flush`.
 */
export class Output {
  // Loading process.stdout takes longer than printing the help.
  readonly #sink = Bun.stdout.writer();
  #failure: unknown;

  /** Writes one line; resolves when the system has taken it, so that awaiting it keeps memory flat. */
  line(text: string): Promise<void> {
    return this.text(`${text}\n`);
  }

  /** The same for text that brings its line ends. */
  async text(text: string): Promise<void> {
    try {
      await this.#sink.write(text);
      await this.#sink.flush();
    } catch (error) {
      if (systemErrorCode(error) !== "EPIPE") this.#failure ??= error;
    }
  }

  /** One event of JSON Lines. */
  event(event: { readonly type: string; readonly [key: string]: unknown }): Promise<void> {
    return this.text(jsonLine(event));
  }

  /** Waits until the system has taken everything; gives what went wrong since the start. */
  async flush(): Promise<DrayError | undefined> {
    await this.#sink.flush();
    return this.#failure === undefined ? undefined : withContext("Cannot write to stdout", this.#failure);
  }
}

/** Writes a line to stderr, behind whatever the log has written; resolves when the system has taken it. */
export function tell(text: string): Promise<void> {
  return writeStderr(`${text}\n`);
}

/** Resolves when the system has taken everything that was written to stderr. */
export function flushStderr(): Promise<void> {
  return writeStderr("");
}

/** Keeps a log whose reader goes away from ending the process: there is nobody left to tell. */
export function surviveClosedStderr(): void {
  process.stderr.on("error", () => {});
}

function writeStderr(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stderr.write(text, () => resolve());
  });
}
