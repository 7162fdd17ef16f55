/**
 * The META-DATA of the literal client and server, and what they do to files: as the text of seed 003
 * has it, with all its dangers (written in place, overwritten, deleted on Abort, stamped with the time of receipt).
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { md5Of } from "./literal-sync-wire.ts";

export const METADATA = "META-DATA";

export interface Known {
  /** Seconds since 1970, with decimals. */
  mtime: number;
  size: number;
  md5: string;
}

export class LiteralFiles {
  readonly folder: string;
  /** What META-DATA says: by name. */
  readonly known = new Map<string, Known>();
  private readonly open = new Map<string, number>();

  constructor(folder: string) {
    this.folder = folder;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  read(name: string): Buffer {
    return readFileSync(this.path(name));
  }

  exists(name: string): boolean {
    return statSync(this.path(name), { throwIfNoEntry: false })?.isFile() === true;
  }

  /** Every file in the folder but META-DATA. */
  names(): string[] {
    return (readdirSync(this.folder, { recursive: true }) as string[])
      .filter((name) => name !== METADATA && this.exists(name))
      .sort();
  }

  /** What changed since META-DATA was written, which is brought up to date. */
  scan(): { changed: string[]; deleted: string[] } {
    const names = this.names();
    const changed = names.filter(
      (name) => statSync(this.path(name)).mtimeMs / 1000 !== this.known.get(name)?.mtime,
    );
    const deleted = [...this.known.keys()].filter((name) => !names.includes(name));
    for (const name of changed) this.learn(name, statSync(this.path(name)).mtimeMs / 1000);
    for (const name of deleted) this.known.delete(name);
    this.save();
    return { changed, deleted };
  }

  /** Writes at the end of what this transfer has written; the first time, over what is there. Throws if it cannot be opened. */
  append(name: string, data: Buffer): void {
    let file = this.open.get(name);
    if (file === undefined) {
      mkdirSync(dirname(this.path(name)), { recursive: true });
      file = openSync(this.path(name), "w");
      this.open.set(name, file);
    }
    for (let at = 0; at < data.length;) at += writeSync(file, data, at);
  }

  isOpen(name: string): boolean {
    return this.open.has(name);
  }

  /** The file is whole: META-DATA gets the time of its receipt, which is when it was written. */
  finish(name: string): void {
    if (!this.isOpen(name)) this.append(name, Buffer.alloc(0));
    this.close(name);
    this.learn(name, statSync(this.path(name)).mtimeMs / 1000);
    this.save();
  }

  /** Closes the file and deletes it. @returns whether there was one */
  remove(name: string): boolean {
    this.close(name);
    const existed = this.exists(name);
    rmSync(this.path(name), { force: true });
    this.known.delete(name);
    this.save();
    return existed;
  }

  close(name: string): void {
    const file = this.open.get(name);
    if (file !== undefined) closeSync(file);
    this.open.delete(name);
  }

  /** Writes as a user does. */
  write(name: string, data: string | Uint8Array): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), data);
  }

  metadata(): Buffer {
    const lines = [...this.known].map(
      ([name, { mtime, size, md5 }]) => `${name}\t${mtime}\t${size}\t${md5}\n`,
    );
    return Buffer.from(lines.join(""));
  }

  private save(): void {
    writeFileSync(join(this.folder, METADATA), this.metadata());
  }

  private learn(name: string, mtime: number): void {
    const data = this.read(name);
    this.known.set(name, { mtime, size: data.length, md5: md5Of(data) });
  }
}

/** The first four fields of each line. */
export function readMetadata(data: Buffer): Map<string, Known> {
  const lines = data
    .toString()
    .split("\n")
    .filter((line) => line !== "");
  return new Map(
    lines.map((line) => {
      const [name = "", mtime, size, md5 = ""] = line.split("\t");
      return [name, { mtime: Number(mtime), size: Number(size), md5 }];
    }),
  );
}
