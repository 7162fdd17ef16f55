import { asDrayError } from "../../errors/dray-error.ts";
import { METADATA_NAME } from "../../wire/sync-reserved.ts";
import { SYNC_STATUS, type SyncEvent, type SyncSubject } from "../../wire/sync-messages.ts";
import type { Hasher } from "../ports.ts";
import type { StagedFile, Staging } from "../staging.ts";
import type { Channel } from "./channel.ts";
import { IncomingFile } from "./incoming-file.ts";
import { EMPTY_MD5, knownMd5Text } from "./md5-text.ts";
import type { ChunkPlace } from "./received-file.ts";

/** What a server's messages do here. The codes that the promises give are the answers. */
export interface InboxHost {
  /** The server is ours: what has no digest of its own is held against that of the whole. */
  isOurs(): boolean;
  /** Why nothing of this name can be taken, as the end of a sentence; undefined: it can. */
  refusal(name: string): string | undefined;
  refused(name: string, why: string): void;
  /** What stands where it is to be, as the end of a sentence. */
  obstacle(name: string): string | undefined;
  /** It cannot be taken now; later perhaps. */
  failed(name: string, why: string): void;
  /** Bytes of it are coming. */
  progressed(name: string, bytes: number): void;
  /** The list of all files; nothing is answered to it before this is done. */
  metadata(staged: StagedFile): Promise<void>;
  /** All of it is here. From here on the staged file is the host's. @param closeMd5 what Close said, if anything */
  arrived(file: Arrived): Promise<number>;
  deleted(name: string, md5: string | undefined): Promise<number>;
  /** @param wasComing whether a transfer of it was under way */
  aborted(name: string, wasComing: boolean): void;
}

export interface Arrived {
  readonly name: string;
  readonly staged: StagedFile;
  readonly md5: string;
  readonly closeMd5: string | undefined;
}

/** Files that one server may have open at the same time. */
const MAX_OPEN = 256;
/** Ends of files and deletes that are being worked on; then the peer has to wait. */
const MAX_LANDING = 512;
/** Bytes that are here and not hashed. */
const MAX_UNHASHED_BYTES = 16 * 1024 * 1024;

interface CurrentChunk {
  readonly file: IncomingFile | undefined;
  readonly place: ChunkPlace | undefined;
  readonly md5: Uint8Array;
  readonly answer: (code: number | "none") => void;
}

/** What comes over one connection: files in chunks, deletes, aborts. */
export class Inbox {
  readonly #channel: Channel;
  readonly #staging: Staging;
  readonly #hasher: Hasher;
  readonly #host: InboxHost;
  readonly #open = new Map<string, IncomingFile>();
  #chunk: CurrentChunk | undefined;
  #landing = 0;

  constructor(channel: Channel, staging: Staging, hasher: Hasher, host: InboxHost) {
    this.#channel = channel;
    this.#staging = staging;
    this.#hasher = hasher;
    this.#host = host;
  }

  /** Any event but a status or a request. */
  take(event: SyncEvent): void {
    if (event.type === "chunkHead") this.#chunkHead(event);
    else if (event.type === "chunkData") this.#chunkData(event.data);
    else if (event.type === "chunkEnd") this.#chunkEnd();
    else if (event.type === "close") this.#close(event);
    else if (event.type === "delete") this.#delete(event);
    else if (event.type === "abort") this.#abort(event);
  }

  /** The peer sends nothing more: what is not whole will never be. */
  ended(): void {
    const chunk = this.#chunk;
    this.#chunk = undefined;
    chunk?.answer("none");
    for (const file of this.#open.values()) file.drop();
    this.#open.clear();
  }

  /** The connection is gone: what was coming is dropped, what is landing lands. */
  close(): void {
    for (const file of this.#open.values()) file.drop();
    this.#open.clear();
    this.#chunk = undefined;
  }

  #chunkHead(head: SyncSubject & { sizeBytes: number }): void {
    const answer = this.#channel.replies.reserve();
    const file = this.#fileOf(head);
    const isBare = this.#host.isOurs() && knownMd5Text(head.md5) === undefined;
    this.#chunk = { file, place: file?.begin(head.sizeBytes, isBare), md5: head.md5, answer };
  }

  #fileOf({ name }: SyncSubject): IncomingFile | undefined {
    if (name === undefined) {
      this.#host.refused("(not UTF-8)", "is not valid UTF-8");
      return undefined;
    }
    const open = this.#open.get(name);
    if (open !== undefined) return open;
    if (this.#open.size >= MAX_OPEN) {
      this.#host.failed(name, `would be more than ${MAX_OPEN} files at the same time`);
      return undefined;
    }
    const why = name === METADATA_NAME ? undefined : this.#host.refusal(name);
    if (why !== undefined) {
      this.#host.refused(name, why);
      return undefined;
    }
    const obstacle = this.#host.obstacle(name);
    if (obstacle !== undefined) {
      this.#host.failed(name, obstacle);
      return undefined;
    }
    const file = this.#create(name);
    if (file !== undefined) this.#open.set(name, file);
    return file;
  }

  #create(name: string): IncomingFile | undefined {
    try {
      return new IncomingFile(name, this.#staging.create(), this.#hasher);
    } catch (error) {
      this.#host.failed(name, `cannot be written: ${asDrayError(error).message}`);
      return undefined;
    }
  }

  #chunkData(data: Uint8Array): void {
    const { file, place } = this.#chunk!;
    if (file === undefined || place === undefined) return;
    this.#host.progressed(file.name, data.length);
    try {
      file.append(place, data);
    } catch (error) {
      this.#host.failed(file.name, `cannot be written: ${asDrayError(error).message}`);
      this.#dropFile(file);
      return;
    }
    if (file.unhashedBytes > MAX_UNHASHED_BYTES) this.#waitFor(file.hashed());
  }

  #chunkEnd(): void {
    const { file, place, md5, answer } = this.#chunk!;
    this.#chunk = undefined;
    if (file === undefined || place === undefined || file.isDropped) return answer(SYNC_STATUS.fileInUse);
    file.checkChunk(place, md5).then(
      (code) => {
        if (file.isDropped) this.#forget(file);
        answer(code);
      },
      (error: unknown) => {
        this.#host.failed(file.name, `cannot be read back: ${asDrayError(error).message}`);
        this.#dropFile(file);
        answer(SYNC_STATUS.fileInUse);
      },
    );
  }

  #close(message: SyncSubject): void {
    const answer = this.#channel.replies.reserve();
    const { name } = message;
    if (name === undefined) return answer(SYNC_STATUS.fileInUse);
    const closeMd5 = knownMd5Text(message.md5);
    const open = this.#open.get(name);
    // An empty file may come without any chunk. Anything else without one was refused before.
    const isEmpty = open === undefined && (closeMd5 === undefined || closeMd5 === EMPTY_MD5);
    const file = open ?? (isEmpty ? this.#fileOf(message) : undefined);
    if (file === undefined) return answer(SYNC_STATUS.fileInUse);
    this.#open.delete(name);
    this.#land(answer, async () => {
      const md5 = await file.whole().catch((error: unknown) => {
        file.drop();
        throw error;
      });
      if (md5 === undefined) return SYNC_STATUS.fileInUse;
      if (name !== METADATA_NAME) {
        return await this.#host.arrived({ name, staged: file.release(), md5, closeMd5 });
      }
      try {
        await this.#host.metadata(file.staged);
      } finally {
        file.drop();
      }
      return SYNC_STATUS.ok;
    });
  }

  #delete({ name, md5 }: SyncSubject): void {
    const answer = this.#channel.replies.reserve();
    if (name === undefined) return answer(SYNC_STATUS.noFile);
    this.#open.get(name)?.drop();
    this.#open.delete(name);
    this.#land(answer, () => this.#host.deleted(name, knownMd5Text(md5)));
  }

  #abort({ name }: SyncSubject): void {
    if (name === undefined) return;
    const file = this.#open.get(name);
    if (file !== undefined) this.#dropFile(file);
    this.#host.aborted(name, file !== undefined);
  }

  #land(answer: (code: number) => void, work: () => Promise<number>): void {
    if (++this.#landing === MAX_LANDING) this.#channel.pause();
    work()
      .then(answer, (error: unknown) => {
        // Whoever threw has told it; the server may offer the file again.
        void error;
        answer(SYNC_STATUS.fileInUse);
      })
      .finally(() => {
        if (this.#landing-- === MAX_LANDING) this.#channel.resume();
      });
  }

  #waitFor(caughtUp: Promise<unknown>): void {
    this.#channel.pause();
    const resume = (): void => this.#channel.resume();
    caughtUp.then(resume, resume);
  }

  #dropFile(file: IncomingFile): void {
    file.drop();
    this.#forget(file);
  }

  #forget(file: IncomingFile): void {
    if (this.#open.get(file.name) === file) this.#open.delete(file.name);
  }
}
