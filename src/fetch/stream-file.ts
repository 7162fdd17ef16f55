import { DrayError } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import type { FileHead, FileReceiver } from "../transfer/fetch-reply.ts";
import { FinalError, type FetchCounters, unexpectedSum } from "./fetch-setting.ts";
import { askFacts } from "./file-transfer.ts";
import type { RemoteFacts } from "./final-file.ts";
import type { OrderedOutput } from "./ordered-output.ts";
import { type Persistence, type Remote, persist } from "./remote.ts";

/** What is asked for at a time: a reader that is slow keeps at most a few of these in our memory. */
const RANGE_BYTES = 4 * 1024 * 1024;
const MAX_RANGES = 2;
const MAX_WAITING_BYTES = RANGE_BYTES;

export interface StreamedFile {
  sizeBytes: number;
  sha256: string | undefined;
}

/**
 * Fetches one file into a stream, each byte once, in order, and verified before it is written. What has been
 * written cannot be taken back: a file that changes meanwhile is an error.
 * @param sized told of its size when that is known
 * @throws DrayError
 */
export async function streamFile(
  remote: Remote,
  path: string,
  wanted: { expected: string | undefined; withSum: boolean },
  output: OrderedOutput,
  counters: FetchCounters,
  persistence: Persistence,
  sized: (sizeBytes: number) => void,
): Promise<StreamedFile> {
  const withSum = wanted.withSum || wanted.expected !== undefined;
  const stream = new FileStream(path, output, counters, withSum ? new Bun.CryptoHasher("sha256") : undefined);
  const sizeBytes = await persist(remote, persistence, (client, progressed) =>
    stream.attempt(client, progressed, sized),
  );
  const sha256 = stream.hasher?.digest("hex");
  if (wanted.expected !== undefined && sha256 !== wanted.expected)
    throw unexpectedSum(wanted.expected, sha256, "what was written is not to be used");
  return { sizeBytes, sha256 };
}

class FileStream {
  readonly hasher: Bun.CryptoHasher | undefined;
  readonly #path: string;
  readonly #output: OrderedOutput;
  readonly #counters: FetchCounters;
  #version: RemoteFacts | undefined;
  #receivedBytes = 0;

  constructor(
    path: string,
    output: OrderedOutput,
    counters: FetchCounters,
    hasher: Bun.CryptoHasher | undefined,
  ) {
    this.#path = path;
    this.#output = output;
    this.#counters = counters;
    this.hasher = hasher;
  }

  /** @returns the size, when all of it was written */
  async attempt(client: Client, progressed: () => void, sized: (sizeBytes: number) => void): Promise<number> {
    const facts = await askFacts(client, this.#path);
    if (this.#receivedBytes === 0) this.#version = undefined;
    this.#check(facts);
    this.#version = facts;
    sized(facts.sizeBytes);
    const underWay: Promise<void>[] = [];
    try {
      for (let offset = this.#receivedBytes; offset < facts.sizeBytes; offset += RANGE_BYTES) {
        if (underWay.length >= MAX_RANGES) await underWay.shift();
        await this.#output.room(MAX_WAITING_BYTES);
        const length = Math.min(RANGE_BYTES, facts.sizeBytes - offset);
        const asked = client.fetch(
          { path: this.#path, offset, length, delayMs: 0, digest: "xxh3" },
          this.#receiver(offset, progressed),
        );
        asked.catch(() => {}); // thrown below, or behind the one that is thrown
        underWay.push(asked);
      }
      for (const asked of underWay) await asked;
    } catch (error) {
      // What is still on its way would come behind a hole.
      client.close(new DrayError("closed", "the connection was given up with a file under way"));
      throw error;
    }
    await this.#output.room(0);
    return facts.sizeBytes;
  }

  #receiver(offset: number, progressed: () => void): FileReceiver {
    let position = offset;
    return {
      head: (head: FileHead) => this.#check(head),
      piece: (bytes) => {
        this.#counters.transferredBytes += bytes.length;
        if (position !== this.#receivedBytes)
          throw new DrayError("closed", "what was asked for before it failed");
        this.#output.write(bytes.slice());
        this.hasher?.update(bytes);
        position += bytes.length;
        this.#receivedBytes = position;
        this.#counters.doneBytes = position;
        progressed();
      },
      complete: () => {},
    };
  }

  #check({ sizeBytes, mtimeUs }: RemoteFacts | FileHead): void {
    const version = this.#version;
    if (version === undefined || (version.sizeBytes === sizeBytes && version.mtimeUs === mtimeUs)) return;
    if (this.#receivedBytes === 0) throw new DrayError("changed", "the file changed while it was being sent");
    throw new FinalError(
      "changed",
      `the file changed at the server after ${this.#receivedBytes} bytes of it were written`,
    );
  }
}
