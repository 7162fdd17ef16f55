import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { ContainedRoot } from "../disk/contained-root.ts";
import { FileRead } from "../disk/file-read.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import { type Manifest, partSize } from "../wire/manifest.ts";
import { TO_END } from "../wire/messages.ts";
import { partPath } from "../wire/split-names.ts";
import type { LocalFile } from "./local-files.ts";
import { partIndexOf, partOf } from "./part-source.ts";
import type { FileOpener, OpenedFile } from "./put-task.ts";

/** Parts on their way from one server to others, in files of a directory of their own. */
export class TempParts implements FileOpener {
  readonly #directory: string;
  readonly #root: ContainedRoot;

  constructor() {
    this.#directory = here(() => fs.mkdtempSync(path.join(os.tmpdir(), "dray-repair-")));
    this.#root = new ContainedRoot(this.#directory);
  }

  /**
   * Fetches a part and verifies all of it.
   * @throws DrayError "integrity" when it is not what the manifest says; TempFileError
   */
  async bring(client: Client, name: string, manifest: Manifest, part: number): Promise<void> {
    const hasher = new Bun.CryptoHasher("sha256");
    const file = path.join(this.#directory, String(part));
    const descriptor = here(() => fs.openSync(file, "w", 0o600));
    const sizeBytes = partSize(manifest, part);
    let receivedBytes = 0;
    try {
      const receiver = {
        head: (head: { sizeBytes: number }): void => {
          if (head.sizeBytes !== sizeBytes) throw damaged();
        },
        piece: (bytes: Uint8Array): void => {
          hasher.update(bytes);
          for (let done = 0; done < bytes.length;) {
            const at = receivedBytes + done;
            done += here(() => fs.writeSync(descriptor, bytes, done, bytes.length - done, at));
          }
          receivedBytes += bytes.length;
        },
        complete: (): void => {},
      };
      const { digest } = manifest;
      const range = { path: partPath(name, manifest, part), offset: 0, length: TO_END, delayMs: 0, digest };
      await client.fetch(range, receiver);
    } finally {
      fs.closeSync(descriptor);
    }
    if (hasher.digest("hex") !== manifest.parts[part]!.sha256) throw damaged();
  }

  open(file: LocalFile): OpenedFile {
    using directory = this.#root.hold([]);
    const read = new FileRead(directory, String(partIndexOf(file)));
    return partOf(read, 0, file.sizeBytes, () => read.close());
  }

  remove(part: number): void {
    fs.rmSync(path.join(this.#directory, String(part)), { force: true });
  }

  close(): void {
    this.#root.close();
    fs.rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Our own disk is the trouble, not the server that sends. */
export class TempFileError extends DrayError {
  constructor(cause: unknown) {
    const { code, message } = asDrayError(cause);
    super(code, `a part on its way has no place in ${os.tmpdir()}: ${message}`, { cause });
  }
}

function here<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new TempFileError(error);
  }
}

function damaged(): DrayError {
  return new DrayError("integrity", "the part is not what the manifest says");
}
