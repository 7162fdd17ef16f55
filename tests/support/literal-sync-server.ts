/**
 * The server of seed 003, doing literally what its text says: files written in place and locked while
 * they are, META-DATA to everyone who connects, one queue of names for each client, one chunk at a time.
 * Nothing of src is used. Tests make it misbehave through its hooks or through a client's two connections.
 */
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { CODE, LiteralWire, type LiteralMessage, md5Of, type WireManners } from "./literal-sync-wire.ts";
import { LiteralFiles, METADATA } from "./literal-sync-files.ts";
import { Condition, type WaitOptions } from "./wait.ts";

export interface LiteralServerOptions extends WireManners {
  folder: string;
  chunkSize?: number;
  /** Whether Close and Delete are answered; the text does not say it. */
  answersClose?: boolean;
}

/** Two connections that came one after the other. */
export interface LiteralSession {
  /** Where updates are sent, and their statuses come. */
  sending: LiteralWire | undefined;
  /** Where the client's updates come, and are answered. */
  receiving: LiteralWire | undefined;
  queue: string[];
  /** Every code that came on the sending connection. */
  codes: number[];
  isSending: boolean;
}

export class LiteralSyncServer implements AsyncDisposable {
  readonly files: LiteralFiles;
  readonly sessions: LiteralSession[] = [];
  /** Who writes which file. */
  readonly locks = new Map<string, LiteralSession>();
  /** Files that came whole, by name, in order. */
  readonly updates: string[] = [];
  readonly deletions: string[] = [];
  readonly requests: string[] = [];
  /** Files whose transfer was aborted by the client. */
  readonly aborts: string[] = [];
  /** Hook: what the next messages that are due an answer are answered with, whatever they say; nothing of them is stored. */
  answers: number[] = [];
  /** Hook: how many chunks from now on are sent with a digest that is wrong. */
  wrongDigests = 0;
  /** Hook: names that somebody else is said to be writing. */
  readonly lockedByOthers = new Set<string>();
  /** Hook: after so many chunks of the next file Abort is sent instead. */
  abortsAfterChunks: number | undefined;
  private readonly options: LiteralServerOptions;
  private readonly listeners: Server[];
  private readonly condition = new Condition();
  private readonly strikes = new Map<string, number>();

  private constructor(options: LiteralServerOptions, listeners: Server[]) {
    this.options = options;
    this.files = new LiteralFiles(options.folder);
    this.files.scan();
    this.listeners = listeners;
    const [send, receive] = listeners;
    send!.on("connection", (socket: Socket) => this.joined("sending", socket));
    receive!.on("connection", (socket: Socket) => this.joined("receiving", socket));
  }

  /** @param ports of an earlier one that is to come back; free ones if not given */
  static async start(options: LiteralServerOptions, ports = [0, 0]): Promise<LiteralSyncServer> {
    const listeners = ports.map((port) => createServer({ allowHalfOpen: true }).listen(port, "127.0.0.1"));
    await Promise.all(listeners.map((listener) => once(listener, "listening")));
    return new LiteralSyncServer(options, listeners);
  }

  /** The server's own. */
  get sendPort(): number {
    return (this.listeners[0]!.address() as AddressInfo).port;
  }

  get receivePort(): number {
    return (this.listeners[1]!.address() as AddressInfo).port;
  }

  private joined(side: "sending" | "receiving", socket: Socket): void {
    const wire = new LiteralWire(socket, this.options);
    let session = this.sessions.find((one) => one[side] === undefined);
    if (session === undefined) {
      session = { sending: undefined, receiving: undefined, queue: [], codes: [], isSending: false };
      this.sessions.push(session);
    }
    session[side] = wire;
    if (side === "sending") {
      session.queue.unshift(METADATA);
      void this.send(session);
    } else void this.receive(session, wire);
    this.condition.changed();
  }

  /** The sending thread: takes one name after the other, while there are any. */
  private async send(session: LiteralSession): Promise<void> {
    if (session.isSending) return;
    session.isSending = true;
    try {
      for (let name = session.queue.shift(); name !== undefined; name = session.queue.shift()) {
        await this.sendFile(session, session.sending!, name);
        this.condition.changed();
      }
    } catch {
      this.left(session);
    }
    session.isSending = false;
    this.condition.changed();
  }

  private async sendFile(session: LiteralSession, wire: LiteralWire, name: string): Promise<void> {
    const isMetadata = name === METADATA;
    if (!isMetadata && !this.files.exists(name)) {
      await wire.named("delete", name);
      if (this.options.answersClose !== false) await this.answer(session);
      return;
    }
    const data = isMetadata ? this.files.metadata() : this.files.read(name);
    const step = this.options.chunkSize ?? 4096;
    for (let at = 0, count = 0; at === 0 || at < data.length; count++) {
      if (!isMetadata && this.abortsAfterChunks !== undefined && count >= this.abortsAfterChunks) {
        this.abortsAfterChunks = undefined;
        return await wire.named("abort", name);
      }
      const chunk = data.subarray(at, at + step);
      const isWrong = !isMetadata && this.wrongDigests-- > 0;
      await wire.chunk(name, chunk, isWrong ? { md5: "cd".repeat(16) } : {});
      const code = await this.answer(session);
      // In use, or wrong three times: this update is given up.
      if ((code & (CODE.inUse | CODE.checksumAbort | CODE.sizeAbort)) !== 0) return;
      if ((code & (CODE.badChecksum | CODE.badSize)) === 0) at += step;
    }
    await wire.named("close", name, md5Of(data));
    if (this.options.answersClose !== false) await this.answer(session);
  }

  private async answer(session: LiteralSession): Promise<number> {
    const code = await session.sending!.status();
    session.codes.push(code);
    this.condition.changed();
    return code;
  }

  /** The receiving thread. */
  private async receive(session: LiteralSession, wire: LiteralWire): Promise<void> {
    for (;;) {
      const message = await wire.next();
      if (message === undefined) break;
      const code = message.type === "status" ? undefined : this.take(session, message);
      if (code !== undefined) await wire.code(code);
      this.condition.changed();
    }
    this.left(session);
    wire.close();
    this.condition.changed();
  }

  /** @returns the status to answer with */
  private take(
    session: LiteralSession,
    message: Exclude<LiteralMessage, { type: "status" }>,
  ): number | undefined {
    const { name } = message;
    if (message.type === "request") return this.takeRequest(session, name);
    if (message.type === "abort") {
      this.aborts.push(name);
      this.unlock(session, name);
      return undefined;
    }
    const forced = this.answers.shift();
    if (forced !== undefined) {
      if ((forced & (CODE.checksumAbort | CODE.sizeAbort)) !== 0) this.unlock(session, name);
      return forced;
    }
    const owner = this.locks.get(name);
    const isLocked = this.lockedByOthers.has(name) || (owner !== undefined && owner !== session);
    // The Close of a refused file has nothing to close.
    if (isLocked) return message.type === "close" ? undefined : CODE.locked;
    if (message.type === "chunk") return this.takeChunk(session, name, message.data, message.md5);
    if (message.type === "close") {
      this.files.finish(name);
      this.locks.delete(name);
      this.updates.push(name);
    } else {
      if (!this.files.remove(name)) return CODE.noFile;
      this.deletions.push(name);
    }
    this.broadcast(name, session);
    return this.options.answersClose === false ? undefined : CODE.ok;
  }

  private takeChunk(session: LiteralSession, name: string, data: Buffer, md5: string): number {
    this.locks.set(name, session);
    if (md5Of(data) !== md5) {
      const strikes = (this.strikes.get(name) ?? 0) + 1;
      this.strikes.set(name, strikes % 3);
      if (strikes < 3) return CODE.badChecksum;
      this.unlock(session, name);
      return CODE.checksumAbort;
    }
    this.strikes.delete(name);
    this.files.append(name, data);
    return CODE.ok;
  }

  private takeRequest(session: LiteralSession, name: string): number | undefined {
    this.requests.push(name);
    if (this.lockedByOthers.has(name) || this.locks.has(name)) return CODE.inUse;
    if (this.files.exists(name)) this.enqueue(session, name);
    return undefined;
  }

  /** Sends a file, or its deletion, to everyone but whom it is from. */
  broadcast(name: string, author?: LiteralSession): void {
    for (const session of this.sessions) if (session !== author) this.enqueue(session, name);
  }

  enqueue(session: LiteralSession, name: string): void {
    if (!session.queue.includes(name)) session.queue.push(name);
    if (session.sending !== undefined) void this.send(session);
  }

  /** Writes as somebody at another client would, and tells everyone. */
  publish(name: string, data: string | Uint8Array): void {
    this.files.append(name, Buffer.from(data));
    this.files.finish(name);
    this.broadcast(name);
  }

  private unlock(session: LiteralSession, name: string): void {
    if (this.locks.get(name) !== session) return;
    this.locks.delete(name);
    this.files.close(name);
  }

  private left(session: LiteralSession): void {
    for (const [name, owner] of this.locks) if (owner === session) this.unlock(session, name);
    if (this.sessions.includes(session)) this.sessions.splice(this.sessions.indexOf(session), 1);
    session.sending?.close();
    session.receiving?.close();
  }

  /** The one client, once both of its connections are there. */
  async session(
    options?: WaitOptions,
  ): Promise<LiteralSession & { sending: LiteralWire; receiving: LiteralWire }> {
    await this.until(
      () => this.sessions[0]?.sending !== undefined && this.sessions[0].receiving !== undefined,
      "a client",
      options,
    );
    return this.sessions[0] as LiteralSession & { sending: LiteralWire; receiving: LiteralWire };
  }

  /** Until everyone has been sent all that is in the queues, and has answered. */
  async untilSent(options?: WaitOptions): Promise<void> {
    const isSent = (): boolean =>
      this.sessions.every(({ queue, isSending }) => queue.length === 0 && !isSending);
    await this.until(() => this.sessions.length > 0 && isSent(), "the end of all updates", options);
  }

  async until(probe: () => boolean, what: string, options?: WaitOptions): Promise<void> {
    const { updates, deletions, requests, aborts } = this;
    const described = (): string => {
      const sessions = this.sessions.map(({ queue, codes }) => ({ queue, codes }));
      return `${what}: ${JSON.stringify({ updates, deletions, requests, aborts, sessions })}`;
    };
    await this.condition.until(() => (probe() ? true : undefined), described, options);
  }

  /** Until a file has come with these contents. */
  async untilHas(name: string, contents: string | Uint8Array, options?: WaitOptions): Promise<void> {
    const wanted = Buffer.from(contents);
    const isThere = (): boolean =>
      !this.locks.has(name) && this.files.exists(name) && this.files.read(name).equals(wanted);
    await this.until(isThere, `${name} of ${wanted.length} bytes`, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.listeners.map((listener) => once(listener, "close"));
    for (const listener of this.listeners) listener.close();
    for (const session of [...this.sessions]) this.left(session);
    await Promise.all(closed);
  }
}
