import { DrayError, systemErrorCode } from "../errors/dray-error.ts";

/** Text that a reader has not taken yet beyond which `room` waits. */
const ROOM_CHARACTERS = 1024 * 1024;

/**
 * A standard stream as a place for text. Bun loses what a pipe has not taken when the process
 * exits, and tells the end of a write only to its callback: so this counts what is on its way.
 */
export class TextOutput {
  readonly #stream: NodeJS.WritableStream;
  readonly #name: string;
  #pendingCharacters = 0;
  #failure: Error | undefined;
  #waiting: { limit: number; resume: () => void }[] = [];

  /** `name` is what errors call it: "standard output". */
  constructor(stream: NodeJS.WritableStream, name: string) {
    this.#stream = stream;
    this.#name = name;
    // Every failure also reaches the callback of its write; without a listener it would end the process.
    stream.on("error", () => {});
  }

  /** Hands text over; nothing more is written once a write has failed. */
  write(text: string): void {
    if (this.#failure !== undefined || text === "") return;
    this.#pendingCharacters += text.length;
    this.#stream.write(text, (error) => this.#written(text.length, error));
  }

  /** Resolves when the reader has caught up enough for more to be written. */
  room(): Promise<void> {
    return this.#pendingAtMost(ROOM_CHARACTERS);
  }

  /** Resolves when nothing is on its way any more, written or failed. */
  settled(): Promise<void> {
    return this.#pendingAtMost(0);
  }

  /**
   * Resolves when everything was handed over. A reader that went away before the end (`| head`)
   * has what it wanted; any other failure is thrown as a DrayError with code "storage" or "no-space".
   */
  async flush(): Promise<void> {
    await this.settled();
    if (this.#failure === undefined || systemErrorCode(this.#failure) === "EPIPE") return;
    const code = systemErrorCode(this.#failure) === "ENOSPC" ? "no-space" : "storage";
    throw new DrayError(code, `Cannot write to the ${this.#name}: ${this.#failure.message}`, {
      cause: this.#failure,
    });
  }

  async #pendingAtMost(limit: number): Promise<void> {
    if (this.#pendingCharacters <= limit) return;
    await new Promise<void>((resume) => this.#waiting.push({ limit, resume }));
  }

  #written(length: number, error: Error | null | undefined): void {
    this.#pendingCharacters -= length;
    if (error) this.#failure ??= error;
    const pending = this.#pendingCharacters;
    for (const waiter of this.#waiting) if (pending <= waiter.limit) waiter.resume();
    this.#waiting = this.#waiting.filter((waiter) => pending > waiter.limit);
  }
}
