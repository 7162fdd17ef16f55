import type { FileRead } from "../disk/file-read.ts";
import type { LocalFile } from "./local-files.ts";
import type { FileOpener, OpenedFile } from "./put-task.ts";

/**
 * When parts were last modified, on every server: their path says what they hold, so that a file that was
 * only touched need not be sent again.
 */
const PART_MTIME_US = 1_000_000_000_000_000;

/** A range of an open file, as a file of its own. */
export function partOf(
  file: Pick<FileRead, "readFully" | "assertUnchanged">,
  offset: number,
  sizeBytes: number,
  close: () => void = () => {},
): OpenedFile {
  return {
    facts: { sizeBytes, mtimeUs: PART_MTIME_US, mode: 0o644 },
    readFully: (target, at) => file.readFully(target, offset + at),
    assertUnchanged: () => file.assertUnchanged(),
    close,
  };
}

/** Opens parts of one file, which is open. */
export class PartOpener implements FileOpener {
  readonly #file: FileRead;
  readonly #partBytes: number;

  constructor(file: FileRead, partBytes: number) {
    this.#file = file;
    this.#partBytes = partBytes;
  }

  open(part: LocalFile): OpenedFile {
    return partOf(this.#file, partIndexOf(part) * this.#partBytes, part.sizeBytes);
  }
}

/** A part, for those who put files. */
export function asLocalFile(localPath: string, path: string, part: number, sizeBytes: number): LocalFile {
  return { localPath, path, sizeBytes, rootPath: "", components: [String(part)] };
}

export function partIndexOf({ components }: LocalFile): number {
  return Number(components[0]);
}
