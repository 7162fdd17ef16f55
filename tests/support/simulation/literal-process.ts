import { createHash } from "node:crypto";
import type { Link } from "../../../src/sync/ports.ts";
import { ProcessDied, type SimulatedTree } from "../simulated-tree.ts";
import type { SimulatedPorts } from "../sync-ports.ts";
import { type TapMessage, WireTap } from "./wire-tap.ts";

const METADATA = "META-DATA";
const SCAN_MS = 1_500;
const RECONNECT_MS = 2_000;
const CODE = {
  ok: 1,
  badChecksum: 2,
  badSize: 4,
  checksumAbort: 8,
  noFile: 32,
  locked: 64,
  inUse: 128,
} as const;
const NO_MD5 = "0".repeat(32);

interface Known {
  /** Seconds since 1970. */
  mtime: number;
  size: number;
  md5: string;
}

export interface LiteralOptions {
  readonly host: string;
  /** The server's receive port. */
  readonly sendPort: number;
  /** The server's send port. */
  readonly receivePort: number;
  readonly chunkBytes: number;
  /** Told what is about to be sent. */
  readonly sends?: (data: Buffer) => void;
}

/**
 * The client of seed 003 over simulated ports, doing literally what its text says: one chunk at a time, files written in place,
 * overwritten and deleted when the server says so, the newer modification time wins. Nothing of src is used.
 */
export class LiteralProcess {
  readonly #ports: SimulatedPorts;
  readonly #tree: SimulatedTree;
  readonly #options: LiteralOptions;
  readonly #known = new Map<string, Known>();
  readonly #incoming = new Map<string, { append(data: Buffer): void; close(): void }>();
  readonly #strikes = new Map<string, number>();
  sending: Link | undefined;
  receiving: Link | undefined;
  #codes: number[] = [];
  #awaited: ((code: number | undefined) => void) | undefined;
  #serverList: Buffer[] = [];
  #greeted: (() => void) | undefined;
  #isBusy = false;
  /** Nothing to send, and everything was looked at. */
  isAtRest = false;

  constructor(ports: SimulatedPorts, options: LiteralOptions) {
    this.#ports = ports;
    this.#tree = ports.tree;
    this.#options = options;
    this.#load();
  }

  async run(): Promise<void> {
    for (;;) {
      try {
        await this.#connected();
      } catch (error) {
        if (error instanceof ProcessDied) return;
      }
      this.#disconnect();
      await this.#sleep(RECONNECT_MS);
    }
  }

  halfClose(channel: "sending" | "receiving"): void {
    this[channel]?.end();
  }

  async #connected(): Promise<void> {
    const { host, sendPort, receivePort } = this.#options;
    const { network } = this.#ports;
    this.#serverList = [];
    this.#codes = [];
    const greeted = new Promise<void>((resolve) => (this.#greeted = resolve));
    const gone = Promise.withResolvers<never>();
    gone.promise.catch(() => {});
    const lost = (): void => {
      gone.reject(new Error("the connection is gone"));
      this.#awaited?.(undefined);
    };
    this.receiving = await network.dial({ host, port: receivePort }, 5_000, (link) =>
      this.#attach(link, lost, (message) => this.#take(link, message)),
    );
    this.sending = await network.dial({ host, port: sendPort }, 5_000, (link) =>
      this.#attach(link, lost, (message) => this.#status(message)),
    );
    await Promise.race([greeted, gone.promise]);
    await Promise.race([this.#compare(), gone.promise]);
    for (;;) {
      await Promise.race([this.#scan(), gone.promise]);
      this.isAtRest = true;
      await Promise.race([this.#sleep(SCAN_MS), gone.promise]);
    }
  }

  #attach(link: Link, lost: () => void, heard: (message: TapMessage) => void): Link {
    const tap = new WireTap();
    link.attach({
      data: (bytes) => tap.push(bytes, heard, () => {}),
      drained: () => {},
      ended: lost,
      closed: lost,
    });
    return link;
  }

  #disconnect(): void {
    this.isAtRest = false;
    this.sending?.terminate();
    this.receiving?.terminate();
    this.sending = this.receiving = undefined;
    for (const file of this.#incoming.values()) file.close();
    this.#incoming.clear();
    this.#strikes.clear();
  }

  #status(message: TapMessage): void {
    if (message.type !== "status" || message.code === 0x8000) return;
    if (this.#awaited === undefined) return void this.#codes.push(message.code);
    const { code } = message;
    // File In Use answers some Request of earlier.
    if ((code & CODE.inUse) === 0) this.#awaited(code);
  }

  async #answer(): Promise<number> {
    for (let code = this.#codes.shift(); code !== undefined; code = this.#codes.shift())
      if ((code & CODE.inUse) === 0) return code;
    const code = await new Promise<number | undefined>((resolve) => (this.#awaited = resolve));
    this.#awaited = undefined;
    if (code === undefined) throw new Error("the connection is gone");
    return code;
  }

  /** The four rules. */
  async #compare(): Promise<void> {
    const theirs = readList(Buffer.concat(this.#serverList));
    const ours = new Map(this.#known);
    for (const [name, { mtime }] of theirs) {
      const own = ours.get(name);
      if (own === undefined || mtime > own.mtime) this.#named("request", name, own?.md5);
      else if (own.mtime > mtime) await this.#upload(name);
    }
    for (const name of ours.keys()) if (!theirs.has(name)) await this.#upload(name);
  }

  async #scan(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      const there = new Map(this.#files([]));
      const changed = [...there]
        .filter(([name, mtime]) => !this.#incoming.has(name) && this.#known.get(name)?.mtime !== mtime)
        .map(([name]) => name);
      const deleted = [...this.#known.keys()].filter((name) => !there.has(name));
      for (const name of changed) this.#learn(name);
      for (const name of deleted) this.#known.delete(name);
      if (changed.length + deleted.length > 0) {
        this.isAtRest = false;
        this.#save();
      }
      for (const name of changed) await this.#upload(name);
      for (const name of deleted) {
        this.#named("delete", name);
        await this.#answer();
      }
    } finally {
      this.#isBusy = false;
    }
  }

  async #upload(name: string): Promise<void> {
    const data = this.#read(name);
    if (data === undefined) return;
    this.#options.sends?.(data);
    const step = this.#options.chunkBytes;
    for (let at = 0; at === 0 || at < data.length; at += step) {
      if (!(await this.#chunk(name, data.subarray(at, at + step)))) return;
    }
    this.#named("close", name, md5Of(data));
    await this.#answer();
  }

  async #chunk(name: string, data: Buffer): Promise<boolean> {
    for (;;) {
      const size = Buffer.alloc(4);
      size.writeUInt32LE(data.length);
      this.sending?.write(
        Buffer.concat([u16(1), Buffer.from(md5Of(data), "hex"), size, nameField(name), data]),
      );
      const code = await this.#answer();
      if ((code & CODE.ok) !== 0) return true;
      if ((code & (CODE.badChecksum | CODE.badSize)) === 0) return false;
    }
  }

  #named(type: "close" | "delete" | "request", name: string, md5 = NO_MD5): void {
    this.sending?.write(
      Buffer.concat([
        u16({ close: 3, delete: 5, request: 6 }[type]),
        Buffer.from(md5, "hex"),
        nameField(name),
      ]),
    );
  }

  #take(link: Link, message: TapMessage): void {
    if (message.type === "status") return;
    const code = message.name === METADATA ? this.#takeList(message) : this.#takeFile(message);
    if (code !== undefined) link.write(Buffer.concat([u16(2), u16(code)]));
  }

  #takeList(message: Exclude<TapMessage, { type: "status" }>): number | undefined {
    if (message.type === "abort") {
      this.#serverList = [];
      return undefined;
    }
    if (message.type === "chunk") {
      if (md5Of(message.data) !== message.md5) return CODE.badChecksum;
      this.#serverList.push(message.data);
    } else this.#greeted?.();
    return CODE.ok;
  }

  #takeFile(message: Exclude<TapMessage, { type: "status" }>): number | undefined {
    const { name } = message;
    try {
      switch (message.type) {
        case "chunk":
          return this.#takeChunk(name, message.data, message.md5);
        case "close":
          this.#openIncoming(name).close();
          this.#incoming.delete(name);
          this.#learn(name);
          this.#save();
          return CODE.ok;
        case "abort":
          this.#remove(name);
          return undefined;
        case "delete":
          return this.#remove(name) ? CODE.ok : CODE.noFile;
        case "request":
          return undefined;
      }
    } catch (error) {
      if (error instanceof ProcessDied) throw error;
      return CODE.inUse;
    }
  }

  #takeChunk(name: string, data: Buffer, md5: string): number {
    if (md5Of(data) !== md5) {
      const strikes = (this.#strikes.get(name) ?? 0) + 1;
      this.#strikes.set(name, strikes % 3);
      if (strikes < 3) return CODE.badChecksum;
      this.#incoming.get(name)?.close();
      this.#incoming.delete(name);
      return CODE.checksumAbort;
    }
    this.#strikes.delete(name);
    this.#openIncoming(name).append(data);
    return CODE.ok;
  }

  #openIncoming(name: string): { append(data: Buffer): void; close(): void } {
    const open = this.#incoming.get(name);
    if (open !== undefined) return open;
    const path = name.split("/");
    for (let depth = 1; depth < path.length; depth++)
      if (this.#tree.stat(path.slice(0, depth)) === undefined) this.#tree.makeDirectory(path.slice(0, depth));
    const file = this.#tree.stat(path) === undefined ? this.#tree.create(path) : this.#tree.openToWrite(path);
    file.truncate(0);
    let at = 0;
    const incoming = {
      append: (data: Buffer) => {
        file.write(data, at);
        at += data.length;
      },
      close: () => file.close(),
    };
    this.#incoming.set(name, incoming);
    return incoming;
  }

  #remove(name: string): boolean {
    this.#incoming.get(name)?.close();
    this.#incoming.delete(name);
    const path = name.split("/");
    const existed = this.#tree.stat(path)?.kind === "file";
    if (existed) this.#tree.unlink(path);
    this.#known.delete(name);
    this.#save();
    return existed;
  }

  *#files(below: string[]): Generator<[name: string, mtime: number]> {
    for (const { name } of this.#tree.list(below)) {
      const path = [...below, name];
      const stat = this.#tree.stat(path);
      if (stat?.kind === "directory") yield* this.#files(path);
      else if (stat?.kind === "file" && path.join("/") !== METADATA)
        yield [path.join("/"), secondsOf(stat.mtimeNs)];
    }
  }

  #read(name: string): Buffer | undefined {
    const path = name.split("/");
    if (this.#tree.stat(path)?.kind !== "file") return undefined;
    const file = this.#tree.open(path);
    const data = Buffer.alloc(file.stat().sizeBytes);
    file.read(data, 0);
    file.close();
    return data;
  }

  #learn(name: string): void {
    const stat = this.#tree.stat(name.split("/"));
    const data = this.#read(name);
    if (stat === undefined || data === undefined) return;
    this.#known.set(name, { mtime: secondsOf(stat.mtimeNs), size: data.length, md5: md5Of(data) });
  }

  #load(): void {
    const data = this.#read(METADATA);
    for (const [name, known] of data === undefined ? [] : readList(data)) this.#known.set(name, known);
  }

  #save(): void {
    const lines = [...this.#known].map(
      ([name, { mtime, size, md5 }]) => `${name}\t${mtime}\t${size}\t${md5}\n`,
    );
    const file =
      this.#tree.stat([METADATA]) === undefined
        ? this.#tree.create([METADATA])
        : this.#tree.openToWrite([METADATA]);
    file.truncate(0);
    file.write(Buffer.from(lines.join("")), 0);
    file.close();
  }

  #sleep(ms: number): Promise<void> {
    const { clock } = this.#ports;
    return new Promise((resolve) => void clock.wake(clock.monotonicMs() + ms, resolve));
  }
}

function readList(data: Buffer): Map<string, Known> {
  const lines = data
    .toString()
    .split("\n")
    .filter((line) => line !== "");
  return new Map(
    lines.map((line) => {
      const [name = "", mtime, size, md5 = ""] = line.split("\t");
      return [name, { mtime: Number(mtime), size: Number(size), md5 }];
    }),
  );
}

function secondsOf(mtimeNs: bigint): number {
  return Number(mtimeNs / 1000n) / 1e6;
}

function md5Of(data: Uint8Array): string {
  return createHash("md5").update(data).digest("hex");
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function nameField(name: string): Buffer {
  const bytes = Buffer.from(name);
  return Buffer.concat([u16(bytes.length), bytes]);
}
