import { hasStatus } from "../../wire/sync-messages.ts";

const MAX_STRIKES = 3;

/** What of a delivery is answered. */
export type Sent = "chunk" | "close" | "delete";

/** What to do after a client's answer. */
export type AfterAnswer =
  /** Go on. */
  | "go-on"
  /** Send the last chunk again. */
  | "resend"
  /** It has the file, or has it no more, as it should be. */
  | "done"
  /** It does not take this version: not again before the next one. */
  | "given-up"
  /** Send Abort, and begin anew later. */
  | "abort"
  /** The client has dropped it by itself: begin anew later. */
  | "dropped"
  /** Send Abort and begin anew at once, chunk by chunk. */
  | "restart"
  /** Nothing that could be meant for this. */
  | "ignore";

/** Judges the answers to one delivery, in the order of what was sent. Pure. */
export class DeliveryState {
  readonly #isWindowed: boolean;
  #strikes = 0;
  #isEmpty = false;

  /** @param isWindowed whether several chunks are under way: then one of them cannot be sent again by itself */
  constructor(isWindowed: boolean) {
    this.#isWindowed = isWindowed;
  }

  /** @param firstBytes data in the first chunk: that of an empty file may be refused, a bare Close makes it as well (decision 5) */
  begins(firstBytes: number): void {
    this.#isEmpty = firstBytes === 0;
  }

  answered(sent: Sent, code: number): AfterAnswer {
    if (hasStatus(code, "fileInUse") || hasStatus(code, "fileLocked")) return "given-up";
    if (hasStatus(code, "checksumAbort") || hasStatus(code, "sizeAbort")) return "dropped";
    if (hasStatus(code, "noFile")) return sent === "delete" ? "done" : "ignore";
    if (hasStatus(code, "badChecksum") || hasStatus(code, "badSize")) {
      if (sent === "delete") return "ignore";
      if (sent === "chunk" && this.#isEmpty && hasStatus(code, "badSize")) return "go-on";
      // A Close that is refused: the client has dropped what it got.
      if (sent === "close") return "dropped";
      if (this.#isWindowed) return "restart";
      return ++this.#strikes < MAX_STRIKES ? "resend" : "abort";
    }
    if (!hasStatus(code, "ok")) return "ignore";
    if (sent !== "chunk") return "done";
    this.#strikes = 0;
    return "go-on";
  }
}
