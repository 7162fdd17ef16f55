import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type RunningServer, startContent } from "./content-server.ts";
import type { DrayEvent } from "./program.ts";
import { type Proxy, type ProxyOptions, startProxy } from "./proxy.ts";

/** One of several servers of a file, behind a proxy through which all of its bytes go. */
export interface StagedReplica {
  readonly server: RunningServer;
  readonly proxy: Proxy;
  readonly directory: string;
}

/** What the result of a fetch says of one server. */
export interface ReplicaOutcome {
  host: string;
  port: number;
  status: string;
  bytes: number;
  bytesWasted: number;
  error?: string;
  culprit?: string;
}

/** Content servers that all have a copy of one file, each behind a proxy. */
export class StagedReplicas implements AsyncDisposable {
  readonly all: StagedReplica[] = [];

  /**
   * @param original what the copies are made of, as `cp -p` does
   * @param faults of each replica's proxy, by its number
   */
  static async start(
    root: string,
    original: string,
    name: string,
    faults: readonly ProxyOptions["faults"][],
  ): Promise<StagedReplicas> {
    const staged = new StagedReplicas();
    try {
      for (const [index, fault] of faults.entries()) {
        const directory = join(root, `replica-${index}`);
        mkdirSync(directory, { recursive: true });
        cpSync(original, join(directory, name), { preserveTimestamps: true });
        const server = await startContent(directory);
        const target = { host: "127.0.0.1", port: server.port };
        const proxy = await startProxy({ target, ...(fault === undefined ? {} : { faults: fault }) });
        staged.all.push({ server, proxy, directory });
      }
      return staged;
    } catch (error) {
      await staged[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** For --from. */
  get list(): string {
    return this.all.map(({ proxy }) => `127.0.0.1:${proxy.port}`).join(",");
  }

  name(index: number): string {
    return `127.0.0.1:${this.all[index]!.proxy.port}`;
  }

  path(index: number, name: string): string {
    return join(this.all[index]!.directory, name);
  }

  /** What the result says of each, in their order. */
  outcomes(result: DrayEvent): (ReplicaOutcome | undefined)[] {
    const told = result["replicas"] as ReplicaOutcome[];
    return this.all.map(({ proxy }) => told.find(({ port }) => port === proxy.port));
  }

  /** Bytes that all of them have sent, the protocol's own included. */
  get sentBytes(): number {
    const connections = this.all.flatMap(({ proxy }) => proxy.connections);
    return connections.reduce((sum, { bytesToClient }) => sum + bytesToClient, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { proxy, server } of this.all) {
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    }
  }
}
