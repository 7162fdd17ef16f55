/**
 * A client of the dray protocol, written from docs/PROTOCOL.md alone: it shares no line with src, so
 * that document and code cannot be wrong in the same way.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { connect as connectTls } from "node:tls";

export interface Frame {
  type: number;
  requestId: number;
  payload: Buffer;
}

export interface Entry {
  kind: number;
  mode: number;
  size: number;
  mtimeUs: number;
  path: string;
  target: string;
}

export interface Fetched {
  size: number;
  mtimeUs: number;
  mode: number;
  offset: number;
  bytes: Buffer;
}

/** What the server said in an ERROR. */
export class ServerError extends Error {
  readonly code: number;
  readonly requestId: number;

  constructor({ requestId, payload }: Frame) {
    super(payload.toString("utf8", 8, 8 + payload.readUInt16LE(6)));
    this.code = payload.readUInt16LE(0);
    this.requestId = requestId;
  }
}

/** How to be let in. */
export interface Door {
  /** What HELLO carries. */
  token?: string;
  /** Speak TLS and believe this authority; with a certificate of our own, if one is given. */
  tls?: { ca: string; cert?: string; key?: string };
  /** Which of this machine's addresses to come from: all of 127.0.0.0/8 are. */
  localAddress?: string;
}

const HEADER_BYTES = 16;
const LIMITS: Record<number, number> = {
  2: 1024,
  3: 16_384,
  4: 0,
  5: 0,
  18: 131_072,
  19: 24,
  21: 34,
  22: 1_048_608,
  23: 40,
  33: 4_194_304,
};
const DIGESTS = { xxh3: { number: 1, width: 8 }, sha256: { number: 2, width: 32 } };
type Digest = keyof typeof DIGESTS;
const CREDIT = 2;

export class IndependentClient implements AsyncDisposable {
  readonly frames: AsyncGenerator<Frame, void>;
  readonly #socket: Socket;
  #nextRequestId = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.frames = readFrames(socket);
  }

  /** Connects and shakes hands. */
  static async connect(
    port: number,
    versions: [min: number, max: number] = [1, 1],
    door: Door = {},
  ): Promise<IndependentClient> {
    const client = await IndependentClient.connectSilently(port, door);
    const token = Buffer.from(door.token ?? "");
    client.send(
      1,
      0,
      Buffer.from("DRAY"),
      u16(versions[0]),
      u16(versions[1]),
      u32(0),
      u16(token.length),
      token,
      text("other/1"),
    );
    const { type, payload } = await client.nextFrame();
    if (type !== 2 || payload.toString("latin1", 0, 4) !== "DRAY" || payload.readUInt16LE(4) !== 1) {
      throw new Error("The server did not say WELCOME");
    }
    return client;
  }

  /** Connects and says nothing. */
  static async connectSilently(port: number, door: Door = {}): Promise<IndependentClient> {
    const { tls, localAddress } = door;
    const from = localAddress === undefined ? {} : { localAddress };
    const target = { host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true, ...from };
    const socket = tls === undefined ? connect(target) : connectTls({ ...target, ...tls });
    await once(socket, tls === undefined ? "connect" : "secureConnect");
    return new IndependentClient(socket);
  }

  /** Everything at and below a path; throws unless the list is complete. */
  async list(path: string): Promise<Entry[]> {
    const id = this.send(16, undefined, u32(CREDIT), text(path));
    const entries: Entry[] = [];
    for (;;) {
      const { type, payload } = await this.nextFrame(id);
      if (type === 18) {
        entries.push(...readEntries(payload));
        this.send(17, id, u32(1));
      } else if (type === 19) {
        const counted = [0, 8, 16].map((at) => Number(payload.readBigUInt64LE(at)));
        const received = [0, 0, 0];
        for (const { kind } of entries) received[Math.min(kind, 2)]!++;
        if (counted.join() !== received.join()) throw new Error("The listing is not complete");
        return entries;
      } else throw new Error(`Type ${type} inside a listing`);
    }
  }

  /** Asks for a file and gives the request's id; the answer is read with `receiveFile`. */
  requestFile(
    path: string,
    options: { digest?: Digest; offset?: number; length?: number; delayMs?: number } = {},
  ): number {
    const { digest = "xxh3", offset = 0, length = 2 ** 53 - 1, delayMs = 0 } = options;
    return this.send(
      20,
      undefined,
      i64(offset),
      i64(length),
      u32(delayMs),
      Buffer.from([DIGESTS[digest].number]),
      text(path),
    );
  }

  /** The answer to the oldest FETCH that is under way, with all the checks that the document asks for. */
  async receiveFile(id: number, digest: Digest = "xxh3"): Promise<Fetched> {
    const file = await this.nextFrame(id);
    if (file.type !== 21) throw new Error(`Type ${file.type} instead of FILE`);
    const [size, offset, length] = [0, 18, 26].map((at) => Number(file.payload.readBigUInt64LE(at)));
    if (offset! + length! > size!) throw new Error("A range beyond the end of the file");
    const { width } = DIGESTS[digest];
    const pieces: Buffer[] = [];
    let receivedBytes = 0;
    let chain: Buffer = Buffer.alloc(width);
    for (;;) {
      const { type, payload } = await this.nextFrame(id);
      if (type === 23) {
        if (receivedBytes !== length || Number(payload.readBigUInt64LE(0)) !== length)
          throw new Error("Length");
        if (!payload.subarray(8).equals(chain)) throw new Error("The chain does not match");
        const mtimeUs = Number(file.payload.readBigInt64LE(8));
        const mode = file.payload.readUInt16LE(16);
        return { size: size!, mtimeUs, mode, offset: offset!, bytes: Buffer.concat(pieces) };
      }
      if (type !== 22 || payload.length <= width) throw new Error(`Type ${type} or no piece inside a file`);
      const piece = payload.subarray(width);
      const pieceDigest = hash(digest, piece);
      if (!payload.subarray(0, width).equals(pieceDigest))
        throw new Error("A piece does not match its digest");
      chain = hash(digest, Buffer.concat([chain, pieceDigest]));
      receivedBytes += piece.length;
      const fullBytes = pieces[0]?.length ?? piece.length;
      if (piece.length > fullBytes || (piece.length < fullBytes && receivedBytes !== length)) {
        throw new Error("Pieces of different lengths");
      }
      if (receivedBytes > length!) throw new Error("More than was announced");
      pieces.push(piece);
    }
  }

  /** Sends one frame and gives its request id, a new one if none is given. */
  send(type: number, requestId = this.#nextRequestId++, ...fields: Buffer[]): number {
    const payload = Buffer.concat(fields);
    const checked = Buffer.concat([u32(payload.length), u32(type), u32(requestId), payload]);
    this.sendBytes(Buffer.concat([check(checked), checked]));
    return requestId;
  }

  sendBytes(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Ends the sending side; answers still come. */
  endSending(): void {
    this.#socket.end();
  }

  /** The next frame but PING and PONG; throws for an ERROR, for another request's frame, and at the end. */
  async nextFrame(requestId?: number): Promise<Frame> {
    for (;;) {
      const { value: frame } = await this.frames.next();
      if (frame === undefined) throw new Error("The connection ended before the answer was complete");
      if (frame.type === 4) this.send(5, 0);
      else if (frame.type === 3) throw new ServerError(frame);
      else if (requestId !== undefined && frame.requestId !== requestId) throw new Error("Another request's");
      else if (frame.type !== 5) return frame;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
  }
}

async function* readFrames(socket: Socket): AsyncGenerator<Frame, void> {
  let pending: Buffer = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + pending.readUInt32LE(4);
      const type = pending[8]!;
      if (pending.readUIntLE(9, 3) !== 0 || end - HEADER_BYTES > (LIMITS[type] ?? -1)) {
        throw new Error("Not a frame");
      }
      if (pending.length < end) break;
      const frame = pending.subarray(0, end);
      if (!check(frame.subarray(4)).equals(frame.subarray(0, 4))) throw new Error("A damaged frame");
      yield { type, requestId: frame.readUInt32LE(12), payload: frame.subarray(HEADER_BYTES) };
      pending = pending.subarray(end);
    }
  }
  if (pending.length > 0) throw new Error("The connection ended inside a frame");
}

function readEntries(payload: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < payload.length;) {
    const pathEnd = at + 21 + payload.readUInt16LE(at + 19);
    const end = pathEnd + 2 + payload.readUInt16LE(pathEnd);
    entries.push({
      kind: payload[at]!,
      mode: payload.readUInt16LE(at + 1),
      size: Number(payload.readBigUInt64LE(at + 3)),
      mtimeUs: Number(payload.readBigInt64LE(at + 11)),
      path: payload.toString("utf8", at + 21, pathEnd),
      target: payload.toString("utf8", pathEnd + 2, end),
    });
    at = end;
  }
  return entries;
}

function hash(kind: Digest, bytes: Buffer): Buffer {
  if (kind === "sha256") return createHash("sha256").update(bytes).digest();
  const digest = Buffer.alloc(8);
  digest.writeBigUInt64LE(Bun.hash.xxHash3(bytes));
  return digest;
}

/** What every frame begins with. */
function check(rest: Buffer): Buffer {
  return hash("xxh3", rest).subarray(0, 4);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function i64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u16(bytes.length), bytes]);
}
