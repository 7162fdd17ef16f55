/** What an answer is due for. */
export interface Awaited {
  readonly kind: "chunk" | "close" | "delete" | "request";
  /** @param code of the status; "none": the server was given its time, and does not answer this */
  answered(code: number | "none"): void;
}

export interface AnswerPatience {
  /** For a chunk, and for everything towards our own server: when it has passed, the connection is dead. */
  readonly requiredMs: number;
  /** For Close and Delete towards others, which may never answer them. */
  readonly optionalMs: number;
}

/**
 * Which message the next status answers, pure: statuses carry no name, so the order is all there is. Our own server
 * answers everything; others may leave Close and Delete unanswered, or answer them too late.
 */
export class AwaitedAnswers {
  readonly #patience: AnswerPatience;
  readonly #queue: { awaited: Awaited; sinceMs: number }[] = [];
  #answersAll = false;
  #isSilentAfterClose = false;

  constructor(patience: AnswerPatience) {
    this.#patience = patience;
  }

  /** The server is ours: from here on everything is answered. */
  expectAll(): void {
    this.#answersAll = true;
  }

  get size(): number {
    return this.#queue.length;
  }

  /** A message was sent. Towards others a Request is not awaited at all. */
  add(awaited: Awaited, nowMs: number): void {
    const isAnswered = this.#answersAll || awaited.kind === "chunk" || this.#isAwaitedOfOthers(awaited.kind);
    if (isAnswered) this.#queue.push({ awaited, sinceMs: nowMs });
    else awaited.answered("none");
  }

  /** A status came. @returns false when nothing was due: it is left over, and means nothing */
  take(code: number, nowMs: number): boolean {
    const head = this.#queue.shift();
    if (head === undefined) return false;
    const next = this.#queue[0];
    // Its time begins when it is its turn: those before it may have taken all of theirs.
    if (next !== undefined) next.sinceMs = nowMs;
    head.awaited.answered(code);
    return true;
  }

  /** When `expire` is due. */
  get deadlineMs(): number | undefined {
    const head = this.#queue[0];
    return head === undefined ? undefined : head.sinceMs + this.#patienceFor(head.awaited.kind);
  }

  /** @returns "dead" when an answer is overdue that has to come */
  expire(nowMs: number): "fine" | "dead" {
    for (;;) {
      const head = this.#queue[0];
      if (head === undefined || nowMs < head.sinceMs + this.#patienceFor(head.awaited.kind)) return "fine";
      if (this.#isRequired(head.awaited.kind)) return "dead";
      // Whoever was silent once is not waited for again.
      if (head.awaited.kind === "close") this.#isSilentAfterClose = true;
      this.#queue.shift();
      head.awaited.answered("none");
    }
  }

  #isAwaitedOfOthers(kind: Awaited["kind"]): boolean {
    return kind === "delete" || (kind === "close" && !this.#isSilentAfterClose);
  }

  #isRequired(kind: Awaited["kind"]): boolean {
    return this.#answersAll || kind === "chunk";
  }

  #patienceFor(kind: Awaited["kind"]): number {
    return this.#isRequired(kind) ? this.#patience.requiredMs : this.#patience.optionalMs;
  }
}
