import type { CacheStatistics } from "../../src/fileserve/file-cache.ts";
import type { FileReceiver } from "../../src/transfer/fetch-reply.ts";
import { Client } from "../../src/transfer/client.ts";
import { TO_END } from "../../src/wire/messages.ts";
import { startDray } from "./process.ts";
import type { Program } from "./program.ts";

/** A running `dray fileserve`, and clients for it. */
export class FileServer implements AsyncDisposable {
  readonly program: Program;
  readonly port: number;
  readonly #clients: Client[] = [];

  private constructor(program: Program, port: number) {
    this.program = program;
    this.port = port;
  }

  static async start(directory: string, flags: string[] = []): Promise<FileServer> {
    const program = startDray(["fileserve", "127.0.0.1", "0", directory, "--json", ...flags]);
    const { port } = await program.listening();
    return new FileServer(program, port);
  }

  async connect(): Promise<Client> {
    const target = { host: "127.0.0.1", port: this.port };
    const client = await Client.connect(target, { agent: "test/1", timeoutMs: 20_000 });
    this.#clients.push(client);
    return client;
  }

  /** What the cache did so far. */
  async statistics(): Promise<CacheStatistics> {
    const isOne = ({ type }: { type: string }): boolean => type === "statistics";
    const told = this.program.events.filter(isOne).length;
    this.program.kill("SIGUSR1");
    await this.program.waitFor(() => this.program.events.filter(isOne).length > told, { what: "statistics" });
    return this.program.events.findLast(isOne) as unknown as CacheStatistics;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.program[Symbol.asyncDispose]();
  }
}

/** Fetches a file, every piece of which goes to `piece` with its position; gives the digest chain, in hex. */
export async function fetchPieces(
  client: Client,
  path: string,
  piece: (bytes: Uint8Array, offset: number) => void,
): Promise<string> {
  let position = 0;
  let chain = "";
  const receiver: FileReceiver = {
    head: () => {},
    piece: (bytes) => {
      piece(bytes, position);
      position += bytes.length;
    },
    complete: (value) => (chain = Buffer.from(value).toString("hex")),
  };
  await client.fetch({ path, offset: 0, length: TO_END, delayMs: 0, digest: "xxh3" }, receiver);
  return chain;
}

/** The whole file. */
export async function fetchBytes(client: Client, path: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  await fetchPieces(client, path, (bytes) => void pieces.push(Buffer.from(bytes)));
  return Buffer.concat(pieces);
}
