import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { LiteralSyncClient, type LiteralClientOptions } from "./literal-sync-client.ts";
import { LiteralSyncServer, type LiteralServerOptions } from "./literal-sync-server.ts";
import { LiteralWire } from "./literal-sync-wire.ts";
import { startDray } from "./process.ts";
import type { Program } from "./program.ts";
import { tempFolder, type TempFolder } from "./temp.ts";

/** The compiled `dray sync-server` over a new folder, for literal clients. */
export class SyncServerStage implements AsyncDisposable {
  readonly program: Program;
  readonly sendPort: number;
  readonly receivePort: number;
  private readonly folder: TempFolder;
  private readonly opened: AsyncDisposable[] = [];

  private constructor(folder: TempFolder, program: Program, ports: { send: number; receive: number }) {
    this.folder = folder;
    this.program = program;
    this.sendPort = ports.send;
    this.receivePort = ports.receive;
  }

  /** @param prepare puts files into the server's folder before it starts */
  static async start(flags: string[] = [], prepare?: (path: string) => void): Promise<SyncServerStage> {
    const folder = tempFolder();
    mkdirSync(folder.join("server"));
    prepare?.(folder.join("server"));
    const program = startDray(["sync-server", "0", "0", "--dir", folder.join("server"), "--json", ...flags]);
    const portOf = async (channel: string): Promise<number> => {
      const isIt = (event: Record<string, unknown>): boolean =>
        event["type"] === "listening" && event["channel"] === channel;
      return Number((await program.waitFor(isIt, { what: `its ${channel} port` }))["port"]);
    };
    return new SyncServerStage(folder, program, {
      send: await portOf("send"),
      receive: await portOf("receive"),
    });
  }

  /** A literal client with a folder of its own; the same name means the same folder. */
  async client(name: string, options: Partial<LiteralClientOptions> = {}): Promise<LiteralSyncClient> {
    const folder = this.path(name);
    mkdirSync(folder, { recursive: true });
    const client = await LiteralSyncClient.start({
      sendPort: this.receivePort,
      receivePort: this.sendPort,
      folder,
      ...options,
    });
    this.opened.push(client);
    return client;
  }

  /** A connection to the receive port, and nothing else. */
  async wire(port = this.receivePort): Promise<LiteralWire> {
    const wire = await LiteralWire.dial("127.0.0.1", port);
    this.opened.push({ [Symbol.asyncDispose]: async () => await Promise.resolve(wire.close()) });
    return wire;
  }

  /** Of a client's folder, or below the server's: `path("server", "a.txt")`. */
  path(...parts: string[]): string {
    return this.folder.join(...parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.opened) await one[Symbol.asyncDispose]();
    await this.program[Symbol.asyncDispose]();
    this.folder[Symbol.dispose]();
  }
}

/** The compiled `dray sync-client` with a literal server, each over a new folder. */
export class SyncClientStage implements AsyncDisposable {
  readonly server: LiteralSyncServer;
  readonly program: Program;
  private readonly temp: TempFolder;

  private constructor(temp: TempFolder, server: LiteralSyncServer, program: Program) {
    this.temp = temp;
    this.server = server;
    this.program = program;
  }

  /** @param prepare puts files into both folders before anything starts */
  static async start(
    options: Partial<LiteralServerOptions> & {
      flags?: string[];
      clientChunk?: string;
      isSwapped?: boolean;
    } = {},
    prepare?: (serverPath: string, clientPath: string) => void,
  ): Promise<SyncClientStage> {
    const temp = tempFolder();
    for (const name of ["server", "client"]) mkdirSync(temp.join(name));
    prepare?.(temp.join("server"), temp.join("client"));
    const { flags = [], clientChunk = "4096", isSwapped = false, ...manners } = options;
    const server = await LiteralSyncServer.start({ folder: temp.join("server"), ...manners });
    const ports = [server.receivePort, server.sendPort].map(String);
    if (isSwapped) ports.reverse();
    const args = ["sync-client", "127.0.0.1", ...ports, temp.join("client"), clientChunk, "--json", ...flags];
    return new SyncClientStage(temp, server, startDray(args));
  }

  /** In the client's folder. */
  path(...parts: string[]): string {
    return this.temp.join("client", ...parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    this.temp[Symbol.dispose]();
  }
}

/** The names of all files below a folder, without what dray keeps for itself. */
export function userFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((name) => !name.startsWith(".dray") && name !== "META-DATA")
    .sort();
}
