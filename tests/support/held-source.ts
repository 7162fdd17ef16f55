import { type FetchAsked, type ScriptedConnection, ScriptedSource } from "./scripted-source.ts";

/** A source whose files come when they are let go. */
export class HeldSource implements Disposable {
  readonly source: ScriptedSource;
  #held: [ScriptedConnection, FetchAsked][] = [];
  #isHolding = true;

  constructor(files: Record<string, Uint8Array>) {
    this.source = new ScriptedSource({
      files,
      fetch: (connection, asked) => {
        if (this.#isHolding) this.#held.push([connection, asked]);
        else connection.answerFetch(asked);
      },
    });
  }

  get port(): number {
    return this.source.port;
  }

  /** Waits until so many files have been asked for. */
  async asked(count = 1): Promise<void> {
    await this.source.until(
      () => (this.source.fetches.length >= count ? true : undefined),
      `${count} fetches`,
    );
  }

  /** Sends what was asked for, and from now on everything at once. */
  letGo(): void {
    this.#isHolding = false;
    for (const [connection, asked] of this.#held.splice(0)) connection.answerFetch(asked);
  }

  [Symbol.dispose](): void {
    this.source[Symbol.dispose]();
  }
}
