import { asDrayError } from "../../errors/dray-error.ts";
import { delayAfterAttempt } from "../../net/backoff.ts";
import type { MetadataEntry } from "../../wire/sync-metadata.ts";
import { DirectorySyncs } from "../directory-syncs.ts";
import { syncedPath } from "../names.ts";
import type { Ports } from "../ports.ts";
import { readRootId, writeRootId } from "../root-id.ts";
import { openStore, type Store } from "../store.ts";
import type { AgentEvent } from "./agent-events.ts";
import type { AgentSettings } from "./agent-settings.ts";
import type { AgentStatus, FileStatus } from "./agent-status.ts";
import type { Core } from "./core.ts";
import type { Arrived } from "./inbox.ts";
import { LocalWatch } from "./local-watch.ts";
import { md5Text } from "./md5-text.ts";
import { PathBook } from "./path-book.ts";
import { PathKeeper } from "./path-keeper.ts";
import { Session, type SessionHost } from "./session.ts";
import { lastServerTable, META_TABLE, serverTable } from "./server-table.ts";
import { Turns } from "./turns.ts";

const PRUNE_INTERVAL_MS = 3_600_000;

/** Keeps one folder in sync with one server, until it is stopped. */
export class Agent {
  readonly #ports: Ports;
  readonly #settings: AgentSettings;
  readonly #tell: (event: AgentEvent) => void;
  readonly #store: Store;
  readonly #book: PathBook;
  readonly #core: Core;
  readonly #keeper: PathKeeper;
  #watch: LocalWatch | undefined;
  #session: Session | undefined;
  #isListed = false;
  #listing = 0;
  #attempt = 0;
  #isStopped = false;
  readonly #cancels = new Set<() => void>();

  /**
   * Cleans up after an earlier run.
   * @throws a system error or DrayError when the folder cannot be used
   */
  constructor(ports: Ports, settings: AgentSettings, tell: (event: AgentEvent) => void) {
    this.#ports = ports;
    this.#settings = settings;
    this.#tell = tell;
    this.#store = openStore(ports, settings.versions);
    this.#store.staging.clear();
    this.#book = new PathBook(ports.ledger, lastServerTable(ports.ledger), (error) =>
      this.#ledgerFailed(error),
    );
    const online = (): ReturnType<Core["online"]> => this.#online();
    this.#core = {
      ports,
      settings,
      book: this.#book,
      turns: new Turns(),
      syncs: new DirectorySyncs(ports.tree),
      online,
      tell,
      consider: (entry) => this.#keeper.consider(entry),
      hint: (name) => this.#watch?.hint(name),
      // By then the name may have been forgotten, and come back as another entry.
      considerAt: (entry, atMs) =>
        this.#wake(atMs, () => {
          if (this.#book.get(entry.name) === entry) this.#keeper.consider(entry);
        }),
    };
    this.#keeper = new PathKeeper(this.#core, this.#store.publisher, {
      rootId: () => ports.ledger.get(META_TABLE, "root-id") ?? "",
      ignoredBy: (name) => this.#watch?.ignoredBy(name),
      pendingLooks: () => this.#watch?.pending ?? 1,
    });
  }

  /** Begins: with a scan, and with the server as soon as that is done. @throws a system error or DrayError */
  async start(): Promise<void> {
    await this.#markRoot();
    this.#watch = new LocalWatch(this.#ports, this.#settings, {
      settled: (name, stat) => this.#keeper.settled(name, stat),
      recognizes: (name, stat) => this.#keeper.recognizes(name, stat),
      knownBelow: (directory) => this.#keeper.knownBelow(directory),
      skipped: (name, { why, detail }) => this.#keeper.skip(name, why, detail),
      scanBegins: () => this.#keeper.scanBegins(),
      scanEnded: () => this.#scanEnded(),
      rested: () => this.#keeper.rested(),
      watchFailed: (error) => this.#warn(`changes are found by scans only: ${error.message}`),
      scanFailed: (error) =>
        this.#warn(`the folder cannot be scanned, nothing counts as deleted: ${error.message}`),
    });
    this.#pruneVersions();
  }

  /** How things stand. */
  status(): AgentStatus {
    const session = this.#session;
    const state =
      this.#online() !== undefined ? "connected" : session === undefined ? "offline" : "connecting";
    const server = session === undefined ? undefined : session.isOurs ? "dray" : "other";
    return { state, peer: session?.peer, server, hold: this.#keeper.hold };
  }

  /** Each file, and what is the matter with it. */
  files(): Generator<FileStatus> {
    return this.#keeper.files(this.#online() !== undefined);
  }

  /** A person says that what is held is meant to be deleted. @returns how many files; "not-approvable": the folder is not there */
  approve(): number | "not-approvable" {
    const { hold } = this.#keeper;
    if (hold === undefined) return 0;
    if (!hold.isApprovable) return "not-approvable";
    const files = hold.files;
    // Without its marker everything stays held.
    const marked = this.#foundRootId() === undefined ? this.#writeMarker() : Promise.resolve();
    marked.then(
      () => this.#keeper.approve(),
      (error: unknown) => this.#warn(`the folder's marker cannot be written: ${asDrayError(error).message}`),
    );
    return files;
  }

  /** A person says that what is held is not meant to be deleted: it is fetched from the server again. @returns how many files */
  bringBack(): number {
    return this.#keeper.bringBack();
  }

  /** Ends the connection; what is landing lands. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const cancel of this.#cancels) cancel();
    this.#watch?.close();
    this.#session?.end();
    this.#keeper.close();
    await this.#core.turns.idle();
    this.#session?.terminate(asDrayError(new Error("stopped")));
  }

  #online(): ReturnType<Core["online"]> {
    const session = this.#session;
    if (session === undefined || !session.isOpen || !this.#isListed || this.#isStopped) return undefined;
    return session.outbox === undefined ? undefined : { outbox: session.outbox, isOurs: session.isOurs };
  }

  #scanEnded(): void {
    if (this.#keeper.scanEnded()) void this.#connect();
  }

  async #connect(): Promise<void> {
    if (this.#isStopped) return;
    const ports = this.#ports;
    const host = this.#host();
    const settings = {
      ...this.#settings,
      patience: { requiredMs: this.#settings.answerMs, optionalMs: this.#settings.optionalAnswerMs },
    };
    try {
      const session = await Session.open(ports, this.#store.staging, settings, host);
      if (this.#isStopped) return session.end();
      this.#session = session;
    } catch (error) {
      this.#lost(asDrayError(error));
    }
  }

  #host(): SessionHost {
    return {
      listBegins: (serverId) => this.#listBegins(serverId),
      listed: (entry) => this.#listed(entry),
      listEnds: (session, hasList) => this.#listEnds(session, hasList),
      closed: (error) => {
        this.#session = undefined;
        this.#isListed = false;
        this.#keeper.disconnected();
        this.#lost(error);
      },
      refusal: (name) => this.#keeper.refusal(name),
      refused: (name, why) => this.#keeper.refused(name, why),
      obstacle: (name) => this.#keeper.obstacle(name),
      failed: (name, why) => this.#keeper.failed(name, why),
      progressed: (name) => this.#keeper.progressed(name),
      arrived: (file: Arrived) => this.#keeper.arrived(file, this.#session?.isOurs ?? false),
      deleted: (name, md5) => this.#keeper.deleted(name, md5),
      aborted: (name, wasComing) => this.#keeper.aborted(name, wasComing, this.#session?.isOurs ?? false),
    };
  }

  #lost(error: Error): void {
    if (this.#isStopped) return;
    this.#attempt++;
    const { firstMs, maxMs } = this.#settings.backoff;
    const backoff = { attempts: Infinity, firstDelayMs: firstMs, maxDelayMs: maxMs };
    const random = this.#ports.random.bytes(1)[0]! / 256;
    const retryMs = delayAfterAttempt(backoff, Math.min(this.#attempt, 20), random) ?? maxMs;
    const { code, message } = asDrayError(error);
    this.#tell({ type: "disconnected", code, message, retryMs });
    this.#wake(this.#ports.clock.monotonicMs() + retryMs, () => void this.#connect());
  }

  #listBegins(serverId: string | undefined): void {
    this.#listing++;
    const table = serverTable(serverId, this.#settings);
    if (table === lastServerTable(this.#ports.ledger)) return;
    this.#book.useTable(table);
    this.#ports.ledger
      .put([{ table: META_TABLE, key: "server", value: table }])
      .catch((error: unknown) => this.#ledgerFailed(error));
  }

  #listed({ name, md5, sizeBytes, mtimeUs, sequence, isDeleted }: MetadataEntry): void {
    const found = syncedPath(name, this.#settings.platform);
    if ("problem" in found) {
      if (!isDeleted) this.#keeper.refused(name, found.problem);
      return;
    }
    const entry = this.#book.at(name);
    entry.listing = this.#listing;
    const digest = md5 === undefined ? undefined : md5Text(md5);
    entry.remote = isDeleted
      ? { kind: "deleted", md5: digest }
      : { kind: "file", md5: digest, sizeBytes, mtimeUs, sequence };
  }

  #listEnds(session: Session, hasList: boolean): void {
    this.#session = session;
    this.#attempt = 0;
    this.#isListed = true;
    const { isOurs } = session;
    for (const entry of this.#book.entries()) {
      if (entry.listing !== this.#listing) entry.remote = { kind: hasList ? "unlisted" : "unknown" };
    }
    const files = this.#book.size;
    this.#tell({ type: "connected", peer: session.peer, server: isOurs ? "dray" : "other", files });
    this.#keeper.connected(isOurs);
  }

  async #markRoot(): Promise<void> {
    const { ledger, tree } = this.#ports;
    const found = readRootId(tree);
    const known = ledger.get(META_TABLE, "root-id");
    // A marker that is gone from a folder that was synced is a warning, and stays gone until somebody approves.
    if (known === undefined && found === undefined) return await this.#writeMarker();
    if (known === undefined && found !== undefined) {
      await ledger.put([{ table: META_TABLE, key: "root-id", value: found }]);
    }
  }

  async #writeMarker(): Promise<void> {
    const { ledger, tree, random } = this.#ports;
    const id = await writeRootId(tree, random, ledger.get(META_TABLE, "root-id"));
    await ledger.put([{ table: META_TABLE, key: "root-id", value: id }]);
  }

  #foundRootId(): string | undefined {
    try {
      return readRootId(this.#ports.tree);
    } catch {
      return undefined;
    }
  }

  #pruneVersions(): void {
    this.#store.versions
      .prune()
      .catch((error: unknown) => this.#warn(`old versions stay: ${asDrayError(error).message}`));
    this.#wake(this.#ports.clock.monotonicMs() + PRUNE_INTERVAL_MS, () => this.#pruneVersions());
  }

  #wake(atMs: number, callback: () => void): void {
    if (this.#isStopped) return;
    const cancel = this.#ports.clock.wake(atMs, () => {
      this.#cancels.delete(cancel);
      callback();
    });
    this.#cancels.add(cancel);
  }

  #ledgerFailed(error: unknown): void {
    this.#warn(`what was agreed with the server cannot be written down: ${asDrayError(error).message}`);
  }

  #warn(message: string): void {
    this.#tell({ type: "warning", message });
  }
}
