import { asDrayError } from "../../src/errors/dray-error.ts";
import { OutBuffer, type Responder } from "../../src/transfer/responder.ts";

/** The session's part for one responder: asks it for frames as fast or as slowly as a test wants. */
export class Answering {
  readonly #responder: Responder;
  readonly #out = new OutBuffer(560 * 1024);
  readonly #frames: Uint8Array[] = [];
  #woken = Promise.withResolvers<void>();
  isDone = false;
  #isReleased = false;

  /** @param make is handed the wake of the responder that it makes */
  constructor(make: (wake: () => void) => Responder) {
    this.#responder = make(() => this.#woken.resolve());
  }

  /** One call of fill, with room for so many bytes and more. */
  step(): "more" | "waiting" | "done" {
    this.#out.empty();
    const result = this.#responder.fill(this.#out);
    this.#frames.push(this.#out.frames.slice());
    if (result === "done") this.isDone = true;
    return result;
  }

  /** Until something new is there, when the last step had to wait. */
  async woken(): Promise<void> {
    await this.#woken.promise;
    this.#woken = Promise.withResolvers();
  }

  /** All frames to the end; released then. */
  async toEnd(): Promise<Buffer> {
    try {
      while (!this.isDone) if (this.step() === "waiting") await this.woken();
      return this.bytes;
    } finally {
      this.release();
    }
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#frames);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#responder.release();
  }
}

/** The code that an answer fails with. */
export async function failureOf(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    return asDrayError(error).code;
  }
  throw new Error("a failure was expected");
}
