import { asDrayError, DrayError, withContext } from "../../errors/dray-error.ts";
import { MetadataReader } from "../../wire/sync-metadata-reader.ts";
import type { MetadataEntry } from "../../wire/sync-metadata.ts";
import { hasStatus, type SyncEvent } from "../../wire/sync-messages.ts";
import { METADATA_NAME, pairingName } from "../../wire/sync-reserved.ts";
import type { Clock, Hasher, Link, Network, Random } from "../ports.ts";
import type { StagedFile, Staging } from "../staging.ts";
import { Channel } from "./channel.ts";
import { Inbox, type InboxHost } from "./inbox.ts";
import { Outbox, type OutboxSettings } from "./outbox.ts";

export interface SessionSettings extends OutboxSettings {
  readonly host: string;
  /** The server's receive port. */
  readonly sendPort: number;
  /** The server's send port. */
  readonly receivePort: number;
  readonly dialTimeoutMs: number;
  /** A server that has sent nothing of META-DATA for so long sends none. */
  readonly listTimeoutMs: number;
  /** Our own server is heard at least every 30 s. */
  readonly silenceMs: number;
}

export interface SessionHost extends Omit<InboxHost, "metadata" | "isOurs"> {
  /** A list of all that the server has begins. @param serverId of our own kind of server */
  listBegins(serverId: string | undefined): void;
  listed(entry: MetadataEntry): void;
  /** From here on things can be sent. @param hasList false: the server said nothing of what it has */
  listEnds(session: Session, hasList: boolean): void;
  /** Exactly once, last. */
  closed(error: Error): void;
}

interface SessionPorts {
  readonly clock: Clock;
  readonly network: Network;
  readonly hasher: Hasher;
  readonly random: Random;
}

interface Lane {
  readonly channel: Channel;
  readonly inbox: Inbox;
}

const READ_BYTES = 1024 * 1024;

/** The two connections to a server, from the moment both are open until one of them ends. */
export class Session {
  /** Whether the server is dray. Known when the list ends. */
  isOurs = false;
  readonly #ports: SessionPorts;
  readonly #settings: SessionSettings;
  readonly #host: SessionHost;
  readonly #staging: Staging;
  /** To the server's receive port, then to its send port. */
  readonly #lanes: Lane[] = [];
  readonly #bothOpen = Promise.withResolvers<void>();
  /** META-DATA came over the first one: it is the server's to send on. */
  #isSwapped = false;
  #outbox: Outbox | undefined;
  #hasListBegun = false;
  #isListed = false;
  #reading: Promise<unknown> = Promise.resolve();
  #error: Error | undefined;
  #isClosed = false;
  /** From then on its end is told; before, open() throws. */
  #isHandedOut = false;
  #cancelTimer: () => void = () => {};

  private constructor(ports: SessionPorts, staging: Staging, settings: SessionSettings, host: SessionHost) {
    this.#ports = ports;
    this.#staging = staging;
    this.#settings = settings;
    this.#host = host;
  }

  /**
   * Opens both connections. The host is told of nothing but of a session that was handed out.
   * @throws DrayError "unreachable", "timeout", "closed"
   */
  static async open(
    ports: SessionPorts,
    staging: Staging,
    settings: SessionSettings,
    host: SessionHost,
  ): Promise<Session> {
    const session = new Session(ports, staging, settings, host);
    try {
      // One after the other: a server that knows no token pairs them by the order in which they come.
      for (const port of [settings.sendPort, settings.receivePort]) {
        await ports.network.dial({ host: settings.host, port }, settings.dialTimeoutMs, (link) =>
          session.#add(link),
        );
      }
      if (session.#isClosed) {
        throw session.#error ?? new DrayError("closed", "the server ended the connection");
      }
    } catch (error) {
      session.terminate(asDrayError(error));
      throw error;
    } finally {
      session.#bothOpen.resolve();
    }
    session.#isHandedOut = true;
    session.#arm();
    return session;
  }

  get peer(): string {
    return this.#down.channel.peer;
  }

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** Undefined until the list has ended. */
  get outbox(): Outbox | undefined {
    return this.#outbox;
  }

  /** Ends both connections when what was written is sent. */
  end(): void {
    this.#error ??= new DrayError("interrupted", "this side ends the connection");
    for (const { channel } of this.#lanes) channel.end();
  }

  terminate(error: Error): void {
    this.#error ??= error;
    for (const { channel } of this.#lanes) channel.terminate();
  }

  get #up(): Lane {
    return this.#lanes[this.#isSwapped ? 1 : 0]!;
  }

  get #down(): Lane {
    return this.#lanes[this.#isSwapped ? 0 : 1]!;
  }

  #add(link: Link): void {
    const channel: Channel = new Channel(link, this.#ports.clock, {
      event: (event) => this.#event(lane, event),
      drained: () => this.#outbox?.pump(),
      ended: () => lane.inbox.ended(),
      closed: (error) => this.#closed(error),
    });
    const inbox = new Inbox(channel, this.#staging, this.#ports.hasher, {
      isOurs: () => this.isOurs,
      refusal: (name) => this.#host.refusal(name),
      obstacle: (name) => this.#host.obstacle(name),
      refused: (name, why) => this.#host.refused(name, why),
      failed: (name, why) => {
        if (name !== METADATA_NAME) return this.#host.failed(name, why);
        // Without it nothing is known of what the server has: it is fetched anew with the next connection.
        this.terminate(new DrayError("storage", `the server's list of files ${why}`));
      },
      progressed: (name, bytes) => this.#host.progressed(name, bytes),
      // What comes behind a list is newer than it.
      arrived: (file) => this.#reading.then(() => this.#host.arrived(file)),
      deleted: (name, md5) => this.#reading.then(() => this.#host.deleted(name, md5)),
      aborted: (name, wasComing) => this.#host.aborted(name, wasComing),
      metadata: (staged) => {
        const read = this.#reading.then(() => this.#readList(staged));
        this.#reading = read.catch((error: unknown) => {
          this.terminate(withContext("the server's list of files cannot be read", error));
        });
        return read;
      },
    });
    const lane: Lane = { channel, inbox };
    this.#lanes.push(lane);
  }

  #event(lane: Lane, event: SyncEvent): void {
    if (event.type === "request") return; // a server has nothing to ask of a client
    if (event.type === "status") return this.#status(lane, event.code);
    const isList = event.type === "chunkHead" && event.name === METADATA_NAME;
    this.#hasListBegun ||= isList;
    if (isList && this.#outbox === undefined) this.#isSwapped = lane === this.#lanes[0];
    lane.inbox.take(event);
  }

  #status(lane: Lane, code: number): void {
    if (hasStatus(code, "keepAlive") || this.#outbox === undefined || lane !== this.#up) return;
    // From others, "in use" is about something that they do not send after all.
    if (hasStatus(code, "fileInUse") && !this.isOurs) return;
    this.#outbox.status(code);
    this.#arm();
  }

  async #readList(staged: StagedFile): Promise<void> {
    await this.#bothOpen.promise;
    let hasBegun = false;
    const begin = (): void => {
      if (!hasBegun) this.#host.listBegins(reader.server?.id);
      hasBegun = true;
    };
    const reader = new MetadataReader((entry) => {
      begin();
      this.#host.listed(entry);
    });
    const buffer = new Uint8Array(READ_BYTES);
    for (let position = 0; position < staged.sizeBytes;) {
      const count = staged.file.read(buffer, position);
      if (count === 0) break;
      position += count;
      reader.push(buffer.subarray(0, count));
    }
    reader.end();
    begin();
    if (this.#isClosed) return;
    if (reader.server !== undefined && this.#outbox === undefined) this.isOurs = true;
    this.#live(true);
  }

  /** From here on we send. */
  #live(hasList: boolean): void {
    this.#isListed = true;
    if (this.#outbox === undefined) {
      this.#outbox = new Outbox(this.#up.channel, this.#ports.clock, this.#ports.hasher, this.#settings);
      if (this.isOurs) this.#pair(this.#outbox);
    }
    this.#host.listEnds(this, hasList);
    this.#arm();
  }

  #pair(outbox: Outbox): void {
    const name = pairingName(this.#ports.random.bytes(16).toHex());
    this.#down.channel.send({ type: "request", name, md5: new Uint8Array(16) });
    outbox.expectAll();
    outbox.send("request", name, undefined, () => {});
  }

  /** Looks after deadlines, at the next of them. */
  #arm(): void {
    this.#cancelTimer();
    if (this.#isClosed) return;
    const listAtMs = this.#isListed ? Infinity : this.#listDueMs;
    const silentAtMs = this.isOurs ? this.#down.channel.heardMs + this.#settings.silenceMs : Infinity;
    const atMs = Math.min(listAtMs, silentAtMs, this.#outbox?.deadlineMs ?? Infinity);
    const nowMs = this.#ports.clock.monotonicMs();
    // Deadlines move without telling: a look every second costs nothing.
    const wakeMs = Math.max(nowMs, Math.min(atMs, nowMs + 1000));
    this.#cancelTimer = this.#ports.clock.wake(wakeMs, () => this.#tick());
  }

  #tick(): void {
    const nowMs = this.#ports.clock.monotonicMs();
    const { silenceMs } = this.#settings;
    if (!this.#isListed && nowMs >= this.#listDueMs) {
      if (this.#hasListBegun) {
        return this.terminate(
          new DrayError("timeout", "the server's list of files does not come to its end"),
        );
      }
      this.#host.listBegins(undefined);
      this.#live(false);
    }
    if (this.isOurs && nowMs >= this.#down.channel.heardMs + silenceMs) {
      this.terminate(new DrayError("timeout", `nothing was heard of the server for ${silenceMs / 1000} s`));
    } else if (this.#outbox?.expire() === "dead") {
      this.terminate(new DrayError("timeout", "the server does not answer"));
    }
    this.#arm();
  }

  /** Who has begun its list has one, however long it takes. */
  get #listDueMs(): number {
    const { listTimeoutMs, patience } = this.#settings;
    const heardMs = Math.max(...this.#lanes.map(({ channel }) => channel.heardMs));
    return heardMs + (this.#hasListBegun ? patience.requiredMs : listTimeoutMs);
  }

  #closed(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelTimer();
    this.#error ??= error ?? new DrayError("closed", "the server ended the connection");
    for (const { channel, inbox } of this.#lanes) {
      channel.terminate();
      inbox.close();
    }
    this.#outbox?.close();
    if (this.#isHandedOut) this.#host.closed(this.#error);
  }
}
