/**
 * One connection of the sync protocol, written from the text of seed 003 alone: shares no line with
 * src, so that ours and this one cannot be wrong in the same way. It sends whatever it is told,
 * sensible or not.
 */
import { createHash } from "node:crypto";
import { connect, type Socket } from "node:net";
import { once } from "node:events";

export const CODE = {
  ok: 0x0001,
  badChecksum: 0x0002,
  badSize: 0x0004,
  checksumAbort: 0x0008,
  sizeAbort: 0x0010,
  noFile: 0x0020,
  locked: 0x0040,
  inUse: 0x0080,
  keepAlive: 0x8000,
} as const;

export type LiteralMessage =
  | { type: "chunk"; name: string; md5: string; data: Buffer }
  | { type: "status"; code: number }
  | { type: "close" | "abort" | "delete" | "request"; name: string; md5: string };

const TYPES = { chunk: 1, status: 2, close: 3, abort: 4, delete: 5, request: 6 } as const;
const NO_MD5 = "0".repeat(32);

export function md5Of(data: Uint8Array): string {
  return createHash("md5").update(data).digest("hex");
}

export interface WireManners {
  /** Every byte goes out on its own. */
  dribbles?: boolean;
}

export class LiteralWire {
  readonly socket: Socket;
  /** All that was read so far, without the data of chunks; to see what was said when. */
  readonly received: LiteralMessage[] = [];
  private readonly manners: WireManners;
  private readonly source: AsyncIterator<Buffer>;
  private pending: Buffer[] = [];
  private pendingBytes = 0;

  constructor(socket: Socket, manners: WireManners = {}) {
    this.socket = socket;
    this.manners = manners;
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    this.source = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  }

  static async dial(host: string, port: number, manners: WireManners = {}): Promise<LiteralWire> {
    const socket = connect({ host, port, allowHalfOpen: true });
    await once(socket, "connect");
    return new LiteralWire(socket, manners);
  }

  /** The next message; undefined at the end of the stream, in mid-message too. Keep-alives are messages. */
  async next(): Promise<LiteralMessage | undefined> {
    try {
      const message = await this.readMessage();
      if (message !== undefined) this.received.push(message);
      return message;
    } catch {
      return undefined;
    }
  }

  /** The next status that is no keep-alive; throws for anything else. */
  async status(): Promise<number> {
    for (;;) {
      const message = await this.next();
      if (message === undefined) throw new Error("The connection ended where a status was due");
      if (message.type !== "status") throw new Error(`"${message.type}" came where a status was due`);
      if (message.code !== CODE.keepAlive) return message.code;
    }
  }

  /** @param claims a digest or a size that is not the data's */
  async chunk(
    name: string,
    data: Uint8Array,
    claims: { md5?: string; sizeBytes?: number } = {},
  ): Promise<void> {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(claims.sizeBytes ?? data.length);
    await this.bytes(u16(TYPES.chunk), hex(claims.md5 ?? md5Of(data)), size, nameField(name), data);
  }

  async named(type: "close" | "abort" | "delete" | "request", name: string, md5 = NO_MD5): Promise<void> {
    await this.bytes(u16(TYPES[type]), hex(md5), nameField(name));
  }

  async code(code: number): Promise<void> {
    await this.bytes(u16(TYPES.status), u16(code));
  }

  /** Settles when the system has taken all of it, or the connection is gone. */
  async bytes(...parts: Uint8Array[]): Promise<void> {
    const bytes = Buffer.concat(parts);
    if (this.manners.dribbles !== true) return await this.write(bytes);
    for (let at = 0; at < bytes.length; at++) {
      await this.write(bytes.subarray(at, at + 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ends the sending side alone. */
  halfClose(): void {
    this.socket.end();
  }

  /** Gone without a word. */
  vanish(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  private async write(bytes: Buffer): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()));
  }

  private async readMessage(): Promise<LiteralMessage | undefined> {
    if (!(await this.has(2))) return undefined;
    const type = this.take(2).readUInt16LE();
    if (type === TYPES.status) return { type: "status", code: (await this.read(2)).readUInt16LE() };
    const md5 = (await this.read(16)).toString("hex");
    const size = type === TYPES.chunk ? (await this.read(4)).readUInt32LE() : 0;
    const name = (await this.read((await this.read(2)).readUInt16LE())).toString();
    if (type === TYPES.chunk) return { type: "chunk", name, md5, data: await this.read(size) };
    for (const named of ["close", "abort", "delete", "request"] as const) {
      if (type === TYPES[named]) return { type: named, name, md5 };
    }
    throw new Error(`A message of type ${type}`);
  }

  private async read(count: number): Promise<Buffer> {
    if (!(await this.has(count))) throw new Error("The connection ended inside a message");
    return this.take(count);
  }

  private async has(count: number): Promise<boolean> {
    while (this.pendingBytes < count) {
      const { value, done } = await this.source.next();
      if (done === true) return false;
      this.pending.push(value);
      this.pendingBytes += value.length;
    }
    return true;
  }

  private take(count: number): Buffer {
    const all = this.pending.length === 1 ? this.pending[0]! : Buffer.concat(this.pending);
    this.pending = count < all.length ? [all.subarray(count)] : [];
    this.pendingBytes -= count;
    return all.subarray(0, count);
  }
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function hex(digits: string): Buffer {
  return Buffer.from(digits, "hex");
}

function nameField(name: string): Buffer {
  const bytes = Buffer.from(name);
  return Buffer.concat([u16(bytes.length), bytes]);
}
