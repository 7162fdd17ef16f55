import { type DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { partPath } from "../wire/split-names.ts";
import { type CheckedContent, checkCopy } from "./copy-check.ts";
import type { LocalFile } from "./local-files.ts";
import { asLocalFile, partIndexOf } from "./part-source.ts";
import type { PartServer } from "./part-server.ts";
import type { Copy, Placement } from "./placement.ts";
import type { FileOpener } from "./put-task.ts";
import { ServerPut, type ServerPutSettings } from "./server-put.ts";

export interface CopyEvents {
  /** A copy is there, and is what it shall be. */
  placed(server: PartServer, file: LocalFile, resumedBytes: number): void;
  /** A server does not take a copy. */
  refused(server: PartServer, file: LocalFile, error: DrayError): void;
  retrying(server: PartServer, file: LocalFile, error: DrayError, failures: number): void;
  /** A copy that was there already was not what it shall be, and was removed. */
  rotten(server: PartServer, path: string): void;
  /** A server was given up; `error` says why. */
  lost(server: PartServer): void;
  /** Resolves when whoever is told has room for more. */
  room(): Promise<void>;
}

export interface CopyRoundsSettings {
  /** Of the split file, on the servers. */
  name: string;
  /** For messages. */
  localPath: string;
  content: CheckedContent;
  servers: readonly PartServer[];
  opener: FileOpener;
  put: ServerPutSettings;
}

/** Brings copies to their servers, and tells the placement what became of each. */
export class CopyRounds {
  readonly #settings: CopyRoundsSettings;
  readonly #placement: Placement;
  readonly #events: CopyEvents;
  /** Copies that were found rotten once: a server that makes the same mistake again is not asked a third time. */
  readonly #removed = new Set<string>();

  constructor(settings: CopyRoundsSettings, placement: Placement, events: CopyEvents) {
    this.#settings = settings;
    this.#placement = placement;
    this.#events = events;
  }

  /**
   * Makes some of the copies that are missing. What fails is for the next round, on other servers.
   * @throws DrayError "changed" when the local file is not what it was, the signal's reason
   */
  async round(copies: readonly Copy[]): Promise<void> {
    const { servers, put } = this.#settings;
    const byServer = Map.groupBy(copies, ({ server }) => server);
    const stop = new AbortController();
    const signal = AbortSignal.any([put.signal, stop.signal]);
    await Promise.all(
      [...byServer].map(([server, mine]) =>
        this.#serve(servers[server]!, server, mine, { ...put, signal }, (error) => stop.abort(error)),
      ),
    );
    signal.throwIfAborted();
  }

  async #serve(
    server: PartServer,
    index: number,
    copies: readonly Copy[],
    put: ServerPutSettings,
    stop: (error: DrayError) => void,
  ): Promise<void> {
    const { name, localPath, content, opener } = this.#settings;
    const files = copies.map(({ part }) =>
      asLocalFile(localPath, partPath(name, content, part), part, content.parts[part]!.sizeBytes),
    );
    // Another file may have found out.
    if (server.isLost) return this.#lost(server, index, files);
    server.wantedFiles += files.length;
    server.wantedBytes += files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const doubtful: { file: LocalFile; resumedBytes: number }[] = [];
    const connections = Math.min(put.connections, files.length);
    const run = new ServerPut(
      server.target,
      files.values(),
      opener,
      { ...put, connections },
      {
        sent: (bytes) => {
          server.bytesTransferred += bytes;
        },
        done: (file, { resumedBytes }) => {
          // What came in full was verified by the server; what it had from before may be anything.
          if (resumedBytes > 0) doubtful.push({ file, resumedBytes });
          else this.#landed(server, index, file, 0);
        },
        failed: (file, error) => {
          if (error.code === "changed") stop(error);
          else this.#refused(server, index, file, error);
        },
        retrying: (file, error, failures) => this.#events.retrying(server, file, error, failures),
        room: () => this.#events.room(),
      },
    );
    const error = await run.run();
    if (put.signal.aborted) return;
    if (error !== undefined) server.giveUp(error);
    for (const { file, resumedBytes } of doubtful) {
      if (server.isLost) break;
      await this.#check(server, index, file, resumedBytes);
    }
    if (server.isLost) this.#lost(server, index, files);
  }

  async #check(server: PartServer, index: number, file: LocalFile, resumedBytes: number): Promise<void> {
    const { name, content } = this.#settings;
    try {
      const part = partIndexOf(file);
      const state = await server.ask((client) => checkCopy(client, name, content, part));
      if (state === "good") return this.#landed(server, index, file, resumedBytes);
      if (this.#removed.has(`${index}/${part}`)) {
        const why = new Error("it comes out wrong though it was sent again");
        return this.#refused(server, index, file, withContext("the copy is damaged", why));
      }
      this.#removed.add(`${index}/${part}`);
      this.#events.rotten(server, file.path);
      await server.askFor((client) => client.remove(file.path));
      // It is missing again: the next round brings it.
      server.wantedFiles--;
      server.wantedBytes -= file.sizeBytes;
    } catch (error) {
      this.#settings.put.signal.throwIfAborted();
      if (!server.isLost) this.#refused(server, index, file, asDrayError(error));
    }
  }

  #landed(server: PartServer, index: number, file: LocalFile, resumedBytes: number): void {
    server.files++;
    server.bytes += file.sizeBytes;
    server.bytesResumed += resumedBytes;
    this.#placement.landed({ part: partIndexOf(file), server: index });
    this.#events.placed(server, file, resumedBytes);
  }

  #refused(server: PartServer, index: number, file: LocalFile, error: DrayError): void {
    server.failed++;
    this.#placement.refused({ part: partIndexOf(file), server: index });
    this.#events.refused(server, file, error);
  }

  #lost(server: PartServer, index: number, files: readonly LocalFile[]): void {
    server.failed += files.filter(
      (file) => !this.#placement.has({ part: partIndexOf(file), server: index }),
    ).length;
    this.#placement.lost(index);
    this.#events.lost(server);
  }
}
