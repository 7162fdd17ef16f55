import * as fs from "node:fs";
import { DrayError } from "../errors/dray-error.ts";
import type { ContainedDirectory } from "./contained-root.ts";
import { type FileFacts, factsOf, isSameVersion } from "./file-facts.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
// O_NONBLOCK: opening a fifo that somebody put in a file's place must not hang the server.
const READ_FLAGS = O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0);

/** An open regular file that notices when somebody changes it while it is read. */
export class FileRead {
  readonly #descriptor: number;
  readonly facts: FileFacts;

  /** @throws a system error, or DrayError "refused" for anything that is not a regular file */
  constructor(directory: ContainedDirectory, name: string) {
    const descriptor = fs.openSync(directory.entry(name), READ_FLAGS);
    try {
      this.facts = factsOf(fs.fstatSync(descriptor));
      if (this.facts.kind !== "file")
        throw new DrayError("refused", `it is a ${this.facts.kind}, not a file`);
    } catch (error) {
      fs.closeSync(descriptor);
      throw error;
    }
    this.#descriptor = descriptor;
  }

  /** For threads of this process, which read the same file as long as it is open here. */
  get descriptor(): number {
    return this.#descriptor;
  }

  /**
   * Fills `target` from byte `offset` of the file.
   * @throws DrayError "changed" when the file is shorter than it was
   */
  readFully(target: Uint8Array, offset: number): void {
    let filled = 0;
    while (filled < target.length) {
      const count = fs.readSync(this.#descriptor, target, filled, target.length - filled, offset + filled);
      if (count === 0) throw changed("it became shorter");
      filled += count;
    }
  }

  /**
   * The same without holding up the thread. `target` must stay as it is, and the file open, until then.
   * @throws DrayError "changed" when the file is shorter than it was
   */
  async readFullyLater(target: Uint8Array, offset: number): Promise<void> {
    let filled = 0;
    while (filled < target.length) {
      const count = await this.#readLater(target, filled, offset + filled);
      if (count === 0) throw changed("it became shorter");
      filled += count;
    }
  }

  #readLater(target: Uint8Array, from: number, position: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    fs.read(this.#descriptor, target, from, target.length - from, position, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
    return promise;
  }

  /** @throws DrayError "changed" when the file is not the version that was opened any more */
  assertUnchanged(): void {
    if (!isSameVersion(this.facts, factsOf(fs.fstatSync(this.#descriptor))))
      throw changed("somebody wrote to it");
  }

  close(): void {
    fs.closeSync(this.#descriptor);
  }
}

function changed(how: string): DrayError {
  return new DrayError("changed", `the file changed while it was being sent: ${how}`);
}
