import * as fs from "node:fs";
import * as path from "node:path";
import { ContainedRoot } from "../disk/contained-root.ts";
import { DirectoryLock } from "../disk/directory-lock.ts";
import { isSameMtime } from "../disk/file-facts.ts";
import { STATE_DIRECTORY } from "../disk/trash.ts";
import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { DoneResponder } from "../transfer/done-responder.ts";
import { type PutMessage, PutResponder } from "../transfer/put-responder.ts";
import type { Responder } from "../transfer/responder.ts";
import type { ClientIdentity } from "../transfer/session.ts";
import type { Message } from "../wire/messages.ts";
import { quoteName } from "../wire/names.ts";
import { ChangeQueue } from "./change-queue.ts";
import { OwnedTree } from "./owned-tree.ts";
import { OwnerJournal } from "./owner-journal.ts";
import { OwnerTidy } from "./owner-tidy.ts";
import { PartStore } from "./part-store.ts";
import { Quota, type QuotaLimits } from "./quota.ts";
import { TrashBin } from "./trash-bin.ts";
import { RemoveChange, RenameChange, otherFileSystem } from "./tree-changes.ts";
import { Upload, type UploadContext } from "./upload.ts";
import { parseWrittenName } from "./written-name.ts";

export interface WriteSettings extends QuotaLimits {
  /** What is served, and may be written to. */
  directory: string;
  /** How long replaced and removed files are kept in the trash. */
  keepTrashMs: number;
}

export interface WriteLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** How long a client may send nothing of a file that it was told to send. */
const STALL_LIMIT_MS = 60_000;
/** After so long without a byte, the same owner may go on with the upload over another connection. */
const TAKE_OVER_MS = 5_000;
const SWEEP_INTERVAL_MS = 5_000;
const TIDY_INTERVAL_MS = 3_600_000;

/** What clients may change below a served directory: PUT, REMOVE and RENAME, owners, quotas, trash. */
export class Writes {
  readonly #log: WriteLog;
  readonly #lock: DirectoryLock;
  readonly #owners: OwnerJournal;
  readonly #tidy: OwnerTidy;
  readonly #context: UploadContext;
  /** Names that a change is under way for: with the upload, if it is one. */
  readonly #busy = new Map<string, Upload | undefined>();
  readonly #timers: Timer[];

  /** @throws DrayError when the directory cannot be written to, or another process has it */
  constructor(settings: WriteSettings, log: WriteLog) {
    this.#log = log;
    const { directory } = settings;
    const statePath = path.join(directory, STATE_DIRECTORY);
    try {
      fs.mkdirSync(statePath, { recursive: true });
      this.#lock = new DirectoryLock(statePath);
    } catch (error) {
      throw withContext(`Cannot let clients write to ${quoteName(directory)}`, error);
    }
    const root = new ContainedRoot(directory);
    this.#owners = new OwnerJournal(path.join(statePath, "owners.db"), (why, keptAs) =>
      log.error(
        `${why}. It is kept as ${quoteName(keptAs)}; what clients have put so far belongs to none of them any more`,
      ),
    );
    const quota = new Quota(settings);
    quota.fileBytes = this.#owners.totalBytes();
    const tree = new OwnedTree(root, this.#owners);
    this.#tidy = new OwnerTidy(this.#owners, tree, (file) => this.isBusy(file));
    this.#context = {
      tree,
      quota,
      bin: new TrashBin(directory, settings.keepTrashMs),
      parts: new PartStore(path.join(statePath, "uploads"), Date.now()),
      changes: new ChangeQueue(root, this.#owners, (error) => log.warn(error.message)),
      nowMs: () => Date.now(),
    };
    this.#timers = [
      setInterval(() => this.#endStalled(), SWEEP_INTERVAL_MS),
      setInterval(() => void this.#cleanUp(), TIDY_INTERVAL_MS),
    ];
    void this.#cleanUp();
  }

  /**
   * The answer to a request that changes something; undefined for every other one.
   * @throws DrayError to refuse it
   */
  respond(
    request: Message,
    requestId: number,
    wake: () => void,
    client: ClientIdentity,
  ): Responder | undefined {
    // Without a token, or with one that has no name, all clients are one owner.
    const owner = client.name ?? "";
    if (request.type === "put") return this.#put(request, requestId, wake, owner);
    if (request.type === "remove")
      return new DoneResponder(requestId, this.#remove(request.path, owner), wake);
    if (request.type === "rename")
      return new DoneResponder(requestId, this.#rename(request.from, request.to, owner), wake);
    return undefined;
  }

  /** Whether a change is under way for a file. */
  isBusy(path: string): boolean {
    return this.#busy.has(path);
  }

  /** To be called when no client is connected any more; resolves when all that was under way is on the disk. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#tidy.stop();
    await this.#context.changes.idle();
    this.#context.bin.close();
    this.#context.tree.root.close();
    this.#owners.close();
    this.#lock.release();
  }

  #put(put: PutMessage, requestId: number, wake: () => void, owner: string): Responder {
    const components = parseWrittenName(put.path);
    const file = components.join("/");
    this.#letTakeOver(file, put, owner);
    return this.#locking([file], () => {
      const upload = this.#begin(put, components, owner, () => this.#busy.delete(file));
      this.#busy.set(file, upload);
      return new PutResponder(put, requestId, upload, wake);
    });
  }

  /** What can be refused is refused before anything is sent. */
  #begin(put: PutMessage, components: readonly string[], owner: string, over: () => void): Upload {
    const { tree, parts, quota, bin } = this.#context;
    tree.root.forget();
    const there = tree.find(components, owner);
    const facts = there === undefined ? undefined : tree.look(components);
    const sameVersion =
      facts !== undefined &&
      facts.sizeBytes === put.size &&
      isSameMtime(facts.mtimeUs, put.mtimeUs) &&
      ((facts.mode & 0o111) !== 0) === ((put.mode & 0o111) !== 0);
    if (!sameVersion || put.eager) {
      using nearest = tree.holdNearest(components);
      if (fs.statSync(nearest.path).dev !== parts.device) throw otherFileSystem();
      const version = { path: components.join("/"), sizeBytes: put.size, mtimeUs: put.mtimeUs };
      const parkedBytes = put.eager ? 0 : parts.parkedBytesOf(owner, version);
      quota.parkedBytes = parts.parkedBytes;
      quota.trashBytes = bin.sizeBytes;
      const missingBytes = quota.missingBytes(put.size - parkedBytes);
      if (missingBytes > 0) bin.makeRoom(missingBytes);
      quota.trashBytes = bin.sizeBytes;
      quota.check(put.size, parkedBytes);
    }
    return new Upload(this.#context, put, components, owner, sameVersion, over);
  }

  /** A client whose connection broke need not wait until the server has noticed that, too. */
  #letTakeOver(file: string, put: PutMessage, owner: string): void {
    const upload = this.#busy.get(file);
    if (upload === undefined || upload.owner !== owner) return;
    const { sizeBytes, mtimeUs } = upload.version;
    if (sizeBytes !== put.size || mtimeUs !== put.mtimeUs) return;
    if (!upload.isSilentSince(performance.now() - TAKE_OVER_MS)) return;
    upload.breakOff(new DrayError("locked", "the upload goes on over another connection"));
  }

  async #remove(name: string, owner: string): Promise<void> {
    const components = parseWrittenName(name);
    const change = new RemoveChange(this.#context, components, owner);
    await this.#change([components.join("/")], change);
  }

  async #rename(fromName: string, toName: string, owner: string): Promise<void> {
    const from = parseWrittenName(fromName);
    const to = parseWrittenName(toName);
    await this.#change([from.join("/"), to.join("/")], new RenameChange(this.#context, from, to, owner));
  }

  async #change(files: readonly string[], change: RemoveChange | RenameChange): Promise<void> {
    await this.#locking(files, async () => {
      try {
        await this.#context.changes.make(change);
      } finally {
        for (const file of files) this.#busy.delete(file);
      }
    });
  }

  /** Locks names; `work` unlocks them when it is over, unless it throws. @throws DrayError "locked" */
  #locking<T>(files: readonly string[], work: () => T): T {
    for (const file of files) {
      if (this.#busy.has(file))
        throw new DrayError("locked", `another client is just changing ${quoteName(file)}`, {
          retryAfterMs: 1_000,
        });
    }
    for (const file of files) this.#busy.set(file, undefined);
    try {
      return work();
    } catch (error) {
      for (const file of files) this.#busy.delete(file);
      throw error;
    }
  }

  #endStalled(): void {
    const momentMs = performance.now() - STALL_LIMIT_MS;
    for (const upload of [...this.#busy.values()]) {
      if (upload?.isSilentSince(momentMs) === true)
        upload.breakOff(new DrayError("timeout", "nothing of the file has come for a while"));
    }
  }

  async #cleanUp(): Promise<void> {
    const { parts, bin, quota } = this.#context;
    try {
      parts.sweep(Date.now());
      await bin.sweep(Date.now());
      quota.fileBytes -= await this.#tidy.run();
    } catch (error) {
      this.#log.warn(`Cannot tidy up behind uploads: ${asDrayError(error).message}`);
    }
  }
}
