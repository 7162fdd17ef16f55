import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { contentService } from "../../src/transfer/content-service.ts";
import { Server, type ServerSettings } from "../../src/transfer/server.ts";
import type { Services } from "../../src/transfer/session.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { naiveMessage } from "./naive-codec.ts";
import { type RawPeer, rawClient } from "./raw-peer.ts";

/** Numbers of the messages that a server sends. */
export const SENT = {
  welcome: 2,
  error: 3,
  pong: 5,
  entries: 18,
  listed: 19,
  file: 21,
  data: 22,
  end: 23,
} as const;

export const HELLO = helloWith("");

export function helloWith(token: string): Buffer {
  const versions = { versionMin: 1, versionMax: 1, capabilities: 0 };
  return naiveMessage({ type: "hello", ...versions, token: Buffer.from(token), agent: "test/1" }, 0);
}

export const PING = naiveMessage({ type: "ping" }, 0);

export function list(id: number, credit = 100, path = "."): Buffer {
  return naiveMessage({ type: "list", credit, path }, id);
}

export function more(id: number, credit: number): Buffer {
  return naiveMessage({ type: "more", credit }, id);
}

export function fetch(id: number, path: string, delayMs = 0): Buffer {
  const length = Number.MAX_SAFE_INTEGER;
  return naiveMessage({ type: "fetch", offset: 0, length, delayMs, digest: "xxh3", path }, id);
}

export function typesOf(peer: RawPeer): number[] {
  return peer.frames.map(({ type }) => type);
}

export function idsOf(peer: RawPeer): number[] {
  return peer.frames.map(({ requestId }) => requestId);
}

export async function gotType(peer: RawPeer, type: number, count = 1, timeoutMs = 20_000): Promise<void> {
  const isThere = (): true | undefined =>
    typesOf(peer).filter((one) => one === type).length >= count ? true : undefined;
  await peer.until(isThere, `${count} of type ${type}`, timeoutMs);
}

/** All types but PONG that came before the answer to a PING: what is not there then, the server did not send. */
export async function settled(peer: RawPeer): Promise<number[]> {
  const pongs = typesOf(peer).filter((type) => type === SENT.pong).length;
  peer.send(PING);
  await gotType(peer, SENT.pong, pongs + 1);
  return typesOf(peer).filter((type) => type !== SENT.pong);
}

/** Settings of the server that differ, and what it serves. */
export type StageOptions = Partial<ServerSettings> & { services?: Services };

/** A content server in this process over a folder with docs/a, docs/b and docs/c, and raw clients for it. */
export class ContentStage implements AsyncDisposable {
  readonly folder: TempFolder = tempFolder();
  readonly root: ContainedRoot;
  /** What the server has logged. */
  readonly warnings: string[] = [];
  readonly debugs: string[] = [];
  readonly #peers: RawPeer[] = [];
  server: Server;

  constructor() {
    fs.mkdirSync(this.folder.join("docs"));
    for (const name of ["a", "b", "c"]) fs.writeFileSync(this.folder.join("docs", name), name.repeat(100));
    this.root = new ContainedRoot(this.folder.path);
    this.server = this.#serve({});
  }

  /** The same port is not promised. */
  async restart(options: StageOptions): Promise<void> {
    await this.server.stop();
    this.server = this.#serve(options);
  }

  async connect(...parts: Uint8Array[]): Promise<RawPeer> {
    const peer = await rawClient(this.server.port);
    this.#peers.push(peer);
    peer.send(...parts);
    return peer;
  }

  /** Connected, and WELCOME is there. */
  async welcomed(): Promise<RawPeer> {
    const peer = await this.connect(HELLO);
    await peer.gotFrames(1);
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) peer.terminate();
    await this.server.stop();
    this.root.close();
    this.folder[Symbol.dispose]();
  }

  #serve({ services = contentService(this.root, "server/1"), ...settings }: StageOptions): Server {
    const log = {
      debug: (message: string) => void this.debugs.push(message),
      warn: (message: string) => void this.warnings.push(message),
    };
    return new Server({ address: "127.0.0.1", port: 0, maxConnections: 100, ...settings }, services, log);
  }
}
