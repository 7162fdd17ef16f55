import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import { type LocalFile, LocalOpener, type Named, localItems } from "./local-files.ts";
import { ServerPut, type ServerPutSettings } from "./server-put.ts";

export interface PutSettings extends ServerPutSettings {
  named: readonly Named[];
  recursive: boolean;
  targets: readonly DialTarget[];
}

/** What became of one server. Counts grow while it runs. */
export interface ServerOutcome {
  target: DialTarget;
  /** Files that are there, durable. */
  files: number;
  bytes: number;
  /** File bytes that crossed the network, those of failed attempts included. */
  bytesTransferred: number;
  /** File bytes that the server had already. */
  bytesResumed: number;
  failed: number;
  isOver: boolean;
  /** Why it was given up, if it was. */
  error: DrayError | undefined;
}

/** What there is to put. */
export interface LocalTotals {
  files: number;
  bytes: number;
  skipped: number;
  failed: number;
}

export interface PutEvents {
  /** A local file that cannot be put anywhere, or is left out. */
  localFailed(localPath: string, error: DrayError): void;
  localSkipped(localPath: string, reason: string): void;
  /** All has been looked at: from now on the totals are known. */
  counted(totals: LocalTotals): void;
  done(server: ServerOutcome, file: LocalFile, resumedBytes: number): void;
  failed(server: ServerOutcome, file: LocalFile, error: DrayError): void;
  retrying(server: ServerOutcome, file: LocalFile, error: DrayError, failures: number): void;
  serverOver(server: ServerOutcome): void;
  /** Resolves when whoever is told has room for more. */
  room(): Promise<void>;
}

/** Items of the local tree after which other work gets its turn. */
const TURN_ITEMS = 500;

/** Puts local files on servers. What has happened is in its outcomes at any time. */
export class PutRun {
  readonly totals: LocalTotals = { files: 0, bytes: 0, skipped: 0, failed: 0 };
  readonly servers: readonly ServerOutcome[];
  readonly #settings: PutSettings;
  readonly #events: PutEvents;

  constructor(settings: PutSettings, events: PutEvents) {
    this.#settings = settings;
    this.#events = events;
    this.servers = settings.targets.map((target) => ({
      target,
      files: 0,
      bytes: 0,
      bytesTransferred: 0,
      bytesResumed: 0,
      failed: 0,
      isOver: false,
      error: undefined,
    }));
  }

  /** Resolves when there is nothing left to do. @throws the signal's reason */
  async run(): Promise<void> {
    const { signal } = this.#settings;
    await this.#count();
    const opener = new LocalOpener();
    try {
      await Promise.all(this.servers.map((server) => this.#putOn(server, opener)));
    } finally {
      opener.close();
    }
    signal.throwIfAborted();
  }

  /** Looks at everything once, so that progress has an end, and nothing is reported for each server. */
  async #count(): Promise<void> {
    const { named, recursive, signal } = this.#settings;
    let turnItems = 0;
    for (const item of localItems(named, recursive)) {
      if (item.kind === "file") {
        this.totals.files++;
        this.totals.bytes += item.file.sizeBytes;
      } else if (item.kind === "skipped") {
        this.totals.skipped++;
        this.#events.localSkipped(item.localPath, item.reason);
      } else {
        this.totals.failed++;
        this.#events.localFailed(item.localPath, item.error);
      }
      if (++turnItems % TURN_ITEMS !== 0) continue;
      await this.#events.room();
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    this.#events.counted(this.totals);
  }

  async #putOn(server: ServerOutcome, opener: LocalOpener): Promise<void> {
    if (this.totals.files > 0) {
      const put = new ServerPut(server.target, this.#files(), opener, this.#settings, {
        sent: (bytes) => {
          server.bytesTransferred += bytes;
        },
        done: (file, { sizeBytes, resumedBytes }) => {
          server.files++;
          server.bytes += sizeBytes;
          server.bytesResumed += resumedBytes;
          this.#events.done(server, file, resumedBytes);
        },
        failed: (file, error) => {
          server.failed++;
          this.#events.failed(server, file, error);
        },
        retrying: (file, error, failures) => this.#events.retrying(server, file, error, failures),
        room: () => this.#events.room(),
      });
      const error = await put.run();
      if (this.#settings.signal.aborted) return;
      if (error !== undefined) server.error = asDrayError(error);
    }
    server.isOver = true;
    this.#events.serverOver(server);
  }

  *#files(): Generator<LocalFile, undefined> {
    const { named, recursive } = this.#settings;
    for (const item of localItems(named, recursive)) if (item.kind === "file") yield item.file;
  }
}
