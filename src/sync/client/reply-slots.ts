/** Answers go out in the order of the messages, whatever is ready first. */
export class ReplySlots {
  readonly #send: (code: number) => void;
  readonly #emptied: () => void;
  readonly #slots: (number | "none" | undefined)[] = [];
  #first = 0;

  /** @param emptied told when all that came is answered */
  constructor(send: (code: number) => void, emptied: () => void) {
    this.#send = send;
    this.#emptied = emptied;
  }

  /** How many answers are due. */
  get size(): number {
    return this.#slots.length;
  }

  /** A place in the order. @returns fills it, once: a status code, or "none" where no answer is due after all */
  reserve(): (code: number | "none") => void {
    const at = this.#first + this.#slots.length;
    this.#slots.push(undefined);
    return (code) => {
      this.#slots[at - this.#first] = code;
      this.#flush();
    };
  }

  #flush(): void {
    while (this.#slots.length > 0 && this.#slots[0] !== undefined) {
      const code = this.#slots.shift()!;
      this.#first++;
      if (code !== "none") this.#send(code);
    }
    if (this.#slots.length === 0) this.#emptied();
  }
}
