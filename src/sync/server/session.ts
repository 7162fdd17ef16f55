import { asDrayError } from "../../errors/dray-error.ts";
import { SyncDecoder } from "../../wire/sync-decoder.ts";
import { encodeSyncMessage } from "../../wire/sync-encoder.ts";
import {
  NO_MD5,
  SYNC_STATUS,
  type SyncEvent,
  type SyncSubject,
  hasStatus,
} from "../../wire/sync-messages.ts";
import { pairingToken } from "../../wire/sync-reserved.ts";
import type { Clock, Hasher, Link, TreePath } from "../ports.ts";
import type { Staging } from "../staging.ts";
import { checkedName } from "./checked-name.ts";
import type { Channel } from "./pairing.ts";
import { type Reply, Replies } from "./replies.ts";
import type { Roster } from "./roster.ts";
import type { StagedUpload } from "./changes.ts";
import { type IncomingChunk, Upload, type UploadLimits, isSameMd5 } from "./upload.ts";

/** Messages of one connection that wait for their answers; more are not read. */
const MAX_WAITING = 1024;
/** Names of refused uploads whose Close is still to come. */
const MAX_REFUSED = 1024;
/** Refusals that one connection has written into the log. */
const MAX_TOLD = 20;

/** What a session needs of its hub. */
export interface SessionHub {
  readonly clock: Clock;
  readonly hasher: Hasher;
  readonly staging: Staging;
  readonly roster: Roster;
  readonly limits: UploadLimits & { readonly maxUploads: number; readonly maxUploadsInAll: number };
  /** Uploads of all sessions. */
  openUploads: number;
  /** No new uploads: the hub is about to stop. */
  readonly isStopping: boolean;
  /** The connection's client is one of ours, as the token has shown. */
  isOurs(session: number): boolean;
  /** The client may have got the same file from us while it was sending it. */
  isDelivering(session: number, name: string, nowMs: number): boolean;
  evict(session: number, name: string): void;
  /** Makes an upload visible. @returns false when it was refused, and told why */
  publish(session: number, upload: StagedUpload): Promise<boolean>;
  /** @returns the code of the answer */
  remove(session: number, name: string, path: TreePath, md5: Uint8Array): Promise<number>;
  /** @returns the code for a client of ours; literal ones are only told when a file is in use */
  request(session: number, name: string, path: TreePath | undefined): number;
  named(session: number, token: string): void;
  status(session: number, code: number): void;
  /** A lock was let go of. */
  released(name: string): void;
  refused(session: number, name: string, why: string): void;
  warn(message: string): void;
  closed(session: number, error: Error | undefined): void;
  /** The peer sends nothing more, and all its messages are answered. */
  answeredAll(session: number): void;
  /** Nothing is under way, and the hub is about to stop. */
  isAtRest(session: number): void;
}

/** One connection: what comes in on it, and the answers. What is pushed to the client goes through a Feed. */
export class Session {
  readonly id: number;
  readonly channel: Channel;
  readonly link: Link;
  readonly #hub: SessionHub;
  readonly #decoder = new SyncDecoder();
  readonly #replies: Replies;
  readonly #open = new Map<string, Upload>();
  /** Uploads that are complete and are being made visible. */
  readonly #publishing = new Set<Upload>();
  readonly #refused = new Set<string>();
  #chunk:
    | { upload: Upload | undefined; incoming: IncomingChunk | undefined; reply: Reply; code: number }
    | undefined;
  #ahead = 0;
  #isPaused = false;
  #hasEnded = false;
  #told = 0;
  #isClosed = false;

  constructor(id: number, channel: Channel, link: Link, hub: SessionHub) {
    this.id = id;
    this.channel = channel;
    this.link = link;
    this.#hub = hub;
    this.#replies = new Replies((code) => {
      link.write(encodeSyncMessage({ type: "status", code }));
    });
  }

  /** Bytes of the peer. @throws DrayError "protocol" */
  data(bytes: Uint8Array): void {
    this.#decoder.push(bytes, (event) => this.#take(event));
    this.#flow();
  }

  drained(): void {
    this.#flow();
  }

  /** The peer sends nothing more. */
  ended(): void {
    this.#hasEnded = true;
    // The rest of a chunk that was begun will never come, and no answer is due to it.
    this.#chunk?.reply.settle(undefined);
    this.#chunk = undefined;
    this.#dropOpen();
    this.#flow();
  }

  closed(error: Error | undefined): void {
    this.#isClosed = true;
    this.#decoder.stop();
    this.#dropOpen();
    this.#hub.closed(this.id, error);
  }

  /** The hub is stopping: it is told when nothing is under way. */
  rest(): void {
    this.#flow();
  }

  /** Uploads that are under way. */
  get isBusy(): boolean {
    return this.#open.size > 0 || this.#publishing.size > 0 || this.#replies.waiting > 0;
  }

  get uploads(): string[] {
    return [...this.#open.keys()];
  }

  /** A delivery of this file to the same client began or ended. */
  overlap(name: string): void {
    const open = this.#open.get(name);
    if (open !== undefined) open.isOverlapped = true;
    for (const upload of this.#publishing) if (upload.name === name) upload.isOverlapped = true;
  }

  /** Somebody else has the lock now. */
  evicted(name: string): void {
    const upload = this.#open.get(name);
    if (upload === undefined) return;
    this.#forget(upload);
    upload.drop();
    this.#refuse(name);
  }

  #take(event: SyncEvent): void {
    switch (event.type) {
      case "chunkHead":
        return this.#chunkHead(event, event.sizeBytes);
      case "chunkData":
        return this.#chunkData(event.data);
      case "chunkEnd":
        return this.#chunkEnd();
      case "close":
        return this.#close(event);
      case "abort":
        return this.#abort(event);
      case "delete":
        return this.#delete(event);
      case "request":
        return this.#request(event);
      case "status":
        if (!hasStatus(event.code, "keepAlive")) this.#hub.status(this.id, event.code);
    }
  }

  #chunkHead(subject: SyncSubject, sizeBytes: number): void {
    const reply = this.#replies.expect();
    const upload = this.#uploadFor(subject);
    if (upload === undefined) {
      this.#chunk = { upload, incoming: undefined, reply, code: SYNC_STATUS.fileLocked };
      return;
    }
    const growth = upload.growthProblem(sizeBytes);
    const wrong = upload.sizeProblem(sizeBytes);
    if (growth !== undefined && wrong === undefined) {
      this.#end(upload, growth);
      this.#chunk = { upload: undefined, incoming: undefined, reply, code: SYNC_STATUS.fileLocked };
    } else if (wrong !== undefined) {
      const { code, isEnd } = upload.badSize();
      if (isEnd) this.#end(upload, `three times in a row ${wrong}`);
      this.#chunk = { upload: undefined, incoming: undefined, reply, code };
    } else {
      this.#chunk = { upload, incoming: upload.begin(sizeBytes, subject.md5), reply, code: 0 };
    }
  }

  #chunkData(data: Uint8Array): void {
    const { upload, incoming } = this.#chunk!;
    // What is refused is drained: behind it comes the next message.
    if (upload === undefined || incoming === undefined) return;
    upload.add(incoming, data);
    this.#hub.roster.progress(upload.name, this.id, this.#hub.clock.monotonicMs());
  }

  #chunkEnd(): void {
    const { upload, incoming, reply, code } = this.#chunk!;
    this.#chunk = undefined;
    if (upload === undefined || incoming === undefined) return reply.settle(code);
    upload.end(incoming, (answer) => {
      if (answer.isEnd && this.#open.get(upload.name) === upload)
        this.#end(upload, "its checksums were wrong three times in a row");
      reply.settle(answer.code);
      this.#flow();
    });
  }

  /** The upload that a chunk belongs to; undefined when it is refused. */
  #uploadFor(subject: SyncSubject): Upload | undefined {
    const { name } = subject;
    const known = name === undefined ? undefined : this.#open.get(name);
    if (known !== undefined) return known;
    const checked = checkedName(subject);
    if ("problem" in checked) return this.#refuseNew(checked.shown, checked.problem);
    const hub = this.#hub;
    if (hub.isStopping) return this.#refuseNew(checked.name, "the server is stopping");
    const { maxUploads, maxUploadsInAll } = hub.limits;
    if (this.#open.size >= maxUploads || hub.openUploads >= maxUploadsInAll)
      return this.#refuseNew(checked.name, "too many files are being uploaded");
    const nowMs = hub.clock.monotonicMs();
    const lock = hub.roster.lock(checked.name, this.id, nowMs);
    if (!lock.granted) return this.#refuseNew(checked.name, lock.why);
    if (lock.evicted !== undefined) hub.evict(lock.evicted, checked.name);
    this.#refused.delete(checked.name);
    return this.#openUpload(checked.name, checked.path, nowMs);
  }

  #openUpload(name: string, path: TreePath, nowMs: number): Upload {
    const hub = this.#hub;
    const upload: Upload = new Upload(name, path, nowMs, {
      hasher: hub.hasher,
      limits: hub.limits,
      isCheckedWhole: hub.isOurs(this.id),
      stage: () => hub.staging.create(),
      failed: (error) => {
        hub.warn(`Cannot take ${JSON.stringify(name)} from ${this.link.peer}: ${error.message}`);
        if (this.#open.get(name) === upload) this.#end(upload, error.message);
      },
      isAhead: (until) => this.#holdBack(until),
    });
    upload.isOverlapped = hub.isDelivering(this.id, name, nowMs);
    this.#open.set(name, upload);
    hub.openUploads++;
    return upload;
  }

  #refuseNew(name: string, why: string): undefined {
    this.#refuse(name);
    this.#tellRefused(name, why);
    return undefined;
  }

  /** Ends an upload that goes no further: its Close is not to make an empty file. */
  #end(upload: Upload, why: string): void {
    this.#forget(upload);
    upload.drop();
    this.#refuse(upload.name);
    this.#unlock(upload.name);
    this.#tellRefused(upload.name, why);
  }

  #forget(upload: Upload): void {
    if (this.#open.get(upload.name) !== upload) return;
    this.#open.delete(upload.name);
    this.#hub.openUploads--;
  }

  #refuse(name: string): void {
    this.#refused.delete(name);
    this.#refused.add(name);
    if (this.#refused.size <= MAX_REFUSED) return;
    for (const oldest of this.#refused) return void this.#refused.delete(oldest);
  }

  #tellRefused(name: string, why: string): void {
    if (this.#told++ < MAX_TOLD) this.#hub.refused(this.id, name, why);
  }

  #close(subject: SyncSubject): void {
    const reply = this.#replies.expect();
    const { name = "" } = subject;
    const upload = this.#open.get(name) ?? this.#bareClose(subject);
    if (upload === undefined) {
      // The seed's clients expect nothing behind a refusal; ours count the answers.
      reply.settle(this.#hub.isOurs(this.id) ? SYNC_STATUS.fileLocked : undefined);
      return;
    }
    this.#forget(upload);
    this.#publishing.add(upload);
    void this.#publish(upload, subject.md5, reply);
  }

  /** A Close without chunks makes an empty file, if it cannot be the end of something else (decision 5). */
  #bareClose(subject: SyncSubject): Upload | undefined {
    const { name = "", md5 } = subject;
    if (this.#refused.delete(name)) return undefined;
    const isEmpty = isSameMd5(md5, NO_MD5) || isSameMd5(md5, this.#hub.hasher.md5(new Uint8Array(0)));
    if (!isEmpty) {
      this.#tellRefused(checkedName(subject).shown, "the end of a file of which nothing came");
      return undefined;
    }
    const upload = this.#uploadFor(subject);
    this.#refused.delete(name);
    return upload;
  }

  async #publish(upload: Upload, declaredMd5: Uint8Array, reply: Reply): Promise<void> {
    const { name } = upload;
    let code: number | undefined = SYNC_STATUS.fileLocked;
    try {
      const complete = await upload.complete();
      if (complete !== undefined) {
        if (this.#isWhole(upload, complete.md5, declaredMd5)) {
          const published = await this.#hub.publish(this.id, {
            name,
            path: upload.path,
            upload,
            ...complete,
          });
          if (published) code = SYNC_STATUS.ok;
        } else {
          code = SYNC_STATUS.badChecksum;
        }
      } else if (!this.#hub.isOurs(this.id)) {
        // The last chunk was refused: its answer says it.
        code = undefined;
      }
    } catch (error) {
      this.#hub.warn(
        `Cannot keep ${JSON.stringify(name)} from ${this.link.peer}: ${asDrayError(error).message}`,
      );
    }
    upload.drop();
    this.#publishing.delete(upload);
    this.#unlock(name);
    reply.settle(code);
    this.#flow();
  }

  /** Whether the whole file is what the Close says. A third party's digest is not believed (decision 2). */
  #isWhole(upload: Upload, md5: Uint8Array, declaredMd5: Uint8Array): boolean {
    if (isSameMd5(md5, declaredMd5)) return true;
    if (this.#hub.isOurs(this.id)) {
      this.#tellRefused(upload.name, "the digest of the whole file is not that of what arrived");
      return false;
    }
    if (!isSameMd5(declaredMd5, NO_MD5) && this.#told++ < MAX_TOLD)
      this.#hub.warn(
        `${this.link.peer} closed ${JSON.stringify(upload.name)} with a digest that is not the file's; it is accepted, and what it replaces is kept`,
      );
    return true;
  }

  #abort({ name = "" }: SyncSubject): void {
    this.#refused.delete(name);
    const upload = this.#open.get(name);
    if (upload === undefined) return;
    this.#forget(upload);
    upload.drop();
    this.#unlock(name);
  }

  #delete(subject: SyncSubject): void {
    const reply = this.#replies.expect();
    const checked = checkedName(subject);
    if ("problem" in checked) return reply.settle(SYNC_STATUS.noFile);
    // Who deletes what it is sending has changed its mind.
    this.#abort(subject);
    if (this.#hub.isStopping) return reply.settle(SYNC_STATUS.fileLocked);
    void this.#remove(checked.name, checked.path, subject.md5, reply);
  }

  async #remove(name: string, path: TreePath, md5: Uint8Array, reply: Reply): Promise<void> {
    let code: number = SYNC_STATUS.fileLocked;
    try {
      code = await this.#hub.remove(this.id, name, path, md5);
    } catch (error) {
      this.#hub.warn(
        `Cannot delete ${JSON.stringify(name)} for ${this.link.peer}: ${asDrayError(error).message}`,
      );
    }
    reply.settle(code);
    this.#flow();
  }

  #request(subject: SyncSubject): void {
    const { name } = subject;
    const token = name === undefined ? undefined : pairingToken(name);
    if (token !== undefined) {
      this.#replies.expect().settle(SYNC_STATUS.ok);
      return this.#hub.named(this.id, token);
    }
    const checked = checkedName(subject);
    const code =
      "problem" in checked
        ? this.#hub.request(this.id, checked.shown, undefined)
        : this.#hub.request(this.id, checked.name, checked.path);
    // To the seed's clients only one of the answers means something.
    if (this.#hub.isOurs(this.id) || hasStatus(code, "fileInUse")) this.#replies.expect().settle(code);
  }

  #unlock(name: string): void {
    if (this.#hub.roster.unlock(name, this.id)) this.#hub.released(name);
  }

  #dropOpen(): void {
    for (const upload of [...this.#open.values()]) {
      this.#forget(upload);
      upload.drop();
      this.#unlock(upload.name);
    }
  }

  #holdBack(until: Promise<unknown>): void {
    this.#ahead++;
    const goOn = (): void => {
      this.#ahead--;
      this.#flow();
    };
    until.then(goOn, goOn);
  }

  /** Reads on, or not: a peer that does not take its answers, or is ahead of us, waits. */
  #flow(): void {
    if (this.#isClosed) return;
    if (this.#hasEnded && this.#replies.waiting === 0) this.#hub.answeredAll(this.id);
    if (this.#hub.isStopping && !this.isBusy) this.#hub.isAtRest(this.id);
    const mustWait = this.#ahead > 0 || this.#replies.waiting > MAX_WAITING || this.link.isFull;
    if (mustWait === this.#isPaused) return;
    this.#isPaused = mustWait;
    if (mustWait) this.link.pause();
    else this.link.resume();
  }
}
