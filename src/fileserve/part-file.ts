import * as fs from "node:fs";
import type { ContainedDirectory } from "../disk/contained-root.ts";
import { type FileFacts, factsOf } from "../disk/file-facts.ts";
import { executableMode } from "../disk/publication.ts";
import { syncDescriptor } from "../disk/sync.ts";
import { DrayError, isNotFound } from "../errors/dray-error.ts";

const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = fs.constants;

/**
 * The bytes of an upload, out of everybody's sight until they are whole: appended piece by piece, then
 * sealed, then renamed to where they belong.
 */
export class PartFile {
  readonly path: string;
  #descriptor: number;
  #writtenBytes: number;

  /** Opens what is there, or begins. @throws a system error */
  constructor(path: string) {
    this.path = path;
    this.#descriptor = fs.openSync(path, O_WRONLY | O_APPEND | O_CREAT | (O_NOFOLLOW ?? 0), 0o666);
    this.#writtenBytes = fs.fstatSync(this.#descriptor).size;
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Appends. @throws a system error, ENOSPC among them: then it holds what fitted */
  write(bytes: Uint8Array): void {
    let taken = 0;
    while (taken < bytes.length) {
      const count = fs.writeSync(this.#descriptor, bytes, taken, bytes.length - taken);
      taken += count;
      this.#writtenBytes += count;
    }
  }

  /**
   * Gives the file its time and mode, and makes it durable. Nothing more can be written.
   * @returns what it is from now on
   * @throws DrayError "integrity" when the disk holds another number of bytes; a system error
   */
  async seal(mtimeUs: number, executable: boolean): Promise<FileFacts> {
    const { size, mode } = fs.fstatSync(this.#descriptor);
    if (size !== this.#writtenBytes) {
      throw new DrayError(
        "integrity",
        `the disk holds ${size} bytes after ${this.#writtenBytes} were written`,
      );
    }
    if (executable) fs.fchmodSync(this.#descriptor, executableMode(mode));
    // As text: Node's tradition takes a negative number for "now".
    const seconds = String(mtimeUs / 1e6);
    fs.futimesSync(this.#descriptor, seconds, seconds);
    await syncDescriptor(this.#descriptor);
    const facts = factsOf(fs.fstatSync(this.#descriptor));
    this.close();
    return facts;
  }

  /** Whether it holds exactly these bytes. For small files: all of it is read. */
  holds(bytes: Uint8Array): boolean {
    return this.#writtenBytes === bytes.length && fs.readFileSync(this.path).equals(bytes);
  }

  /** Makes it visible, replacing what has the name. @throws a system error */
  moveTo(directory: ContainedDirectory, name: string): void {
    fs.renameSync(this.path, directory.entry(name));
  }

  /** Lets it lie. */
  close(): void {
    if (this.#descriptor < 0) return;
    fs.closeSync(this.#descriptor);
    this.#descriptor = -1;
  }

  /** Removes it. */
  discard(): void {
    this.close();
    try {
      fs.unlinkSync(this.path);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
