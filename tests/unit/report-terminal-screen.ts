import { Writable } from "node:stream";

/**
 * A terminal in memory: takes what is written to it and knows what would be on the screen. It
 * understands only what a progress display may use, and throws at everything else (modes, colours).
 */
export class TerminalScreen extends Writable {
  readonly isTTY = true;
  columns: number;
  rows: number;
  #lines: string[] = [""];
  #row = 0;
  #column = 0;
  #waiting: (() => void)[] = [];

  constructor(columns: number, rows: number) {
    super({ decodeStrings: false });
    this.columns = columns;
    this.rows = rows;
  }

  /** All lines from the first one written to the cursor's and below, without trailing blanks. */
  get lines(): string[] {
    return this.#lines.map((line) => line.trimEnd());
  }

  get cursor(): { row: number; column: number } {
    return { row: this.#row, column: this.#column };
  }

  /** Resolves at the next write. */
  nextWrite(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  override _write(text: string, _encoding: string, done: () => void): void {
    // oxlint-disable-next-line no-control-regex
    for (const [token] of text.matchAll(/\x1b\[\??\d*[A-Za-z]|[^]/gu)) this.#take(token);
    for (const resolve of this.#waiting.splice(0)) resolve();
    done();
  }

  #take(token: string): void {
    // oxlint-disable-next-line no-control-regex
    const [, digits, command] = /^\x1b\[(\d*)([A-Z])$/.exec(token) ?? [];
    if (command !== undefined) return this.#control(command, digits === "" ? undefined : Number(digits));
    if (token === "\n") return this.#moveTo(this.#row + 1, 0);
    if (/\p{Cc}/u.test(token)) throw new Error(`the terminal was sent ${JSON.stringify(token)}`);
    if (this.#column >= this.columns) this.#moveTo(this.#row + 1, 0);
    const line = (this.#lines[this.#row] ?? "").padEnd(this.#column);
    this.#lines[this.#row] = line.slice(0, this.#column) + token + line.slice(this.#column + 1);
    this.#column += 1;
  }

  #control(command: string, count: number | undefined): void {
    const line = this.#lines[this.#row] ?? "";
    if (command === "A") {
      if ((count ?? 1) > this.rows - 1) throw new Error("the cursor was sent above the screen");
      this.#moveTo(Math.max(0, this.#row - (count ?? 1)), this.#column);
    } else if (command === "G") this.#moveTo(this.#row, (count ?? 1) - 1);
    else if (command === "K") this.#lines[this.#row] = count === 2 ? "" : line.slice(0, this.#column);
    else if (command === "J" && (count ?? 0) === 0) {
      this.#lines[this.#row] = line.slice(0, this.#column);
      this.#lines.length = this.#row + 1;
    } else throw new Error(`the terminal was sent the command ${count ?? ""}${command}`);
  }

  #moveTo(row: number, column: number): void {
    while (this.#lines.length <= row) this.#lines.push("");
    this.#row = row;
    this.#column = column;
  }
}
