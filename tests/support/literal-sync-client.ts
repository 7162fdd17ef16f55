/**
 * The client of seed 003, doing literally what its text says: one chunk at a time, files written in
 * place, overwritten and deleted when the server says so, stamped with the time of receipt, the newer
 * modification time wins. Nothing of src is used. Tests play the user (`files.write`, then `scan`), and make it
 * misbehave through its hooks or through its two connections.
 */
import { CODE, LiteralWire, type LiteralMessage, md5Of, type WireManners } from "./literal-sync-wire.ts";
import { LiteralFiles, METADATA, readMetadata } from "./literal-sync-files.ts";
import { Condition, type WaitOptions } from "./wait.ts";

export interface LiteralClientOptions extends WireManners {
  host?: string;
  /** Of the client: the server's receive port. */
  sendPort: number;
  /** Of the client: the server's send port. */
  receivePort: number;
  folder: string;
  chunkSize?: number;
  /** What Close says of the file: its digest, zeros, or the last chunk's; the text does not say which. */
  closeDigest?: "file" | "zeros" | "last chunk";
  /** Whether the answers to Close and Delete are waited for; those that are not stay in the stream. */
  awaitsClose?: boolean;
}

export type UploadEnd = "sent" | "locked" | "gave up";

export class LiteralSyncClient implements AsyncDisposable {
  readonly files: LiteralFiles;
  readonly sending: LiteralWire;
  readonly receiving: LiteralWire;
  /** Files that arrived whole, by name, in order. */
  readonly updates: string[] = [];
  readonly deletions: string[] = [];
  readonly aborts: string[] = [];
  /** Every code that came on the sending channel, keep-alives left out. */
  readonly codes: number[] = [];
  /** Hook: how many chunks from now on are sent with a digest that is wrong. */
  wrongDigests = 0;
  /** Hook: how many chunks from now on are sent with no data where data is due. */
  wrongSizes = 0;
  /** Hook: names that cannot be opened for writing. */
  readonly inUse = new Set<string>();
  /** Hook: how many chunks from now on are called damaged. */
  complaints = 0;
  private readonly options: LiteralClientOptions;
  private readonly condition = new Condition();
  private readonly strikes = new Map<string, number>();
  private readonly receiver: Promise<void>;
  private serverFiles: Buffer[] = [];
  private isGreeted = false;
  private hasEnded = false;

  private constructor(options: LiteralClientOptions, sending: LiteralWire, receiving: LiteralWire) {
    this.options = options;
    this.files = new LiteralFiles(options.folder);
    this.sending = sending;
    this.receiving = receiving;
    this.files.scan();
    this.receiver = this.receive();
  }

  /** Connects both channels, compares META-DATA, and sends and asks for what is to be sent and asked for. */
  static async start(options: LiteralClientOptions): Promise<LiteralSyncClient> {
    const host = options.host ?? "127.0.0.1";
    const receiving = await LiteralWire.dial(host, options.receivePort, options);
    const sending = await LiteralWire.dial(host, options.sendPort, options);
    const client = new LiteralSyncClient(options, sending, receiving);
    await client.until(() => client.isGreeted, "META-DATA");
    await client.compare();
    return client;
  }

  /** The four rules. */
  private async compare(): Promise<void> {
    const theirs = readMetadata(Buffer.concat(this.serverFiles));
    const ours = new Map(this.files.known);
    for (const [name, { mtime }] of theirs) {
      const own = ours.get(name);
      if (own === undefined || mtime > own.mtime) await this.sending.named("request", name, own?.md5);
      else if (own.mtime > mtime) await this.upload(name);
    }
    for (const name of ours.keys()) if (!theirs.has(name)) await this.upload(name);
  }

  /** Looks at the disk and sends what changed since the last look. */
  async scan(): Promise<void> {
    const { changed, deleted } = this.files.scan();
    for (const name of changed) await this.upload(name);
    for (const name of deleted) await this.delete(name);
  }

  async upload(name: string): Promise<UploadEnd> {
    const data = this.files.read(name);
    const step = this.options.chunkSize ?? 4096;
    let last: Buffer = Buffer.alloc(0);
    // Of an empty file one empty chunk is sent.
    for (let at = 0; at === 0 || at < data.length; at += step) {
      last = data.subarray(at, at + step);
      const end = await this.sendChunk(name, last);
      if (end !== "sent") return end;
    }
    const digests = { file: md5Of(data), zeros: undefined, "last chunk": md5Of(last) };
    await this.sending.named("close", name, digests[this.options.closeDigest ?? "file"]);
    if (this.options.awaitsClose !== false) await this.answer();
    return "sent";
  }

  /** @returns the server's answer */
  async delete(name: string): Promise<number> {
    await this.sending.named("delete", name);
    return this.options.awaitsClose === false ? 0 : await this.answer();
  }

  /** One chunk, again and again as long as the server asks for that. */
  private async sendChunk(name: string, data: Buffer): Promise<UploadEnd> {
    for (;;) {
      if (this.wrongDigests-- > 0) await this.sending.chunk(name, data, { md5: "ab".repeat(16) });
      else if (this.wrongSizes-- > 0) await this.sending.chunk(name, Buffer.alloc(0));
      else await this.sending.chunk(name, data);
      const code = await this.answer();
      if ((code & CODE.ok) !== 0) return "sent";
      if ((code & CODE.locked) !== 0) return "locked";
      if ((code & (CODE.badChecksum | CODE.badSize)) === 0) return "gave up";
    }
  }

  /** The next status. File In Use belongs to a Request that was sent at some time: that one is given up. */
  private async answer(): Promise<number> {
    for (;;) {
      const code = await this.sending.status();
      this.codes.push(code);
      this.condition.changed();
      if ((code & CODE.inUse) === 0) return code;
    }
  }

  private async receive(): Promise<void> {
    for (;;) {
      const message = await this.receiving.next();
      if (message === undefined) break;
      const code = message.type === "status" ? undefined : this.take(message);
      if (code !== undefined) await this.receiving.code(code);
      this.condition.changed();
    }
    this.hasEnded = true;
    this.condition.changed();
  }

  /** @returns the status to answer with */
  private take(message: Exclude<LiteralMessage, { type: "status" }>): number | undefined {
    if (message.name === METADATA) return this.takeMetadata(message);
    const { name } = message;
    switch (message.type) {
      case "chunk":
        return this.takeChunk(name, message.data, message.md5);
      case "close":
        this.files.finish(name);
        this.updates.push(name);
        return CODE.ok;
      case "abort":
        this.files.remove(name);
        this.aborts.push(name);
        return undefined;
      case "delete":
        if (!this.files.remove(name)) return CODE.noFile;
        this.deletions.push(name);
        return CODE.ok;
      case "request":
        throw new Error(`The server asked for "${name}"`);
    }
  }

  private takeChunk(name: string, data: Buffer, md5: string): number {
    if (this.inUse.has(name)) return CODE.inUse;
    if (md5Of(data) !== md5 || this.complaints-- > 0) {
      const strikes = (this.strikes.get(name) ?? 0) + 1;
      this.strikes.set(name, strikes % 3);
      if (strikes < 3) return CODE.badChecksum;
      this.files.close(name);
      return CODE.checksumAbort;
    }
    this.strikes.delete(name);
    try {
      this.files.append(name, data);
    } catch {
      return CODE.inUse;
    }
    return CODE.ok;
  }

  private takeMetadata(message: LiteralMessage): number {
    if (message.type === "chunk") this.serverFiles.push(message.data);
    if (message.type === "close") this.isGreeted = true;
    return CODE.ok;
  }

  /** What META-DATA of the server said at the start, by name. */
  greeting(): ReturnType<typeof readMetadata> {
    return readMetadata(Buffer.concat(this.serverFiles));
  }

  async until(probe: () => boolean, what: string, options?: WaitOptions): Promise<void> {
    const { updates, deletions, codes, hasEnded } = this;
    const described = (): string => `${what}: ${JSON.stringify({ updates, deletions, codes, hasEnded })}`;
    await this.condition.until(() => (probe() ? true : undefined), described, options);
  }

  /** Until a file has arrived with these contents. */
  async untilHas(name: string, contents: string | Uint8Array, options?: WaitOptions): Promise<void> {
    const wanted = Buffer.from(contents);
    const isThere = (): boolean =>
      !this.files.isOpen(name) && this.files.exists(name) && this.files.read(name).equals(wanted);
    await this.until(isThere, `${name} of ${wanted.length} bytes`, options);
  }

  get isEnded(): boolean {
    return this.hasEnded;
  }

  /** Both connections reset, whatever is under way. */
  vanish(): void {
    this.sending.vanish();
    this.receiving.vanish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.sending.close();
    this.receiving.close();
    await this.receiver;
  }
}
