import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Clock, Tree } from "./ports.ts";
import { replaceFile } from "./replace-file.ts";
import { META_DATA_PATH, STATE_FOLDER, makeDirectories } from "./state-folder.ts";

/** Between two writes, at least. */
const PAUSE_MS = 1_000;
/** A long list is written less often: writing takes at most one part in so many of the time. */
const REST = 20;

/** `.dray/META-DATA`: for people, and for programs that read the seed's file. Nothing of ours depends on it. */
export class MetaDataFile {
  readonly #ports: { readonly tree: Tree; readonly clock: Clock };
  readonly #lines: () => Iterable<Uint8Array>;
  readonly #failed: (error: DrayError) => void;
  #isStale = false;
  #writing: Promise<void> | undefined;
  #notBeforeMs = -Infinity;
  #cancel: (() => void) | undefined;

  /**
   * @param lines the whole content as it is now, in portions
   * @param failed told when it cannot be written; it is tried again with the next change
   */
  constructor(
    ports: { readonly tree: Tree; readonly clock: Clock },
    lines: () => Iterable<Uint8Array>,
    failed: (error: DrayError) => void,
  ) {
    this.#ports = ports;
    this.#lines = lines;
    this.#failed = failed;
  }

  /** The content has changed: it is written soon, and at most once a second. */
  touch(): void {
    this.#isStale = true;
    if (this.#cancel !== undefined || this.#writing !== undefined) return;
    const { clock } = this.#ports;
    const atMs = Math.max(clock.monotonicMs(), this.#notBeforeMs);
    this.#cancel = clock.wake(atMs, () => {
      this.#cancel = undefined;
      this.#write();
    });
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    await this.#writing;
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#isStale) this.#write();
    await this.#writing;
  }

  #write(): void {
    this.#isStale = false;
    const { clock } = this.#ports;
    const startedMs = clock.monotonicMs();
    this.#writing = this.#replace()
      .catch((error: unknown) => this.#failed(asDrayError(error)))
      .then(() => {
        this.#notBeforeMs = startedMs + Math.max(PAUSE_MS, REST * (clock.monotonicMs() - startedMs));
        this.#writing = undefined;
        if (this.#isStale) this.touch();
      });
  }

  async #replace(): Promise<void> {
    makeDirectories(this.#ports.tree, [STATE_FOLDER]);
    await replaceFile(this.#ports.tree, META_DATA_PATH, this.#lines());
  }
}
