/**
 * Answers of one connection, in the order of what they answer: statuses carry no name, so a peer that has sent several
 * messages can tell them apart by nothing else. Pure.
 */
export class Replies {
  readonly #send: (code: number) => void;
  readonly #slots: Reply[] = [];
  #next = 0;

  /** @param send told the answers that are due */
  constructor(send: (code: number) => void) {
    this.#send = send;
  }

  /** Messages that have no answer yet. */
  get waiting(): number {
    return this.#slots.length - this.#next;
  }

  /** A place for the answer to the message that just came. */
  expect(): Reply {
    const reply: Reply = { isSettled: false, code: undefined, settle: (code) => this.#settle(reply, code) };
    this.#slots.push(reply);
    return reply;
  }

  #settle(reply: Reply, code: number | undefined): void {
    if (reply.isSettled) return;
    reply.isSettled = true;
    reply.code = code;
    while (this.#slots[this.#next]?.isSettled === true) {
      const due = this.#slots[this.#next++]!;
      if (due.code !== undefined) this.#send(due.code);
    }
    if (this.#next === this.#slots.length || this.#next > 256) {
      this.#slots.splice(0, this.#next);
      this.#next = 0;
    }
  }
}

export interface Reply {
  isSettled: boolean;
  code: number | undefined;
  /** Gives the answer, undefined for none; sent when all before it are given. Only the first time counts. */
  settle(code: number | undefined): void;
}
