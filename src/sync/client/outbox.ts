import type { SyncNamedType } from "../../wire/sync-messages.ts";
import type { Clock, Hasher } from "../ports.ts";
import { AwaitedAnswers, type AnswerPatience, type Awaited } from "./awaited-answers.ts";
import type { Channel } from "./channel.ts";
import { md5Bytes } from "./md5-text.ts";
import { OutgoingFile, type OutgoingSource } from "./outgoing-file.ts";
import type { UploadEnd } from "./upload-run.ts";

export interface OutboxSettings {
  readonly chunkBytes: number;
  readonly patience: AnswerPatience;
  /** Towards our own server: bytes on their way that are not answered yet, at most; one chunk may be larger. */
  readonly windowBytes: number;
}

/** What one upload tells while it goes. */
export interface UploadEvents {
  /** Everything is there: to be written down before Close may make it the server's. @throws ends the upload */
  closing(md5: string): Promise<void>;
  progressed(bytes: number): void;
  /** Exactly once, last. `error`: what the local disk said. */
  ended(end: UploadEnd, md5: string | undefined, error: unknown): void;
}

/** Small messages that are on their way without an answer. */
const MAX_UNANSWERED = 512;
/** Files that the server has open, from the first chunk to Close; it refuses more than 64 unless it is told otherwise. */
const MAX_OPEN_THERE = 32;

/**
 * What goes to the server over one connection, and what is answered. Towards our own server many messages are on
 * their way at the same time, towards others one.
 */
export class Outbox {
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #hasher: Hasher;
  readonly #settings: OutboxSettings;
  readonly #answers: AwaitedAnswers;
  readonly #files = new Set<OutgoingFile>();
  /** Those that may have something to send, in the order of their turns. */
  readonly #active = new Set<OutgoingFile>();
  readonly #openThere = new Set<OutgoingFile>();
  /** Ready for their first chunk, and waiting until the server has fewer open. */
  readonly #atTheDoor = new Set<OutgoingFile>();
  readonly #messages: { type: SyncNamedType; name: string; md5: Uint8Array; awaited: Awaited }[] = [];
  #isOurs = false;
  #onTheirWayBytes = 0;
  #isClosed = false;

  constructor(channel: Channel, clock: Clock, hasher: Hasher, settings: OutboxSettings) {
    this.#channel = channel;
    this.#clock = clock;
    this.#hasher = hasher;
    this.#settings = settings;
    this.#answers = new AwaitedAnswers(settings.patience);
  }

  /** The server is ours: everything is answered, in order. */
  expectAll(): void {
    this.#isOurs = true;
    this.#answers.expectAll();
  }

  /**
   * Sends a file; `source.file` is closed at its end.
   * @param isCareful one chunk at a time even towards our own server
   * @returns breaks it off; what that returns: false when the server may have it already, and its answer decides
   */
  upload(
    file: { name: string; sizeBytes: number; isCareful: boolean },
    source: OutgoingSource,
    events: UploadEvents,
  ): () => boolean {
    const { name, sizeBytes, isCareful } = file;
    const { chunkBytes } = this.#settings;
    const isWindowed = this.#isOurs && !isCareful;
    const outgoing: OutgoingFile = new OutgoingFile(
      { name, sizeBytes, chunkBytes, isWindowed },
      source,
      this.#hasher,
      {
        changed: () => {
          this.#active.add(outgoing);
          this.pump();
        },
        closing: (md5) => events.closing(md5),
        gone: (lengthBytes) => {
          this.#onTheirWayBytes -= lengthBytes;
          if (this.#files.has(outgoing)) this.#active.add(outgoing);
        },
        confirmed: (lengthBytes) => events.progressed(lengthBytes),
        ended: (end, md5, error) => {
          for (const set of this.#sets()) set.delete(outgoing);
          events.ended(end, md5, error);
          this.pump();
        },
      },
    );
    this.#files.add(outgoing);
    this.#active.add(outgoing);
    this.pump();
    return () => {
      const isStopped = outgoing.stop();
      if (this.#files.has(outgoing)) this.#active.add(outgoing);
      this.pump();
      return isStopped;
    };
  }

  /** A Delete or a Request. @param answered told the status; "none" where the server gives none */
  send(
    type: "delete" | "request",
    name: string,
    md5: string | undefined,
    answered: (code: number | "none") => void,
  ): void {
    this.#messages.push({ type, name, md5: md5Bytes(md5), awaited: { kind: type, answered } });
    this.pump();
  }

  /** A status came over this connection. @returns false when nothing waited for it */
  status(code: number): boolean {
    const isAwaited = this.#answers.take(code, this.#clock.monotonicMs());
    this.pump();
    return isAwaited;
  }

  get deadlineMs(): number | undefined {
    return this.#answers.deadlineMs;
  }

  /** @returns "dead" when an answer is overdue that has to come */
  expire(): "fine" | "dead" {
    const state = this.#answers.expire(this.#clock.monotonicMs());
    this.pump();
    return state;
  }

  /** Sends what can be sent now. */
  pump(): void {
    while (!this.#isClosed && !this.#channel.isFull && this.#sendOne());
  }

  /** The connection is gone. Uploads end as "stopped", nothing else is told. */
  close(): void {
    this.#isClosed = true;
    for (const file of this.#files) file.abandon();
    for (const set of this.#sets()) set.clear();
  }

  #sendOne(): boolean {
    const isBusy = this.#answers.size > 0;
    if (this.#answers.size >= MAX_UNANSWERED) return false;
    if (!isBusy || this.#isOurs) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        this.#channel.send({ type: message.type, name: message.name, md5: message.md5 });
        this.#answers.add(message.awaited, this.#clock.monotonicMs());
        return true;
      }
    }
    for (const file of this.#active) {
      const outcome = this.#sendOf(file, isBusy);
      if (outcome === "waits") continue;
      // To the end of the line: each file has its turn.
      const isActive = this.#active.delete(file);
      if (outcome === "nothing") continue;
      if (isActive) this.#active.add(file);
      return true;
    }
    return this.#letIn();
  }

  /** @returns whether another file may go on */
  #letIn(): boolean {
    if (this.#openThere.size >= MAX_OPEN_THERE) return false;
    for (const next of this.#atTheDoor) {
      this.#atTheDoor.delete(next);
      this.#active.add(next);
      return true;
    }
    return false;
  }

  #sendOf(file: OutgoingFile, isBusy: boolean): "sent" | "waits" | "nothing" {
    const ready = file.ready();
    if (ready === undefined) return this.#prepare(file, isBusy);
    if (isBusy && !this.#isOurs && ready.kind !== "abort") return "waits";
    if (ready.kind === "chunk" && !this.#openThere.has(file)) {
      if (this.#openThere.size >= MAX_OPEN_THERE) {
        this.#atTheDoor.add(file);
        return "nothing";
      }
      this.#openThere.add(file);
    }
    if (ready.kind !== "chunk") this.#openThere.delete(file);
    if (ready.kind === "abort") {
      // Out with it first: its end may begin the same file anew.
      this.#channel.send({ type: "abort", name: file.name, md5: ready.md5 });
      file.take(ready);
      return "sent";
    }
    file.take(ready);
    if (ready.kind === "chunk") this.#channel.sendBytes(ready.bytes);
    else this.#channel.send({ type: ready.kind, name: file.name, md5: ready.md5 });
    this.#answers.add(ready.awaited, this.#clock.monotonicMs());
    return "sent";
  }

  #sets(): readonly Set<OutgoingFile>[] {
    return [this.#files, this.#active, this.#openThere, this.#atTheDoor];
  }

  /** Has the next chunk read and hashed. */
  #prepare(file: OutgoingFile, isBusy: boolean): "sent" | "waits" | "nothing" {
    if (isBusy && !this.#isOurs) return "waits";
    const lengthBytes = file.nextLengthBytes;
    if (lengthBytes === undefined) return "nothing";
    const isFull = this.#onTheirWayBytes + lengthBytes > this.#settings.windowBytes;
    if (isFull && this.#onTheirWayBytes > 0) return "waits";
    this.#onTheirWayBytes += lengthBytes;
    file.prepare();
    return "sent";
  }
}
