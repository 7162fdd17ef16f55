import { FileRead } from "../disk/file-read.ts";
import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { PutMessage, UploadReceiver } from "../transfer/put-responder.ts";
import type { ChangeQueue } from "./change-queue.ts";
import type { FileVersion } from "./owner-journal.ts";
import type { PartFile } from "./part-file.ts";
import type { PartStore } from "./part-store.ts";
import { KeepChange, PutChange, type TreeContext } from "./tree-changes.ts";

/** What an upload works with. */
export interface UploadContext extends TreeContext {
  parts: PartStore;
  changes: ChangeQueue;
}

/** One file on its way from a client into the tree. It has its name's lock from beginning to end. */
export class Upload implements UploadReceiver {
  readonly owner: string;
  readonly version: FileVersion;
  readonly offset: number;
  onFailed: ((error: DrayError) => void) | undefined;
  /** When the client last did its part, on the clock of performance.now(); infinite while it is not its turn. */
  activeMs = Number.POSITIVE_INFINITY;
  readonly #context: UploadContext;
  readonly #put: PutMessage;
  readonly #components: readonly string[];
  readonly #sameVersion: boolean;
  readonly #isThere: boolean;
  readonly #over: () => void;
  #part: PartFile | undefined;
  #isOver = false;
  #isPublishing = false;

  /**
   * @param sameVersion the server has a version of this size, time and mode already. Then a large file is not sent
   *   again, and a small one is compared.
   * @param over told once, when it is published, parked or thrown away
   */
  constructor(
    context: UploadContext,
    put: PutMessage,
    components: readonly string[],
    owner: string,
    sameVersion: boolean,
    over: () => void,
  ) {
    this.#context = context;
    this.#put = put;
    this.#components = components;
    const isThere = sameVersion && !put.eager;
    this.#sameVersion = sameVersion;
    this.#isThere = isThere;
    this.#over = over;
    this.owner = owner;
    this.version = { path: components.join("/"), sizeBytes: put.size, mtimeUs: put.mtimeUs };
    const isParked = !put.eager && !isThere && context.parts.parkedBytesOf(owner, this.version) > 0;
    if (isParked) this.#part = context.parts.take(owner, this.version);
    this.offset = isThere ? put.size : (this.#part?.writtenBytes ?? 0);
    if (!isThere) context.quota.reservedBytes += put.size;
    if (put.eager) this.invited();
  }

  /** Whether the client is to send, and does not do it since a moment. */
  isSilentSince(momentMs: number): boolean {
    return !this.#isOver && !this.#isPublishing && this.activeMs < momentMs;
  }

  invited(): void {
    this.activeMs = performance.now();
  }

  piece(bytes: Uint8Array): void {
    this.activeMs = performance.now();
    this.#opened().write(bytes);
  }

  async complete(): Promise<void> {
    this.#isPublishing = true;
    try {
      if (this.#isThere || this.#isEqual()) {
        await this.#context.changes.make(new KeepChange(this.#context, this.#components, this.owner));
        this.#part?.discard();
        this.#part = undefined;
      } else await this.#publish();
      this.#end();
    } catch (error) {
      this.#isPublishing = false;
      // What has come is right; only a disk that is full or fails can let it be of use later.
      if (["no-space", "storage"].includes(asDrayError(error).code)) this.park();
      else this.discard();
      throw error;
    }
  }

  async #publish(): Promise<void> {
    const part = this.#opened();
    const sealed = await part.seal(this.#put.mtimeUs, (this.#put.mode & 0o111) !== 0);
    await this.#context.changes.make(
      new PutChange(this.#context, this.#components, this.owner, part, sealed),
    );
    this.#part = undefined;
  }

  park(): void {
    if (this.#isOver || this.#isPublishing) return;
    const part = this.#part;
    this.#part = undefined;
    if (part !== undefined) this.#context.parts.park(part, this.owner, this.#context.nowMs());
    this.#end();
  }

  discard(): void {
    if (this.#isOver || this.#isPublishing) return;
    this.#part?.discard();
    this.#part = undefined;
    this.#end();
  }

  /** Parks it, and has the client told why. */
  breakOff(reason: DrayError): void {
    this.park();
    this.onFailed?.(reason);
  }

  /** Whether a small file is byte for byte what is there: replacing it would only fill the trash. */
  #isEqual(): boolean {
    if (!this.#sameVersion) return false;
    const { root } = this.#context.tree;
    const bytes = new Uint8Array(this.#put.size);
    try {
      using directory = root.hold(this.#components.slice(0, -1));
      const there = new FileRead(directory, this.#components.at(-1)!);
      try {
        there.readFully(bytes, 0);
      } finally {
        there.close();
      }
    } catch {
      return false; // what is wrong with it is told when it is to be replaced
    }
    return this.#opened().holds(bytes);
  }

  #opened(): PartFile {
    const { parts } = this.#context;
    this.#part ??= this.#put.eager ? parts.begin() : parts.take(this.owner, this.version);
    return this.#part;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (!this.#isThere) this.#context.quota.reservedBytes -= this.#put.size;
    this.#over();
  }
}
