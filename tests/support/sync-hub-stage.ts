import { createHash } from "node:crypto";
import { SyncDecoder } from "../../src/wire/sync-decoder.ts";
import { chunkHeadBytes, encodeSyncMessage, writeChunkHead } from "../../src/wire/sync-encoder.ts";
import { NO_MD5 } from "../../src/wire/sync-messages.ts";
import type { Link } from "../../src/sync/ports.ts";
import type { HubEvent, HubSettings } from "../../src/sync/server/hub-settings.ts";
import { Hub } from "../../src/sync/server/hub.ts";
import { type SimulatedMachine, type SimulatedPorts, SimulatedWorld } from "./sync-ports.ts";

const HUB_ADDRESS = "10.0.0.1";
const SEND_PORT = 9201;
const RECEIVE_PORT = 9202;

const SETTINGS: HubSettings = {
  address: HUB_ADDRESS,
  sendPort: SEND_PORT,
  receivePort: RECEIVE_PORT,
  maxConnections: 100,
  maxPerAddress: 50,
  maxUploads: 8,
  maxUploadsInAll: 32,
  maxNames: 10_000,
  maxChunkBytes: 1024 * 1024,
  maxFileBytes: 2 ** 40,
  chunkBytes: 1024,
  leaseMs: 60_000,
  answerTimeoutMs: 30_000,
  keepAliveMs: 30_000,
  workers: 16,
  versions: { maxAgeMs: 30 * 86_400_000, maxCount: 10, maxBytes: 2 ** 40 },
  acceptsMissing: false,
};

export function md5(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("md5").update(data).digest());
}

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

/** A hub in a simulated world, and peers that do what a test says. */
export class HubStage {
  readonly world: SimulatedWorld;
  readonly machine: SimulatedMachine;
  readonly events: HubEvent[] = [];
  readonly warnings: string[] = [];
  readonly settings: HubSettings;
  ports!: SimulatedPorts;
  hub!: Hub;
  #peers = 0;

  constructor(seed = 1, settings: Partial<HubSettings> = {}) {
    this.world = new SimulatedWorld(seed);
    this.machine = this.world.machine(HUB_ADDRESS);
    this.settings = { ...SETTINGS, ...settings };
    this.start();
  }

  /** Starts the hub, again after a kill. */
  start(settings: Partial<HubSettings> = {}): void {
    this.ports = this.machine.boot();
    this.hub = new Hub(
      this.ports,
      { ...this.settings, ...settings },
      {
        event: (event) => this.events.push(event),
        info: () => {},
        warn: (message) => this.warnings.push(message),
      },
    );
    this.world.clock.settled(this.hub.recover());
    this.hub.listen();
  }

  /** Both connections of a client. @param address a new machine's if not given */
  client(address?: string): Peer {
    const from = address ?? `10.0.1.${++this.#peers}`;
    return new Peer(this, this.dial(from, "send"), this.dial(from, "receive"));
  }

  dial(from: string, channel: "send" | "receive"): Wire {
    const port = channel === "send" ? SEND_PORT : RECEIVE_PORT;
    const dialled = this.world.network
      .at(from)
      .dial({ host: HUB_ADDRESS, port }, 1_000, (link) => new Wire(this, link));
    return this.world.clock.settled(dialled);
  }

  until(isSo: () => boolean, what: string): void {
    this.world.clock.until(isSo, what);
  }

  /** The content of a file in the hub's folder; undefined if there is none. */
  content(name: string): string | undefined {
    const tree = this.machine.user();
    const path = name.split("/");
    if (tree.stat(path)?.kind !== "file") return undefined;
    const file = tree.open(path);
    const content = new Uint8Array(file.stat().sizeBytes);
    file.read(content, 0);
    file.close();
    return Buffer.from(content).toString();
  }

  /** Names in `.dray/staging`. */
  staged(): string[] {
    return this.machine
      .user()
      .list([".dray", "staging"])
      .map(({ name }) => name);
  }
}

export type Heard =
  | { type: "file"; name: string; content: string; md5: string }
  | { type: "delete" | "abort" | "request"; name: string };

/** One connection, seen from the peer. */
export class Wire {
  readonly link: Link;
  readonly codes: number[] = [];
  readonly heard: Heard[] = [];
  /** What the heads of the hub's chunks said, in order. */
  readonly chunkMd5s: { readonly name: string; readonly md5: Uint8Array }[] = [];
  /** Closed, and with which error. */
  end: { error: Error | undefined } | undefined;
  hasPeerEnded = false;
  /** What a chunk, Close or Delete of the hub is answered; by default with OK. Undefined: nothing. */
  answer: (about: { type: "chunk" | "close" | "delete"; name: string }) => number | undefined = () => 1;
  readonly #stage: HubStage;
  readonly #decoder = new SyncDecoder();
  readonly #parts = new Map<string, Uint8Array[]>();
  #chunk: { name: string; parts: Uint8Array[] } | undefined;

  constructor(stage: HubStage, link: Link) {
    this.#stage = stage;
    this.link = link;
    link.attach({
      data: (data) => this.#data(data),
      drained: () => {},
      ended: () => (this.hasPeerEnded = true),
      closed: (error) => (this.end = { error }),
    });
  }

  /** A chunk; its digest and size are right unless something else is said. */
  chunk(name: string, data: Uint8Array, wrong: { md5?: Uint8Array; sizeBytes?: number } = {}): void {
    const head = new Uint8Array(chunkHeadBytes(name));
    writeChunkHead(head, 0, name, wrong.md5 ?? md5(data), wrong.sizeBytes ?? data.length);
    this.link.write(head);
    this.link.write(data);
  }

  named(type: "close" | "abort" | "delete" | "request", name: string, digest: Uint8Array = NO_MD5): void {
    this.link.write(encodeSyncMessage({ type, name, md5: digest }));
  }

  status(code: number): void {
    this.link.write(encodeSyncMessage({ type: "status", code }));
  }

  /** Waits for so many statuses in all. */
  codesOf(count: number): number[] {
    this.#stage.until(() => this.codes.length >= count || this.end !== undefined, `${count} statuses`);
    return this.codes;
  }

  /** Sends a whole file and waits for the answers. @returns those */
  upload(name: string, content: string, chunkBytes = 1024): number[] {
    const data = bytes(content);
    const before = this.codes.length;
    let sent = 0;
    for (let from = 0; from === 0 || from < data.length; from += chunkBytes) {
      this.chunk(name, data.subarray(from, from + chunkBytes));
      this.codesOf(before + ++sent);
    }
    this.named("close", name, md5(data));
    this.codesOf(before + sent + 1);
    return this.codes.slice(before);
  }

  /** The next thing that the hub says, beyond what was heard before. */
  hears(count: number): Heard[] {
    this.#stage.until(() => this.heard.length >= count, `${count} updates`);
    return this.heard;
  }

  #data(data: Uint8Array): void {
    this.#decoder.push(data, (event) => {
      switch (event.type) {
        case "status":
          return void this.codes.push(event.code);
        case "chunkHead":
          this.#chunk = { name: event.name!, parts: [] };
          this.chunkMd5s.push({ name: event.name!, md5: event.md5.slice() });
          return;
        case "chunkData":
          return void this.#chunk!.parts.push(event.data.slice());
        case "chunkEnd": {
          const { name, parts } = this.#chunk!;
          const code = this.answer({ type: "chunk", name });
          if (code === 1 || code === undefined)
            this.#parts.set(name, [...(this.#parts.get(name) ?? []), ...parts]);
          if (code !== undefined) this.status(code);
          return;
        }
        case "close": {
          const name = event.name!;
          const content = Buffer.concat(this.#parts.get(name) ?? []).toString();
          this.#parts.delete(name);
          this.heard.push({ type: "file", name, content, md5: Buffer.from(event.md5).toString("hex") });
          return this.#reply({ type: "close", name });
        }
        case "abort":
          this.#parts.delete(event.name!);
          this.heard.push({ type: "abort", name: event.name! });
          return;
        case "delete":
          this.heard.push({ type: "delete", name: event.name! });
          return this.#reply({ type: "delete", name: event.name! });
        case "request":
          this.heard.push({ type: "request", name: event.name! });
      }
    });
  }

  #reply(about: { type: "close" | "delete"; name: string }): void {
    const code = this.answer(about);
    if (code !== undefined) this.status(code);
  }
}

/** Both connections of a client. `updates` is where the hub sends, `own` where it takes. */
export class Peer {
  readonly updates: Wire;
  readonly own: Wire;
  readonly #stage: HubStage;

  constructor(stage: HubStage, updates: Wire, own: Wire) {
    this.#stage = stage;
    this.updates = updates;
    this.own = own;
  }

  /** Waits for META-DATA. @returns its lines */
  metaData(): string[] {
    const isIt = (heard: Heard): boolean => heard.type === "file" && heard.name === "META-DATA";
    this.#stage.until(() => this.updates.heard.some(isIt), "META-DATA");
    const found = this.updates.heard.find(isIt) as Heard & { type: "file" };
    return found.content.split("\n").slice(0, -1);
  }

  /** What came after META-DATA. */
  get news(): Heard[] {
    return this.updates.heard.filter(({ name }) => name !== "META-DATA");
  }

  /** Waits for so much to come after META-DATA. */
  hears(count: number): Heard[] {
    this.#stage.until(() => this.news.length >= count, `${count} updates`);
    return this.news;
  }

  /** Shows that it is one of ours. */
  pair(token: string): void {
    for (const wire of [this.updates, this.own]) wire.named("request", `.dray/pair/${token}`);
    this.#stage.until(() => this.own.codes.length > 0 && this.updates.codes.length > 0, "the pairing");
  }

  leave(): void {
    this.updates.link.terminate();
    this.own.link.terminate();
  }
}
