import { type DrayError, asDrayError } from "../../errors/dray-error.ts";
import { NO_MD5, SYNC_STATUS } from "../../wire/sync-messages.ts";
import { PRIVATE_FOLDER } from "../../wire/sync-reserved.ts";
import { DirectorySyncs } from "../directory-syncs.ts";
import { MetaDataFile } from "../meta-data-file.ts";
import { syncedPath } from "../names.ts";
import type { Clock, Hasher, Link, PortListener, Ports, TreePath } from "../ports.ts";
import { Publisher } from "../publication.ts";
import { Staging } from "../staging.ts";
import { Versions } from "../versions.ts";
import { Changes, type StagedUpload, bytesOf, hexOf, isStamped } from "./changes.ts";
import { Clients } from "./clients.ts";
import {
  type DeliveryForm,
  type DeliverySource,
  FileSource,
  MetaDataSource,
  metaDataPortions,
} from "./delivery-source.ts";
import type { Delivery, Feed, FeedHub, FeedTimes } from "./feed.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import type { HubObserver, HubSettings } from "./hub-settings.ts";
import { JobQueue } from "./job-queue.ts";
import type { Channel } from "./pairing.ts";
import { recover } from "./recovery.ts";
import { type FileEntry, Roster, type Tombstone } from "./roster.ts";
import { Session, type SessionHub } from "./session.ts";
import { isSameMd5 } from "./upload.ts";

const PRUNE_EVERY_MS = 3_600_000;
/** When a file that somebody keeps writing to in the folder is looked at again. */
const RESTLESS_MS = 2_000;

/** The sync server: one folder, any number of clients (docs/SYNC.md). Everything that it touches is a port. */
export class Hub implements SessionHub, FeedHub {
  readonly roster: Roster;
  readonly staging: Staging;
  readonly clock: Clock;
  readonly hasher: Hasher;
  readonly limits: SessionHub["limits"];
  readonly times: FeedTimes;
  readonly chunkBytes: number;
  openUploads = 0;
  isStopping = false;
  readonly #ports: Ports;
  readonly #settings: HubSettings;
  readonly #observer: HubObserver;
  readonly #jobs: JobQueue;
  readonly #changes: Changes;
  readonly #versions: Versions;
  readonly #clients: Clients;
  readonly #metaDataFile: MetaDataFile;
  readonly #sessions = new Map<number, Session>();
  readonly #limits: ConnectionLimits;
  #listeners: PortListener[] = [];
  #id = "";
  #lastSession = 0;
  #buffer = new Uint8Array(0);
  #cancelPrune: (() => void) | undefined;
  #isPruning = false;
  #allGone: (() => void) | undefined;

  constructor(ports: Ports, settings: HubSettings, observer: HubObserver) {
    const { clock, tree, hasher } = ports;
    this.#ports = ports;
    this.#settings = settings;
    this.#observer = observer;
    this.clock = clock;
    this.hasher = hasher;
    this.limits = settings;
    this.#limits = new ConnectionLimits(settings);
    this.times = settings;
    this.chunkBytes = settings.chunkBytes;
    this.roster = new Roster(settings);
    this.staging = new Staging(ports.tree, ports.random);
    this.#jobs = new JobQueue(settings.workers);
    const syncs = new DirectorySyncs(tree);
    this.#versions = new Versions(tree, clock, syncs, settings.versions);
    const publisher = new Publisher(ports, syncs, this.#versions);
    const unwritten = (error: DrayError): void =>
      observer.warn(
        `Cannot write the server's record: ${error.message} (the files are safe, and looked through at the next start)`,
      );
    this.#changes = new Changes(ports, publisher, this.roster, this.#jobs, unwritten);
    this.#clients = new Clients(this.roster, this, (session, isExact) => {
      const peer = this.#peerOf(session);
      observer.event({ type: "paired", peer, isExact });
    });
    const unlisted = (error: Error): void => observer.warn(`Cannot write META-DATA: ${error.message}`);
    this.#metaDataFile = new MetaDataFile(ports, () => metaDataPortions(this.#id, this.roster), unlisted);
  }

  /**
   * Brings back what an earlier run knew, and looks through the folder.
   * @throws DrayError "refused" when so much is missing that something must be wrong; what the disk says
   */
  async recover(): Promise<void> {
    const { acceptsMissing } = this.#settings;
    this.staging.clear();
    this.#id = await recover(this.#ports, this.roster, this.#changes, this.#observer, acceptsMissing);
    this.#metaDataFile.touch();
    this.#schedulePrune();
  }

  /** Begins to take connections, on both ports. @throws DrayError "usage" when one cannot be bound */
  listen(): { send: PortListener; receive: PortListener } {
    const { address, sendPort, receivePort } = this.#settings;
    const { network } = this.#ports;
    const send = network.listen(address, sendPort, (link) => this.#accept("send", link));
    this.#listeners.push(send);
    const receive = network.listen(address, receivePort, (link) => this.#accept("receive", link));
    this.#listeners.push(receive);
    return { send, receive };
  }

  /** Takes nothing new, lets what is under way come to its end, then ends the connections. */
  async stop(): Promise<void> {
    this.isStopping = true;
    for (const listener of this.#listeners.splice(0)) listener.stop();
    for (const feed of this.#clients.feeds) feed.finish();
    for (const session of [...this.#sessions.values()]) session.rest();
    if (this.#sessions.size > 0) await new Promise<void>((resolve) => (this.#allGone = resolve));
    await this.#jobs.idle();
    await this.#metaDataFile.close();
  }

  /** Ends everything at once. What was confirmed is safe; what is half sent is lost. */
  terminate(): void {
    this.isStopping = true;
    this.#cancelPrune?.();
    for (const listener of this.#listeners.splice(0)) listener.stop();
    for (const session of [...this.#sessions.values()]) session.link.terminate();
  }

  get id(): string {
    return this.#id;
  }

  get clients(): Clients {
    return this.#clients;
  }

  get jobs(): JobQueue {
    return this.#jobs;
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  #accept(channel: Channel, link: Link): void {
    if (!this.#limits.admit(link.address)) {
      link.attach(DEAF);
      return link.terminate();
    }
    const id = ++this.#lastSession;
    const session = new Session(id, channel, link, this);
    this.#sessions.set(id, session);
    const feed = this.#clients.arrived(id, channel, link);
    link.attach({
      data: (bytes) => session.data(bytes),
      drained: () => {
        session.drained();
        feed?.drained();
      },
      ended: () => session.ended(),
      closed: (error) => session.closed(error),
    });
    this.#tellConnection("connected", session, undefined);
    void feed?.run();
  }

  #tellConnection(
    type: "connected" | "disconnected",
    { link, channel }: Session,
    error: Error | undefined,
  ): void {
    const reason = error === undefined ? {} : { error: error.message };
    this.#observer.event({ type, peer: link.peer, channel, connections: this.#sessions.size, ...reason });
  }

  // What sessions ask for.

  isOurs(session: number): boolean {
    return this.#clients.isOurs(session);
  }

  isDelivering(session: number, name: string, nowMs: number): boolean {
    const feed = this.#clients.feedOf(session);
    if (feed === undefined) return false;
    return feed.isDelivering(name) || (!feed.isOurs && feed.known.wasJustDelivered(name, nowMs));
  }

  evict(session: number, name: string): void {
    this.#sessions.get(session)?.evicted(name);
  }

  publish(session: number, staged: StagedUpload): Promise<boolean> {
    return this.#changes.inTurn(staged.name, async () => {
      const { name, path, upload } = staged;
      const before = this.roster.get(name);
      const isStale = this.#isResurrection(session, staged);
      // Who comes while it is published finds it in META-DATA.
      const present = isStale ? [...this.#clients.feeds] : [];
      const entry = await this.#changes.publish(staged);
      if (isStale && entry !== undefined) {
        await this.#archive(session, name, path, before!.sequence, present);
        return true;
      }
      if (entry !== undefined) this.#tellChanged(entry, name, session);
      const current = entry ?? this.roster.get(name);
      if (current !== undefined) this.#clients.changed(name, current, session, !upload.isOverlapped);
      return true;
    });
  }

  /**
   * Whether a client that was away sends what was deleted meanwhile, since it knows nothing of deletes (decision 21). Once it was
   * told of the delete, the same content counts as new.
   */
  #isResurrection(session: number, { name, md5 }: StagedUpload): boolean {
    const entry = this.roster.get(name);
    const feed = this.#clients.feedOf(session);
    if (entry?.kind !== "deleted" || feed === undefined || feed.isOurs) return false;
    return entry.md5 === hexOf(md5) && !feed.known.wasTold(name) && feed.known.holds(name, entry.sequence);
  }

  /** Keeps what a client has sent among the versions, and has the client delete it. */
  async #archive(
    session: number,
    name: string,
    path: TreePath,
    knownSequence: number,
    present: readonly Feed[],
  ): Promise<void> {
    const author = this.#clients.feedOf(session);
    const tombstone = await this.#changes.remove(name, path);
    for (const feed of present) {
      const heardNothing = feed.known.holds(name, knownSequence) && !feed.isDelivering(name);
      if (feed !== author && heardNothing) feed.known.tell(name, tombstone.sequence);
    }
    author?.known.forget(name);
    this.#clients.settle(name);
    this.refused(
      session,
      name,
      "it was deleted while the client was away: its content is kept among the versions",
    );
  }

  async remove(session: number, name: string, path: TreePath, md5: Uint8Array): Promise<number> {
    if (this.roster.file(name) === undefined && !this.roster.isLockedByOther(name, session)) {
      return SYNC_STATUS.noFile;
    }
    const lock = this.roster.lock(name, session, this.clock.monotonicMs());
    if (!lock.granted) return SYNC_STATUS.fileLocked;
    if (lock.evicted !== undefined) this.evict(lock.evicted, name);
    try {
      return await this.#changes.inTurn(name, async () => {
        const current = this.roster.file(name);
        if (current === undefined) return SYNC_STATUS.noFile;
        const isKnown = isSameMd5(md5, NO_MD5) || isSameMd5(md5, bytesOf(current.md5));
        if (!isKnown && this.isOurs(session)) {
          // It deletes what it has not seen: it is to see it first.
          this.#clients.feedOf(session)?.known.forget(name);
          return SYNC_STATUS.fileLocked;
        }
        const tombstone = await this.#changes.remove(name, path);
        this.#tellChanged(tombstone, name, session);
        this.#clients.changed(name, tombstone, session, true);
        return SYNC_STATUS.ok;
      });
    } finally {
      if (this.roster.unlock(name, session)) this.released(name);
    }
  }

  request(session: number, name: string, path: TreePath | undefined): number {
    const entry = this.roster.get(name);
    // META-DATA of an empty folder has one line, for a name that nothing can have.
    const isPlaceholder = name === PRIVATE_FOLDER;
    if (!isPlaceholder && (path === undefined || entry === undefined)) return SYNC_STATUS.noFile;
    const own = this.#clients.feedOf(session);
    const feeds = own === undefined ? [...this.#clients.candidates(this.#addressOf(session))] : [own];
    for (const feed of feeds) feed.known.forget(name);
    if (this.roster.lockOf(name) !== undefined) return SYNC_STATUS.fileInUse;
    for (const feed of feeds) feed.add(name);
    return SYNC_STATUS.ok;
  }

  named(session: number, token: string): void {
    this.#clients.named(session, token);
  }

  status(session: number, code: number): void {
    const feed = this.#clients.feedOf(session);
    // An answer on the other connection counts if there is something that it can answer.
    if (feed !== undefined && (feed.session === session || feed.isWaitingForAnswer)) feed.answered(code);
  }

  released(name: string): void {
    this.#clients.settle(name);
  }

  refused(session: number, name: string, why: string): void {
    this.#observer.event({ type: "refused", name, peer: this.#peerOf(session), why });
  }

  answeredAll(session: number): void {
    const own = this.#sessions.get(session);
    if (own === undefined) return;
    if (own.channel === "receive") own.link.end();
    else this.#clients.feedOf(session)?.ended();
  }

  isAtRest(session: number): void {
    const own = this.#sessions.get(session);
    if (own?.channel === "receive") own.link.end();
  }

  closed(id: number, error: Error | undefined): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    this.#limits.left(session.link.address);
    this.#clients.left(id);
    this.#tellConnection("disconnected", session, error);
    if (this.#sessions.size === 0) this.#allGone?.();
  }

  info(message: string): void {
    this.#observer.info(message);
  }

  warn(message: string): void {
    this.#observer.warn(message);
  }

  // What feeds ask for.

  buffer(sizeBytes: number): Uint8Array {
    if (this.#buffer.length < sizeBytes) this.#buffer = new Uint8Array(sizeBytes);
    return this.#buffer.subarray(0, sizeBytes);
  }

  metaData(chunkBytes: number): DeliverySource {
    return new MetaDataSource(this.hasher, this.#id, this.roster, chunkBytes);
  }

  open(feed: Feed, name: string, form: DeliveryForm): Promise<Delivery> {
    return this.#jobs.run(async () => this.#openNow(feed, name, form));
  }

  #openNow(feed: Feed, name: string, form: DeliveryForm): Delivery {
    if (name === PRIVATE_FOLDER) return { what: "delete", sequence: 0, md5: NO_MD5 };
    const entry = this.roster.get(name);
    const checked = syncedPath(name, { isWindows: false });
    if (entry === undefined || "problem" in checked || feed.known.holds(name, entry.sequence)) return NOTHING;
    const { sequence } = entry;
    if (entry.kind === "deleted") return { what: "delete", sequence, md5: bytesOf(entry.md5) };
    const file = this.#ports.tree.open(checked.path);
    if (isStamped(entry, file.stat())) {
      return { what: "file", sequence, source: new FileSource(this.hasher, file, entry, form) };
    }
    file.close();
    this.#adopt(name, checked.path);
    return NOTHING;
  }

  /** Somebody has changed a file in the folder without us. */
  #adopt(name: string, path: TreePath): void {
    const adopted = this.#changes.inTurn(name, async () => {
      if (this.roster.lockOf(name) !== undefined) return;
      const entry = await this.#changes.adopt(name, path);
      if (entry !== undefined) this.#tellChanged(entry, name, undefined);
      if (isStamped(this.roster.file(name), this.#ports.tree.stat(path))) this.#clients.settle(name);
      else this.#clients.settleLater(name, this.clock.monotonicMs() + RESTLESS_MS);
    });
    adopted.catch((error: unknown) =>
      this.#observer.warn(
        `${JSON.stringify(name)} was changed in the folder and cannot be read: ${asDrayError(error).message}`,
      ),
    );
  }

  overlap(feed: Feed, name: string): void {
    const lock = this.roster.lockOf(name);
    if (lock === undefined || this.#clients.feedOf(lock.session) !== feed) return;
    this.#sessions.get(lock.session)?.overlap(name);
  }

  delivered(feed: Feed, name: string, sequence: number): void {
    this.#observer.event({ type: "delivered", name, sequence, to: feed.link.peer });
    // It may have changed while it was being sent.
    const entry = this.roster.get(name);
    if (entry !== undefined && !feed.known.holds(name, entry.sequence)) feed.add(name);
  }

  givenUp(feed: Feed, name: string, sequence: number): void {
    this.#observer.event({ type: "given-up", name, sequence, to: feed.link.peer });
    const entry = this.roster.get(name);
    if (entry !== undefined && !feed.known.holds(name, entry.sequence)) feed.add(name);
  }

  announcedSequence(): number | undefined {
    return this.#changes.isIdle ? this.roster.sequence : undefined;
  }

  #tellChanged(entry: FileEntry | Tombstone, name: string, session: number | undefined): void {
    const by = session === undefined ? "the folder" : this.#peerOf(session);
    const { sequence } = entry;
    if (entry.kind === "deleted") this.#observer.event({ type: "deleted", name, sequence, by });
    else
      this.#observer.event({ type: "changed", name, sequence, bytes: entry.sizeBytes, md5: entry.md5, by });
    this.#metaDataFile.touch();
    if (this.#versions.wantsPrune) this.#prune();
  }

  #schedulePrune(): void {
    this.#prune();
    this.#cancelPrune = this.clock.wake(this.clock.monotonicMs() + PRUNE_EVERY_MS, () =>
      this.#schedulePrune(),
    );
  }

  #prune(): void {
    if (this.#isPruning) return;
    this.#isPruning = true;
    this.#versions
      .prune()
      .catch((error: unknown) =>
        this.#observer.warn(`Cannot tidy up old versions: ${asDrayError(error).message}`),
      )
      .finally(() => (this.#isPruning = false));
  }

  #peerOf(session: number): string {
    return this.#sessions.get(session)?.link.peer ?? "a client that is gone";
  }

  #addressOf(session: number): string {
    return this.#sessions.get(session)?.link.address ?? "";
  }
}

const NOTHING: Delivery = { what: "nothing" };
const DEAF = { data: () => {}, drained: () => {}, ended: () => {}, closed: () => {} };
