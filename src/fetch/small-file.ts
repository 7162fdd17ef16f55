import type { ContainedDirectory } from "../disk/contained-root.ts";
import { Publication } from "../disk/publication.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import type { FileHead, FileReceiver } from "../transfer/fetch-reply.ts";
import { TO_END } from "../wire/messages.ts";
import { type FetchSetting, type FetchedFile, type WantedFile, unexpectedSum } from "./fetch-setting.ts";
import { keepStandingFile } from "./final-file.ts";

/** Up to this size there is nothing to resume: a file is one piece, with neither a part nor a journal. */
export const SMALL_FILE_BYTES = 256 * 1024;

/**
 * Brings a small file in one go.
 * @throws DrayError; then nothing is left of it
 */
export async function fetchSmall(
  client: Client,
  file: WantedFile,
  directory: ContainedDirectory,
  setting: FetchSetting,
  progressed: () => void,
): Promise<FetchedFile> {
  const name = file.components.at(-1)!;
  const withSum = setting.withSums || file.expected !== undefined;
  const receiver = new SmallReceiver({ directory, name, setting, withSum, progressed });
  try {
    const range = { path: file.path, offset: 0, length: TO_END };
    await client.fetch({ ...range, delayMs: 0, digest: "xxh3" }, receiver);
    const sha256 = receiver.sha256;
    if (file.expected !== undefined && sha256 !== file.expected)
      throw unexpectedSum(file.expected, sha256, "what came was removed");
    const backup = setting.overwrite ? undefined : keepStandingFile(directory, name, setting.syncEach);
    receiver.commit();
    return { outcome: "fetched", sizeBytes: receiver.sizeBytes, sha256, backup };
  } catch (error) {
    receiver.abandon();
    throw error;
  }
}

class SmallReceiver implements FileReceiver {
  readonly #directory: ContainedDirectory;
  readonly #name: string;
  readonly #setting: FetchSetting;
  readonly #progressed: () => void;
  readonly #hasher: Bun.CryptoHasher | undefined;
  #publication: Publication | undefined;
  #head: FileHead | undefined;
  #receivedBytes = 0;

  constructor(given: {
    directory: ContainedDirectory;
    name: string;
    setting: FetchSetting;
    withSum: boolean;
    progressed: () => void;
  }) {
    this.#directory = given.directory;
    this.#name = given.name;
    this.#setting = given.setting;
    this.#progressed = given.progressed;
    this.#hasher = given.withSum ? new Bun.CryptoHasher("sha256") : undefined;
  }

  get sizeBytes(): number {
    return this.#receivedBytes;
  }

  /** To be asked once, when the file is whole. */
  get sha256(): string | undefined {
    return this.#hasher?.digest("hex");
  }

  head(head: FileHead): void {
    if (head.sizeBytes > SMALL_FILE_BYTES)
      throw new DrayError("changed", "the file has grown since the server was asked for its size");
    this.#head = head;
    this.#publication = Publication.begin(this.#directory, this.#name);
  }

  piece(bytes: Uint8Array): void {
    const { counters } = this.#setting;
    counters.transferredBytes += bytes.length;
    this.#publication!.write(bytes);
    this.#hasher?.update(bytes);
    this.#receivedBytes += bytes.length;
    counters.doneBytes += bytes.length;
    this.#progressed();
  }

  complete(): void {}

  commit(): void {
    const { mtimeUs, mode } = this.#head!;
    const executable = (mode & 0o111) !== 0;
    this.#publication!.commit({ mtimeUs, executable, sync: this.#setting.syncEach, readBack: undefined });
    this.#publication = undefined;
  }

  abandon(): void {
    this.#setting.counters.doneBytes -= this.#receivedBytes;
    this.#publication?.abandon();
    this.#publication = undefined;
  }
}
