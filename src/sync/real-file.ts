import * as fs from "node:fs";
import type { OpenFile, Stat } from "./ports.ts";
import type { RealSyncs } from "./real-syncs.ts";

/** A file that is open in this process. */
export class RealFile implements OpenFile {
  readonly #descriptor: number;
  readonly #syncs: RealSyncs;
  readonly #device: number | undefined;
  /** Others who use the descriptor, on their threads: it is closed behind the last of them. */
  #users = 0;
  #isClosed = false;

  /** @param device that the file is on, if it is known */
  constructor(descriptor: number, syncs: RealSyncs, device?: number) {
    this.#descriptor = descriptor;
    this.#device = device;
    this.#syncs = syncs;
  }

  stat(): Stat {
    return statOf(fs.fstatSync(this.#descriptor, { bigint: true }));
  }

  read(into: Uint8Array, positionBytes: number): number {
    let filled = 0;
    while (filled < into.length) {
      const count = fs.readSync(this.#descriptor, into, filled, into.length - filled, positionBytes + filled);
      if (count === 0) break;
      filled += count;
    }
    return filled;
  }

  write(bytes: Uint8Array, positionBytes: number): void {
    for (let done = 0; done < bytes.length;)
      done += fs.writeSync(this.#descriptor, bytes, done, bytes.length - done, positionBytes + done);
  }

  truncate(sizeBytes: number): void {
    fs.ftruncateSync(this.#descriptor, sizeBytes);
  }

  setMtime(mtimeNs: bigint): void {
    // As text: Node's tradition takes a negative number for "now". A double is exact to some hundred nanoseconds.
    const seconds = String(Number(mtimeNs) / 1e9);
    fs.futimesSync(this.#descriptor, seconds, seconds);
  }

  setMode(mode: number): void {
    fs.fchmodSync(this.#descriptor, mode);
  }

  async sync(): Promise<void> {
    const release = this.hold().release;
    try {
      await this.#syncs.sync(this.#descriptor, this.#device);
    } finally {
      release();
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#users === 0) fs.closeSync(this.#descriptor);
  }

  /** Keeps the descriptor open for another thread. @throws EBADF when it is closed already */
  hold(): { readonly descriptor: number; readonly release: () => void } {
    if (this.#isClosed) throw Object.assign(new Error("the file is closed"), { code: "EBADF" });
    this.#users++;
    let isReleased = false;
    return {
      descriptor: this.#descriptor,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        if (--this.#users === 0 && this.#isClosed) fs.closeSync(this.#descriptor);
      },
    };
  }
}

export function statOf(stats: fs.BigIntStats): Stat {
  const kind = stats.isFile()
    ? "file"
    : stats.isDirectory()
      ? "directory"
      : stats.isSymbolicLink()
        ? "symlink"
        : "special";
  return {
    kind,
    sizeBytes: kind === "file" ? Number(stats.size) : 0,
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    inode: stats.ino,
    mode: Number(stats.mode) & 0o7777,
  };
}
