import * as fs from "node:fs";
import * as path from "node:path";
import { ContainedRoot } from "../disk/contained-root.ts";
import { syncFileSystem } from "../disk/file-system-sync.ts";
import { hidesState } from "../disk/own-state.ts";
import { sweepTempFiles } from "../disk/temp-sweep.ts";
import { STATE_DIRECTORY, sweepTrash } from "../disk/trash.ts";
import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { contentService } from "../transfer/content-service.ts";
import type { ClientSecurity } from "../transfer/security.ts";
import type { Services } from "../transfer/session.ts";
import { Server, type ServerSettings } from "../transfer/server.ts";
import { CAPABILITY } from "../wire/messages.ts";
import { quoteName } from "../wire/names.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { Durability, LaneSettings } from "./job.ts";
import type { Journal } from "./journal.ts";
import { LanePool } from "./lane-pool.ts";
import { type MirrorLog, OrderDesk } from "./order-desk.ts";
import { StateDirectory } from "./state-directory.ts";
import { BatchSyncer } from "./syncer.ts";

const DAY_MS = 86_400_000;

export interface MirrorSettings extends ServerSettings {
  mirrorDirectory: string;
  workers: number;
  threads: number;
  /** The entry of a pool thread. */
  threadUrl: string;
  queueSize: number;
  /** What all sources together may send at most; undefined for no limit. */
  bytesPerSecond?: number | undefined;
  durability: Durability;
  verifyWritten: boolean;
  digest: LaneSettings["digest"];
  /** Serves the mirror's own tree on this port as a content server does; undefined: not at all. */
  exportPort: number | undefined;
  /** How long deleted files stay in the trash. */
  keepTrashMs: number;
  /** Program and version. */
  agent: string;
  /** How we prove to sources who we are; if not given, no token and plain TCP. */
  sourceSecurity?: ClientSecurity | undefined;
}

/**
 * The mirror server of seed 000: takes orders, lists their sources, and has its workers fetch the
 * files. This is where its parts come together.
 */
export class MirrorDaemon {
  readonly #settings: MirrorSettings;
  readonly #log: MirrorLog;
  readonly #state: StateDirectory;
  readonly #journal: Journal;
  readonly #syncer: BatchSyncer | undefined;
  readonly #isStrict: boolean;
  readonly #dispatcher: Dispatcher;
  readonly #desk: OrderDesk;
  #pool: LanePool | undefined;
  #server: Server | undefined;
  #exportServer: Server | undefined;
  #idle: (() => void) | undefined;
  #trashTimer: Timer | undefined;

  /**
   * Takes the directory, starts the threads, goes on with unfinished orders, and listens.
   * @param broken told when a worker thread failed: the daemon cannot go on
   * @throws DrayError
   */
  static async start(
    settings: MirrorSettings,
    log: MirrorLog,
    broken: (error: DrayError) => void,
  ): Promise<MirrorDaemon> {
    makeDirectory(settings.mirrorDirectory);
    const state = new StateDirectory(settings.mirrorDirectory, Date.now());
    let journal: Journal | undefined;
    let daemon: MirrorDaemon | undefined;
    try {
      const canBatch = await BatchSyncer.isAvailable(settings.mirrorDirectory);
      if (settings.durability === "batch" && !canBatch) {
        log.warn("this system has no `sync -f`: every file is synced by itself, as with --durability strict");
      }
      journal = state.openJournal((message) => log.error(message));
      daemon = new MirrorDaemon(settings, log, state, journal, canBatch);
      // What a killed daemon left must be parked before anybody looks for it.
      const isUnchecked = state.uncheckedSinceMs !== undefined;
      const swept = daemon.#sweepTempFiles(state.uncheckedSinceMs);
      if ((state.wasKilled || isUnchecked) && (await swept)) state.checked();
      await daemon.#open(broken);
      daemon.#sweepTrashDaily();
    } catch (error) {
      if (daemon !== undefined) await daemon.#pool?.stop();
      journal?.close();
      state.close(!state.wasKilled);
      throw error;
    }
    return daemon;
  }

  private constructor(
    settings: MirrorSettings,
    log: MirrorLog,
    state: StateDirectory,
    journal: Journal,
    canBatch: boolean,
  ) {
    this.#settings = settings;
    this.#log = log;
    this.#state = state;
    this.#journal = journal;
    this.#isStrict = settings.durability === "strict" || (settings.durability === "batch" && !canBatch);
    this.#dispatcher = new Dispatcher(journal, settings, {
      run: (job) => this.#pool!.run(job),
      look: (listed) => this.#pool!.look(listed),
      tell: (lane, message) => this.#pool!.tell(lane, message),
      sourceEnded: (orderId, source) => this.#desk.sourceEnded(orderId, source),
      published: (bytes) => this.#syncer?.published(bytes, performance.now()),
      parked: (reason) => this.#desk.parked(reason),
      warn: (message) => log.warn(message),
    });
    this.#desk = new OrderDesk(
      journal,
      this.#dispatcher,
      {
        starting: () => {
          if (!this.#isStrict) state.markUnsynced(Date.now());
        },
        settle: async () => {
          if (this.#syncer !== undefined) await this.#syncer.sync();
          // New directories, links and what went to the trash: no file's own sync covers them.
          else if (this.#isStrict && canBatch) await syncFileSystem(settings.mirrorDirectory);
        },
        idle: () => this.#idle?.(),
      },
      log,
    );
    if (settings.durability !== "batch" || !canBatch) return;
    const isIdle = (): boolean => this.#dispatcher.isIdle;
    this.#syncer = new BatchSyncer(settings.mirrorDirectory, state, isIdle, (error) =>
      log.error(error.message),
    );
  }

  async #open(broken: (error: DrayError) => void): Promise<void> {
    const { mirrorDirectory, agent, digest, verifyWritten, threads, threadUrl, sourceSecurity } =
      this.#settings;
    const { distrusted } = this.#state;
    this.#pool = await LanePool.start(
      threads,
      threadUrl,
      { mirrorDirectory, agent, digest, verifyWritten, isStrict: this.#isStrict, distrusted, sourceSecurity },
      {
        done: (done) => this.#dispatcher.done(done),
        progress: (progress) => this.#dispatcher.progress(progress),
        ask: (ask) => this.#dispatcher.ask(ask),
        broken,
      },
    );
    const services: Services = {
      capabilities: CAPABILITY.orders,
      agent,
      respond: (request, requestId, wake) =>
        request.type === "order" ? this.#desk.respond(request.json, requestId, wake) : undefined,
    };
    this.#server = new Server(this.#settings, services, this.#log);
    if (this.#settings.exportPort !== undefined)
      this.#exportServer = this.#openExport(this.#settings.exportPort);
    this.#desk.resume();
  }

  /** So that mirrors cascade: what is finished is served, our own state and unfinished files are not. */
  #openExport(port: number): Server {
    const root = new ContainedRoot(this.#settings.mirrorDirectory);
    const service = contentService(root, this.#settings.agent, hidesState);
    return new Server({ ...this.#settings, port }, service, this.#log);
  }

  get exportPort(): number | undefined {
    return this.#exportServer?.port;
  }

  get address(): string {
    return this.#server!.address;
  }

  get port(): number {
    return this.#server!.port;
  }

  /** From the next connection to a source on. */
  renewSourceSecurity(security: ClientSecurity): void {
    this.#dispatcher.sourceSecurity = security;
    this.#pool!.renewSourceSecurity(security);
  }

  /** Takes no new orders and resolves when the running ones are done. */
  async finish(): Promise<void> {
    const stopped = Promise.all([this.#server!.stop(), this.#exportServer?.stop()]);
    if (!this.#desk.isIdle) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      await promise;
    }
    await stopped;
  }

  #sweepTrashDaily(): void {
    const { mirrorDirectory, keepTrashMs } = this.#settings;
    const sweep = (): void => {
      sweepTrash(mirrorDirectory, Date.now() - keepTrashMs).then(
        (removed) => {
          if (removed > 0) this.#log.info(`emptied ${removed} folder(s) of the trash`);
        },
        (error: unknown) => this.#log.warn(`the trash cannot be emptied: ${asDrayError(error).message}`),
      );
    };
    sweep();
    this.#trashTimer = setInterval(sweep, DAY_MS);
  }

  /** Parks what is running, leaving nothing half-done behind, and lets the directory go. */
  async close(): Promise<void> {
    const reason = new DrayError("closed", "the mirror is shutting down; the order goes on when it is back");
    this.#server!.abandon(reason);
    this.#exportServer?.abandon(reason);
    clearInterval(this.#trashTimer);
    this.#desk.stop();
    this.#dispatcher.stop(reason);
    const isTidy = await this.#pool!.stop();
    try {
      await this.#syncer?.sync();
    } finally {
      this.#journal.close();
      this.#state.close(isTidy);
    }
  }

  /** @returns whether all was gone through */
  async #sweepTempFiles(doubtfulSinceMs: number | undefined): Promise<boolean> {
    const { mirrorDirectory } = this.#settings;
    try {
      const removed = await sweepTempFiles(mirrorDirectory, [STATE_DIRECTORY], Date.now(), doubtfulSinceMs);
      if (removed > 0) this.#log.info(`removed ${removed} unfinished file(s) of a run that was killed`);
      return true;
    } catch (error) {
      this.#log.warn(`unfinished files of a killed run may be left: ${asDrayError(error).message}`);
      return false;
    }
  }
}

function makeDirectory(directory: string): void {
  try {
    fs.mkdirSync(path.resolve(directory), { recursive: true });
    fs.accessSync(directory, fs.constants.W_OK | fs.constants.X_OK);
  } catch (error) {
    throw withContext(`cannot mirror into ${quoteName(directory)}`, error);
  }
}
