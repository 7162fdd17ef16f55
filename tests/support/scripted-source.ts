import type { Socket } from "bun";
import { Condition, type WaitOptions } from "./wait.ts";
import {
  chain,
  dataFrame,
  type Digest,
  digest,
  endFrame,
  entries,
  errorFrame,
  fileFrame,
  FRAME,
  listed,
  frame,
  piecesOf,
  readFrame,
  welcome,
  type WireEntry,
} from "./wire-bytes.ts";

export interface ListAsked {
  id: number;
  path: string;
  credit: number;
}

export interface FetchAsked extends Answered {
  path: string;
  delayMs: number;
  offset: number;
  /** How much of it, from there on; it may reach beyond the end. */
  length: number;
}

export interface SumsAsked extends Answered {
  path: string;
  pieceBytes: number;
}

/** What an answer to a FETCH has to repeat. */
interface Answered {
  id: number;
  digest: Digest;
}

/**
 * What a scripted source does; whatever is not given, it does as an honest content server would. The
 * files it claims to have come by their path.
 */
export interface Script {
  files?: Record<string, Uint8Array>;
  /** When all of these files were last modified; 1970 if not given. */
  mtimeUs?: number;
  /** Size of the pieces in which files are sent. */
  pieceBytes?: number;
  /** A connection is open, and has said nothing yet. */
  opened?: (connection: ScriptedConnection) => void;
  hello?: (connection: ScriptedConnection) => void;
  list?: (connection: ScriptedConnection, asked: ListAsked) => void;
  /** The client allows more messages of a list. */
  more?: (connection: ScriptedConnection, id: number, credit: number) => void;
  fetch?: (connection: ScriptedConnection, asked: FetchAsked) => void;
  sums?: (connection: ScriptedConnection, asked: SumsAsked) => void;
  ping?: (connection: ScriptedConnection) => void;
}

const MAX_DIGESTS_BYTES = 4096;

/** So few that the longest names fit into one message. */
const BATCH_ENTRIES = 30;

/** One connection to a scripted source. */
export class ScriptedConnection {
  /** 0 for the first one of this source. */
  readonly number: number;
  readonly #source: ScriptedSource;
  readonly #socket: Socket<Slot>;
  #received = Buffer.alloc(0);
  #unsent: Uint8Array[] = [];
  readonly #lists = new Map<number, { messages: Uint8Array[]; last: Uint8Array }>();
  #isEnding = false;
  isClosed = false;
  /** Told whenever all that was sent has been taken. */
  onDrained: (() => void) | undefined;

  constructor(source: ScriptedSource, socket: Socket<Slot>, number: number) {
    this.#source = source;
    this.#socket = socket;
    this.number = number;
  }

  /** Queues bytes. False when some of them have to wait for `onDrained`. */
  send(...parts: Uint8Array[]): boolean {
    this.#unsent.push(...parts);
    this.flush();
    return this.#unsent.length === 0;
  }

  sendWelcome(): void {
    this.send(welcome());
  }

  /** A list of these and nothing else, with the right counts, in as many messages as it takes. */
  sendList({ id, credit }: ListAsked, items: readonly WireEntry[]): void {
    const files = items.filter((item) => (item.kind ?? "file") === "file").length;
    const directories = items.filter((item) => item.kind === "directory").length;
    const messages: Uint8Array[] = [];
    for (let start = 0; start < items.length; start += BATCH_ENTRIES) {
      messages.push(entries(id, items.slice(start, start + BATCH_ENTRIES)));
    }
    const last = listed(id, files, directories, items.length - files - directories);
    this.#lists.set(id, { messages, last });
    this.more(id, credit);
  }

  /** The client allows so many more messages of a list. */
  more(id: number, credit: number): void {
    const list = this.#lists.get(id);
    if (list === undefined) return;
    this.send(...list.messages.splice(0, credit));
    if (list.messages.length > 0) return;
    this.#lists.delete(id);
    this.send(list.last);
  }

  /** What is asked for of a file, as an honest server sends it. */
  sendFile(
    { id, digest, offset: asked, length }: Answered & { offset: number; length?: number },
    bytes: Uint8Array,
  ): void {
    const offset = Math.min(asked, bytes.length);
    const rest = bytes.subarray(offset, length === undefined ? undefined : offset + length);
    const pieces = piecesOf(rest, this.#source.script.pieceBytes ?? 256 * 1024);
    const { mtimeUs = 0 } = this.#source.script;
    this.send(fileFrame(id, { size: bytes.length, mtimeUs, offset, length: rest.length }));
    this.finishFile({ id, digest }, pieces, 0);
  }

  /** The rest of a file after so many of its pieces have been sent. */
  finishFile({ id, digest }: Answered, pieces: readonly Uint8Array[], sentPieces: number): void {
    const sizeBytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    this.send(
      ...pieces.slice(sentPieces).map((piece) => dataFrame(id, digest, piece)),
      endFrame(id, sizeBytes, chain(digest, pieces)),
    );
  }

  /** What an honest server does about this request. */
  answerList(asked: ListAsked): void {
    const { files = {} } = this.#source.script;
    this.sendList(
      asked,
      Object.entries(files).map(([path, bytes]) => ({ path, size: bytes.length })),
    );
  }

  answerFetch(asked: FetchAsked): void {
    const bytes = this.#source.script.files?.[asked.path];
    if (bytes === undefined) this.send(errorFrame(asked.id, 4, "no such file"));
    else this.sendFile(asked, bytes);
  }

  answerSums({ id, digest: kind, path, pieceBytes }: SumsAsked): void {
    const bytes = this.#source.script.files?.[path];
    if (bytes === undefined) return void this.send(errorFrame(id, 4, "no such file"));
    const digests = piecesOf(bytes, pieceBytes).map((piece) => digest(kind, piece));
    const perFrame = Math.floor(MAX_DIGESTS_BYTES / (kind === "sha256" ? 32 : 8));
    this.send(fileFrame(id, { size: bytes.length, mtimeUs: this.#source.script.mtimeUs ?? 0 }));
    for (let at = 0; at < digests.length; at += perFrame) {
      this.send(frame(FRAME.digests, id, Buffer.concat(digests.slice(at, at + perFrame))));
    }
    this.send(endFrame(id, bytes.length, chain(kind, piecesOf(bytes, pieceBytes))));
  }

  /** What the client sends from here on stays where it is. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Ends our side, once all is sent. */
  end(): void {
    this.#isEnding = true;
    this.flush();
  }

  /** Ends at once: the peer sees a reset. */
  reset(): void {
    this.#socket.terminate();
  }

  flush(): void {
    while (this.#unsent[0] !== undefined) {
      const part = this.#unsent[0];
      const taken = Math.max(0, this.#socket.write(part));
      if (taken < part.length) {
        this.#unsent[0] = part.subarray(taken);
        return;
      }
      this.#unsent.shift();
    }
    if (this.#isEnding) this.#socket.end();
  }

  take(bytes: Uint8Array): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    for (let next = readFrame(this.#received); next !== undefined; next = readFrame(this.#received)) {
      this.#received = this.#received.subarray(next.frameBytes);
      this.#source.asked(this, next.type, next.id, next.payload);
    }
  }
}

interface Slot {
  connection: ScriptedConnection | undefined;
}

/**
 * A source that says exactly what a test tells it to say, on a raw socket. It trusts the client: the
 * programs under test are on the other side.
 */
export class ScriptedSource implements Disposable {
  readonly script: Script;
  readonly port: number;
  readonly connections: ScriptedConnection[] = [];
  readonly fetches: FetchAsked[] = [];
  readonly #condition = new Condition();
  readonly #listener: Bun.TCPSocketListener<Slot>;

  constructor(script: Script) {
    this.script = script;
    this.#listener = Bun.listen<Slot>({
      hostname: "127.0.0.1",
      port: 0,
      data: { connection: undefined },
      socket: {
        open: (socket) => {
          const connection = new ScriptedConnection(this, socket, this.connections.length);
          socket.data = { connection };
          this.connections.push(connection);
          script.opened?.(connection);
          this.#condition.changed();
        },
        data: (socket, bytes) => socket.data.connection?.take(bytes),
        drain: (socket) => {
          socket.data.connection?.flush();
          socket.data.connection?.onDrained?.();
        },
        close: (socket) => {
          if (socket.data.connection !== undefined) socket.data.connection.isClosed = true;
          this.#condition.changed();
        },
        error: () => {}, // the program under test may go away at any time
      },
    });
    this.port = this.#listener.port;
  }

  /** Waits until the probe, which is looked at after every request and connection, gives a value. */
  async until<T>(probe: () => T | undefined, what: string, options: WaitOptions = {}): Promise<T> {
    return this.#condition.until(probe, () => what, options);
  }

  /** For the connections. */
  asked(connection: ScriptedConnection, type: number, id: number, payload: Buffer): void {
    const { script } = this;
    if (type === FRAME.hello) (script.hello ?? defaults.hello)(connection);
    else if (type === FRAME.ping) (script.ping ?? defaults.ping)(connection);
    else if (type === FRAME.list)
      (script.list ?? defaults.list)(connection, {
        id,
        credit: payload.readUInt32LE(0),
        path: payload.toString("utf8", 6),
      });
    else if (type === FRAME.more) (script.more ?? defaults.more)(connection, id, payload.readUInt32LE(0));
    else if (type === FRAME.fetch) {
      const asked: FetchAsked = {
        id,
        offset: Number(payload.readBigUInt64LE(0)),
        length: Number(payload.readBigUInt64LE(8)),
        delayMs: payload.readUInt32LE(16),
        digest: payload.readUInt8(20) === 2 ? "sha256" : "xxh3",
        path: payload.toString("utf8", 23),
      };
      this.fetches.push(asked);
      (script.fetch ?? defaults.fetch)(connection, asked);
    } else if (type === FRAME.sums) {
      const asked: SumsAsked = {
        id,
        pieceBytes: payload.readUInt32LE(0),
        digest: payload.readUInt8(4) === 2 ? "sha256" : "xxh3",
        path: payload.toString("utf8", 7),
      };
      (script.sums ?? defaults.sums)(connection, asked);
    }
    this.#condition.changed();
  }

  [Symbol.dispose](): void {
    this.#listener.stop(true);
  }
}

const PONG = frame(FRAME.pong, 0, new Uint8Array(0));

const defaults: Required<Pick<Script, "hello" | "list" | "more" | "fetch" | "sums" | "ping">> = {
  hello: (connection) => connection.sendWelcome(),
  list: (connection, asked) => connection.answerList(asked),
  more: (connection, id, credit) => connection.more(id, credit),
  fetch: (connection, asked) => connection.answerFetch(asked),
  sums: (connection, asked) => connection.answerSums(asked),
  ping: (connection) => void connection.send(PONG),
};
