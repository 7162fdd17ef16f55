import * as fs from "node:fs";
import * as path from "node:path";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { FileRead } from "../../src/disk/file-read.ts";
import { type WriteSettings, Writes } from "../../src/fileserve/writes.ts";
import { Client } from "../../src/transfer/client.ts";
import { contentService } from "../../src/transfer/content-service.ts";
import { Server } from "../../src/transfer/server.ts";
import type { PutRequest } from "../../src/transfer/upload-sender.ts";
import { CAPABILITY, MAX_EAGER_BYTES } from "../../src/wire/messages.ts";
import { tempFolder, type TempFolder } from "./temp.ts";

export interface PutOptions extends Partial<Pick<PutRequest, "eager" | "digest" | "mode">> {
  /** Seconds since 1970. */
  mtime?: number;
  sent?: (bytes: number) => void;
}

/** A server in this process that clients may write to. What client is who is said when it connects. */
export class WritesStage implements AsyncDisposable {
  readonly folder: TempFolder = tempFolder();
  readonly served: string;
  readonly messages: string[] = [];
  writes!: Writes;
  server!: Server;
  #owners: (string | undefined)[] = [];
  #clients: Client[] = [];
  #root!: ContainedRoot;
  #locals = 0;

  constructor(settings: Partial<WriteSettings> = {}) {
    this.served = this.folder.join("served");
    fs.mkdirSync(this.served);
    this.open(settings);
  }

  open(settings: Partial<WriteSettings> = {}): void {
    const log = (message: string): void => void this.messages.push(message);
    this.#root = new ContainedRoot(this.served);
    const content = contentService(this.#root, "test");
    this.writes = new Writes(
      {
        directory: this.served,
        maxFileBytes: undefined,
        maxTotalBytes: undefined,
        keepTrashMs: 86_400_000,
        ...settings,
      },
      { info: log, warn: log, error: log },
    );
    const names = new Map<object, string | undefined>();
    this.server = new Server(
      { address: "127.0.0.1", port: 0, maxConnections: 100 },
      {
        capabilities: CAPABILITY.content | CAPABILITY.writes,
        agent: "test",
        respond: (request, requestId, wake, client) => {
          if (!names.has(client)) names.set(client, this.#owners.shift());
          const who = { ...client, name: names.get(client) };
          return (
            this.writes.respond(request, requestId, wake, who) ??
            content.respond(request, requestId, wake, who)
          );
        },
      },
      { debug: () => {}, warn: log },
    );
  }

  /** A connection whose client has the token of `owner`. One after the other: the next request tells whose it is. */
  async client(owner?: string): Promise<Client> {
    const { address: host, port } = this.server;
    const client = await Client.connect({ host, port }, { agent: "test", timeoutMs: 5_000 });
    this.#owners.push(owner);
    // The identity sticks with the first request.
    await client.list("no such thing", 1, () => {}).catch(() => {});
    this.#clients.push(client);
    return client;
  }

  /** A local file with these contents. */
  local(contents: string | Uint8Array, mtime = 1_500_000_000): string {
    const local = this.folder.join(`local-${this.#locals++}`);
    fs.writeFileSync(local, contents);
    fs.utimesSync(local, mtime, mtime);
    return local;
  }

  /** Puts contents under a name. @returns how many bytes the server had already */
  async put(
    client: Client,
    name: string,
    contents: string | Uint8Array,
    options: PutOptions = {},
  ): Promise<number> {
    const { mtime = 1_500_000_000, sent = () => {}, eager, digest = "xxh3", mode = 0o644 } = options;
    const local = this.local(contents, mtime);
    const root = new ContainedRoot(path.dirname(local));
    using directory = root.hold([]);
    const file = new FileRead(directory, path.basename(local));
    const { sizeBytes: size, mtimeUs } = file.facts;
    const isEager = eager ?? size <= MAX_EAGER_BYTES;
    try {
      return await client.put({ path: name, size, mtimeUs, mode, digest, eager: isEager }, file, sent);
    } finally {
      file.close();
      root.close();
    }
  }

  read(name: string): string {
    return fs.readFileSync(path.join(this.served, name), "utf8");
  }

  /** Everything served, without the server's own state. */
  names(): string[] {
    return namesOf(this.served).filter((name) => !name.startsWith(".dray"));
  }

  trash(): string[] {
    const trash = path.join(this.served, ".dray/trash");
    return fs.existsSync(trash) ? namesOf(trash).map((name) => name.replace(/^[^/]*\//, "")) : [];
  }

  parts(): string[] {
    return fs.readdirSync(path.join(this.served, ".dray/uploads")).filter((name) => name !== "boot");
  }

  async close(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    await this.server.stop();
    await this.writes.stop();
    this.#root.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    this.folder[Symbol.dispose]();
  }
}

function namesOf(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .sort();
}
