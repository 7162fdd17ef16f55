import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import type { Message } from "../wire/messages.ts";
import { BodyCheck } from "./body-check.ts";
import type { BodyMessage, FillResult, OutBuffer, Responder } from "./responder.ts";

export type PutMessage = Extract<Message, { type: "put" }>;

/** Takes the bytes of one upload, in order. Every call may throw: the PUT then fails with that error. */
export interface UploadReceiver {
  /** How many of the file's first bytes are there already. */
  readonly offset: number;
  /** Told once, if somebody else ends the upload: it has been parked or thrown away. */
  onFailed: ((error: DrayError) => void) | undefined;
  /** The client has been told to send. */
  invited(): void;
  /** One verified piece, valid only during the call. */
  piece(bytes: Uint8Array): void;
  /** All bytes came and were verified: makes them durable and visible. Rejects when nothing became visible. */
  complete(): Promise<void>;
  /** The connection is gone: keeps what is worth going on with. Does nothing after complete. */
  park(): void;
  /** What came was wrong: throws everything away. Does nothing after complete. */
  discard(): void;
}

/** READY, DONE: header and one number. */
const ANSWER_BYTES = FRAME_HEADER_BYTES + 8;

/** The server's half of a PUT: READY unless the bytes follow anyway, the body, then DONE once all is durable. */
export class PutResponder implements Responder {
  readonly #requestId: number;
  readonly #upload: UploadReceiver;
  readonly #check: BodyCheck;
  readonly #wake: () => void;
  #isInvited: boolean;
  #state: "receiving" | "publishing" | "published" | "failed" = "receiving";
  #error: DrayError | undefined;

  constructor(put: PutMessage, requestId: number, upload: UploadReceiver, wake: () => void) {
    this.#requestId = requestId;
    this.#isInvited = put.eager;
    this.#upload = upload;
    this.#check = new BodyCheck(put.digest, put.size - upload.offset);
    this.#wake = wake;
    upload.onFailed = (error) => this.#fail(error);
  }

  waitsForClient(): boolean {
    return this.#isInvited && this.#state === "receiving";
  }

  fill(out: OutBuffer): FillResult {
    if (this.#error !== undefined) throw this.#error;
    if (out.freeBytes < ANSWER_BYTES) return "more";
    if (!this.#isInvited) {
      this.#isInvited = true;
      this.#upload.invited();
      out.put({ type: "ready", offset: this.#upload.offset }, this.#requestId);
    }
    if (this.#state !== "published") return "waiting";
    if (out.freeBytes < ANSWER_BYTES) return "more";
    out.put({ type: "done", count: 1 }, this.#requestId);
    return "done";
  }

  body(message: BodyMessage): void {
    if (this.#state !== "receiving") return;
    if (!this.#isInvited) throw this.#refuse(new DrayError("protocol", "the bytes came before READY"));
    try {
      if (message.type === "data") return this.#upload.piece(this.#check.piece(message.payload).bytes);
      this.#check.end(message.length, message.chain);
    } catch (error) {
      throw this.#refuse(asDrayError(error));
    }
    this.#state = "publishing";
    this.#upload.complete().then(
      () => {
        this.#state = "published";
        this.#wake();
      },
      (error: unknown) => this.#fail(asDrayError(error)),
    );
  }

  /** The connection is gone, or the answer is complete. */
  release(): void {
    if (this.#state === "receiving") this.#upload.park();
  }

  /** Wrong contents are worth nothing; a disk that is full is no fault of theirs. */
  #refuse(error: DrayError): DrayError {
    this.#state = "failed";
    if (error.code === "integrity" || error.code === "protocol") this.#upload.discard();
    else this.#upload.park();
    return error;
  }

  #fail(error: DrayError): void {
    this.#state = "failed";
    this.#error = error;
    this.#wake();
  }
}
