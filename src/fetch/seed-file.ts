import * as fs from "node:fs";
import type { ContainedDirectory } from "../disk/contained-root.ts";
import { factsAt } from "../disk/file-facts.ts";
import { readFully } from "./part-file.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
const FLAGS = O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0);

/** The file that stands where another version of it is about to stand: much of it may be the same. */
export class SeedFile implements Disposable {
  readonly sizeBytes: number;
  readonly #descriptor: number;

  private constructor(descriptor: number, sizeBytes: number) {
    this.#descriptor = descriptor;
    this.sizeBytes = sizeBytes;
  }

  /** @returns undefined when nothing stands there, or no file with anything in it. @throws a system error */
  static open(directory: ContainedDirectory, name: string): SeedFile | undefined {
    const facts = factsAt(directory.entry(name));
    if (facts?.kind !== "file" || facts.sizeBytes === 0) return undefined;
    return new SeedFile(fs.openSync(directory.entry(name), FLAGS), facts.sizeBytes);
  }

  /** Fills `target` with what it has there. @returns false where it ends before that */
  read(offset: number, target: Uint8Array): boolean {
    return offset + target.length <= this.sizeBytes && readFully(this.#descriptor, target, offset);
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#descriptor);
  }
}
