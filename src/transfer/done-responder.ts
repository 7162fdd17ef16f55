import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import type { FillResult, OutBuffer, Responder } from "./responder.ts";

/** Answers DONE when something is done. */
export class DoneResponder implements Responder {
  readonly #requestId: number;
  #isDone = false;
  #error: DrayError | undefined;

  constructor(requestId: number, done: Promise<void>, wake: () => void) {
    this.#requestId = requestId;
    done.then(
      () => {
        this.#isDone = true;
        wake();
      },
      (error: unknown) => {
        this.#error = asDrayError(error);
        wake();
      },
    );
  }

  fill(out: OutBuffer): FillResult {
    if (this.#error !== undefined) throw this.#error;
    if (!this.#isDone) return "waiting";
    if (out.freeBytes < FRAME_HEADER_BYTES + 8) return "more";
    out.put({ type: "done", count: 1 }, this.#requestId);
    return "done";
  }

  release(): void {}
}
