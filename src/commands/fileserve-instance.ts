import * as fs from "node:fs";
import * as path from "node:path";
import { withContext } from "../errors/dray-error.ts";
import type { EvictionQueue } from "../fileserve/cache-policy.ts";
import { type CacheStatistics, FileCache } from "../fileserve/file-cache.ts";
import { hidesState } from "../disk/own-state.ts";
import { fileService } from "../fileserve/file-service.ts";
import { LruQueue } from "../fileserve/lru-queue.ts";
import { S3FifoQueue } from "../fileserve/s3-fifo-queue.ts";
import { Writes } from "../fileserve/writes.ts";
import { type FileserveOptions, PORT_PLACEHOLDER } from "../options/fileserve-options.ts";
import { Server, type ServerSettings } from "../transfer/server.ts";
import type { Services } from "../transfer/session.ts";
import type { CommandIo } from "./command.ts";
import { openServedRoot } from "./served-root.ts";
import { AGENT } from "./version.ts";

const QUEUES: Record<FileserveOptions["cachePolicy"], (limitBytes: number) => EvictionQueue> = {
  "s3-fifo": (limitBytes) => new S3FifoQueue(limitBytes),
  lru: () => new LruQueue(),
};

/** One of the servers of a `fileserve`. */
export class FileserveInstance {
  readonly server: Server;
  readonly directory: string;
  readonly #cache: FileCache;
  readonly #writes: Writes | undefined;

  /**
   * Listens from here on.
   * @throws DrayError when the port is taken, or the directory cannot be served
   */
  constructor(options: FileserveOptions, settings: ServerSettings, cacheBytes: number, io: CommandIo) {
    // The directory may be named after a port that is only known now. No client comes in before this has ended.
    const services: Services = { capabilities: 0, agent: AGENT, respond: () => undefined };
    const openLater = options.directory.includes(PORT_PLACEHOLDER);
    const listening = openLater ? new Server(settings, services, io.log) : undefined;
    this.directory = path.resolve(
      openLater ? ownDirectory(options.directory, listening!.port) : options.directory,
    );
    const root = openServedRoot(this.directory, options.instances === 1);
    this.#cache = new FileCache(root, cacheBytes, QUEUES[options.cachePolicy](cacheBytes));
    this.#writes = openWrites(options, this.directory, io);
    Object.assign(
      services,
      fileService({ root, cache: this.#cache, hides: hidesState }, AGENT, this.#writes),
    );
    this.server = listening ?? new Server(settings, services, io.log);
  }

  get statistics(): CacheStatistics {
    return this.#cache.statistics;
  }

  /** To be called when the server has stopped; resolves when all that was under way is on the disk. */
  async close(): Promise<void> {
    await this.#writes?.stop();
  }
}

function ownDirectory(template: string, port: number): string {
  const directory = template.replaceAll(PORT_PLACEHOLDER, String(port));
  try {
    fs.mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw withContext(`Cannot make ${directory}`, error);
  }
  return directory;
}

function openWrites(options: FileserveOptions, directory: string, io: CommandIo): Writes | undefined {
  const { writable, keepTrashMs, maxFile, maxTotal } = options;
  if (!writable) return undefined;
  const limits = { maxFileBytes: maxFile, maxTotalBytes: maxTotal };
  return new Writes({ directory, keepTrashMs, ...limits }, io.log);
}
