import { asDrayError } from "../../errors/dray-error.ts";
import { SYNC_STATUS, hasStatus } from "../../wire/sync-messages.ts";
import { syncedPath, twinKey, TwinIndex } from "../names.ts";
import type { Stat } from "../ports.ts";
import type { Publisher } from "../publication.ts";
import type { SkipReason } from "../scan.ts";
import { fileStatus, stateOfSkipped, type FileStatus } from "./agent-status.ts";
import type { Core } from "./core.ts";
import { Deletes, type Hold } from "./deletes.ts";
import type { Arrived } from "./inbox.ts";
import { Landing } from "./landing.ts";
import { HashQueue } from "./hash-queue.ts";
import { NOT_LOOKED_AT, type PathEntry } from "./path-book.ts";
import { baseFor, localOf, recovered, stampOf } from "./path-record.ts";
import { isStamped, reconcile, type Base, type Local, type Remote, type Verdict } from "./reconcile.ts";
import { RequestDesk } from "./request-desk.ts";
import { Uploads } from "./uploads.ts";

export interface PathKeeperHost {
  /** The id that the folder's marker should have. */
  rootId(): string;
  ignoredBy(name: string): string | undefined;
  /** Changes that are not at rest. */
  pendingLooks(): number;
}

/** Requests whose content has not come; our own server takes many. */
const REQUESTS = { maxOutstanding: 128, patienceMs: 120_000 };
/** After a delivery that could not be put in its place, doubling. */
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

const UNKNOWN_FILE: Remote = {
  kind: "file",
  md5: undefined,
  sizeBytes: undefined,
  mtimeUs: undefined,
  sequence: undefined,
};

const NOT_A_FILE = { directory: "directory", symlink: "symbolic link", special: "special file" } as const;

/** Decides for each path what is to be done, whatever happened to it, and has it done. */
export class PathKeeper {
  readonly #core: Core;
  readonly #host: PathKeeperHost;
  readonly #landing: Landing;
  readonly #uploads: Uploads;
  readonly #deletes: Deletes;
  readonly #requests = new RequestDesk(REQUESTS);
  readonly #twins = new TwinIndex();
  /** Names that a twin keeps out. */
  readonly #twinned = new Set<string>();
  /** Names of this machine that the server does not take, by the twin that it has. */
  readonly #twinsThere = new Map<string, string>();
  /** What cannot be synced, and why. */
  readonly #skipped = new Map<string, { why: SkipReason | "refused"; detail: string }>();
  readonly #hashes: HashQueue;
  #landings = 0;
  #isScanned = false;
  #isFirstPass = false;
  #cancelTick: () => void = () => {};
  #isIdle = false;

  constructor(core: Core, publisher: Publisher, host: PathKeeperHost) {
    this.#core = core;
    this.#host = host;
    this.#landing = new Landing(core.ports, core.book, publisher, core.syncs, core.settings, {
      received: (name, sizeBytes) => core.tell({ type: "received", name, sizeBytes }),
      conflict: (name, copy) => {
        core.tell({ type: "conflict", name, ...(copy === undefined ? {} : { copy }) });
        if (copy !== undefined) core.hint(copy);
      },
      deletedHere: (name) => core.tell({ type: "deleted", name, side: "here" }),
      touched: (name) => core.hint(name),
    });
    this.#hashes = new HashQueue(core);
    this.#uploads = new Uploads(core);
    this.#deletes = new Deletes(core, {
      rootId: () => host.rootId(),
      isUploading: (sizeBytes) => this.#uploads.hasSize(sizeBytes),
      held: () => this.#checkIdle(),
      removeHere: async (entry) => {
        await this.#exclusively(entry, () => this.#landing.removeAgreed(entry));
        this.consider(entry);
      },
    });
    // What was synced before stays so, in whatever order a scan finds it and its twin.
    for (const entry of core.book.entries()) {
      if (entry.base !== undefined) entry.isSpelled = this.#twins.add(entry.name) === undefined;
    }
  }

  get hold(): Hold | undefined {
    return this.#deletes.hold;
  }

  isHeld(name: string): boolean {
    return this.#deletes.isHeld(name);
  }

  approve(): number {
    return this.#deletes.approve();
  }

  /** What is gone here and held is forgotten: so the server's is wanted. @returns how many files */
  bringBack(): number {
    const names = this.#deletes.hold === undefined ? [] : [...this.#deletes.names()];
    for (const name of names) {
      const entry = this.#core.book.at(name);
      this.#core.book.recordSoon(entry, { base: undefined, intent: undefined });
      this.consider(entry);
    }
    return names.length;
  }

  close(): void {
    this.#deletes.close();
    this.#cancelTick();
  }

  // What the folder's user does.

  /** @returns whether nothing has happened to it since it was last known */
  recognizes(name: string, stat: Stat): boolean {
    const entry = this.#core.book.at(name);
    const local = localOf(stat);
    if (local.kind !== "file") return false;
    // It is there, whatever it holds: until it has come to rest nothing is decided about it.
    if (entry.local.kind === "absent") entry.local = NOT_LOOKED_AT;
    if (entry.local.kind === "file") return isStamped(entry.local, local);
    if (entry.base === undefined || entry.intent !== undefined || !isStamped(entry.base, local)) return false;
    this.#note(entry, { ...local, md5: entry.base.md5 });
    return true;
  }

  settled(name: string, stat: Stat | undefined): void {
    const found = syncedPath(name, this.#core.settings.platform);
    if ("problem" in found) return;
    const local = localOf(stat);
    const known = this.#core.book.get(name);
    if (known === undefined && local.kind !== "file") return this.#checkIdle();
    const entry = known ?? this.#core.book.at(name);
    // One that was refused for good is tried again with its next content.
    if (entry.notBeforeMs === Infinity) entry.notBeforeMs = 0;
    this.#note(entry, local);
    this.consider(entry);
  }

  *knownBelow(directory: string): Generator<string> {
    for (const entry of this.#core.book.from(directory)) {
      if (entry.local.kind !== "absent") yield entry.name;
    }
  }

  skip(name: string, why: SkipReason, detail: string): void {
    this.#skipped.set(name, { why, detail });
  }

  rested(): void {
    this.#checkIdle();
  }

  scanBegins(): void {
    for (const [name, { why }] of this.#skipped) if (why !== "refused") this.#skipped.delete(name);
  }

  /** @returns whether that was the first one */
  scanEnded(): boolean {
    const isFirst = !this.#isScanned;
    this.#isScanned = true;
    this.#checkIdle();
    return isFirst;
  }

  // What the server does.

  connected(isOurs: boolean): void {
    this.#uploads.connected(isOurs);
    this.#requests.clear();
    this.#isFirstPass = true;
    for (const entry of [...this.#core.book.entries()]) {
      entry.notBeforeMs = 0;
      this.consider(entry);
    }
    this.#isFirstPass = false;
    this.#isIdle = false;
    this.#checkIdle();
  }

  disconnected(): void {
    this.#requests.clear();
    for (const entry of this.#core.book.entries()) if (entry.work === "removing") entry.work = undefined;
  }

  refusal(name: string): string | undefined {
    const found = syncedPath(name, this.#core.settings.platform);
    if ("problem" in found) return found.problem;
    const ignored = this.#host.ignoredBy(name);
    if (ignored !== undefined) return ignored;
    const twin = this.#twins.twinOf(name);
    if (twin === undefined) return undefined;
    this.#twinned.add(name);
    this.#expectLater(name);
    return `differs from ${twin} only in case or in the spelling of its letters`;
  }

  obstacle(name: string): string | undefined {
    const found = syncedPath(name, this.#core.settings.platform);
    if ("problem" in found) return undefined; // the list of all files
    try {
      const kind = this.#core.ports.tree.stat(found.path)?.kind ?? "file";
      return kind === "file" ? undefined : `has no room here: a ${NOT_A_FILE[kind]} has its name`;
    } catch (error) {
      return `has no room here: ${asDrayError(error).message}`;
    }
  }

  refused(name: string, why: string): void {
    this.#settleRequest(name);
    this.#skipped.set(name, { why: "refused", detail: why });
    this.#core.tell({ type: "refused", name, message: `it ${why}` });
  }

  /** Something here does not let it in; it is asked for again. */
  failed(name: string, why: string): void {
    const entry = this.#expectLater(name);
    this.#failed(entry, `it ${why}`);
    this.consider(entry);
  }

  /** The server has it, and nothing more is known of it. */
  #expectLater(name: string): PathEntry {
    const entry = this.#core.book.at(name);
    entry.remote = UNKNOWN_FILE;
    return entry;
  }

  progressed(name: string): void {
    this.#requests.progressed(name, this.#core.ports.clock.monotonicMs());
  }

  async arrived(file: Arrived, isOurs: boolean): Promise<number> {
    const entry = this.#core.book.at(file.name);
    if (file.closeMd5 !== undefined && file.closeMd5 !== file.md5) {
      if (isOurs) {
        // The server sends it once more, with digests of its chunks.
        file.staged.discard();
        return SYNC_STATUS.badChecksum;
      }
      // Others put all kinds of things there; the old content is in the versions.
      this.#core.tell({ type: "warning", message: `${file.name} came with a digest that is not its own` });
    }
    return await this.#land(entry, () => this.#landing.arrived(entry, file));
  }

  async deleted(name: string, md5: string | undefined): Promise<number> {
    const entry = this.#core.book.get(name);
    if (entry === undefined) return SYNC_STATUS.noFile;
    const code = await this.#land(entry, () => this.#landing.deleted(entry, md5));
    this.#freeTwin(name);
    return code;
  }

  /** From our own server Abort says that it begins anew. From others it says what the seed says: the file goes. */
  aborted(name: string, wasComing: boolean, isOurs: boolean): void {
    const entry = this.#core.book.get(name);
    if (isOurs || !wasComing || entry === undefined) return;
    const work = async (): Promise<number> => {
      await this.#landing.removeAgreed(entry);
      entry.remote = UNKNOWN_FILE;
      return SYNC_STATUS.ok;
    };
    void this.#land(entry, work);
  }

  /** @returns the answer; never throws */
  async #land(entry: PathEntry, work: () => Promise<number>): Promise<number> {
    this.#landings++;
    try {
      const code = await this.#exclusively(entry, work);
      entry.failures = 0;
      entry.problem = undefined;
      this.#skipped.delete(entry.name);
      return code;
    } catch (error) {
      return this.#failed(entry, asDrayError(error).message);
    } finally {
      this.#landings--;
      this.consider(entry);
      // Who came makes room for who is still to be asked for.
      this.#sendRequests();
    }
  }

  async #exclusively<T>(entry: PathEntry, work: () => Promise<T>): Promise<T> {
    return await this.#core.turns.run(entry.name, async () => {
      // From here on: at the end of the upload that gives way another one must not begin.
      entry.work = "landing";
      try {
        await this.#uploads.yieldTo(entry);
        this.#settleRequest(entry.name);
        return await work();
      } finally {
        entry.work = undefined;
        this.#noteTwin(entry);
      }
    });
  }

  #failed(entry: PathEntry, why: string): number {
    const nowMs = this.#core.ports.clock.monotonicMs();
    const delayMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(entry.failures, 10));
    entry.failures++;
    entry.problem = `the server's content cannot be put here: ${why}`;
    entry.notBeforeMs = nowMs + delayMs;
    this.#settleRequest(entry.name);
    this.#core.tell({ type: "refused", name: entry.name, message: entry.problem });
    return SYNC_STATUS.fileInUse;
  }

  // What is to be done.

  #note(entry: PathEntry, local: Local): void {
    const { book } = this.#core;
    const before = entry.local;
    const ignored = local.kind === "file" ? this.#host.ignoredBy(entry.name) : undefined;
    if (ignored !== undefined) entry.local = { kind: "other", what: `a file that ${ignored}` };
    else if (local.kind === "file" && before.kind === "file" && isStamped(before, local)) {
      entry.local = { ...local, md5: local.md5 ?? before.md5 };
    } else entry.local = local;
    if (entry.intent !== undefined && entry.intent.kind !== "upload") {
      book.recordSoon(entry, recovered(entry, local));
    }
    // While nobody looked it vanished: by the literal rules it is given back.
    if (before === NOT_LOOKED_AT && local.kind === "absent" && this.#core.settings.resurrects) {
      book.recordSoon(entry, { base: undefined, intent: undefined });
    }
    this.#noteTwin(entry);
  }

  /** Of names that only a careless eye takes for different, the first one is synced. */
  #noteTwin(entry: PathEntry): void {
    const isThere = entry.local.kind === "file";
    if (isThere && !entry.isSpelled) {
      const twin = this.#twins.add(entry.name);
      if (twin === undefined) entry.isSpelled = true;
      else {
        this.#twinned.add(entry.name);
        const what = `a name that differs from ${twin} only in case or in the spelling of its letters`;
        entry.local = { kind: "other", what };
      }
    } else if (!isThere && entry.isSpelled && entry.base === undefined) {
      entry.isSpelled = false;
      this.#twins.remove(entry.name);
      for (const name of this.#twinned) this.#retryTwin(name);
    }
  }

  /** The server has a name that differs only in case: it would refuse this one again and again. */
  #hasTwinThere(entry: PathEntry): boolean {
    const key = twinKey(entry.name);
    for (const name of this.#twinned) {
      const other = this.#core.book.get(name);
      if (name === entry.name || twinKey(name) !== key || other?.remote.kind !== "file") continue;
      this.#twinsThere.set(name, entry.name);
      this.#uploads.drop(entry.name);
      entry.problem = `the server has ${name}, which differs only in case or in the spelling of its letters`;
      return true;
    }
    return false;
  }

  /** The server has deleted a name: what it kept out may go there now. */
  #freeTwin(name: string): void {
    const kept = this.#twinsThere.get(name);
    if (kept === undefined) return;
    this.#twinsThere.delete(name);
    this.#twinned.delete(name);
    this.#skipped.delete(name);
    const entry = this.#core.book.get(kept);
    if (entry !== undefined) this.consider(entry);
  }

  #retryTwin(name: string): void {
    if (this.#twins.twinOf(name) !== undefined) return;
    this.#twinned.delete(name);
    this.#skipped.delete(name);
    const entry = this.#core.book.get(name);
    if (entry === undefined) return;
    if (entry.local.kind === "other") this.#core.hint(name);
    else this.consider(entry);
  }

  *files(isOnline: boolean): Generator<FileStatus> {
    for (const entry of this.#core.book.entries()) yield fileStatus(entry, isOnline, this.isHeld(entry.name));
    for (const [name, { why, detail }] of this.#skipped) {
      if (this.#isStillSkipped(name, why)) yield { name, state: stateOfSkipped(why), why: detail };
    }
  }

  /** What the last scan left out may be gone, or a directory may not be empty any more. */
  #isStillSkipped(name: string, why: SkipReason | "refused"): boolean {
    if (this.#core.book.get(name)?.local.kind === "file") return false;
    if (why !== "empty-directory" && why !== "ignored" && why !== "symlink") return true;
    try {
      const path = name.split("/");
      const { tree } = this.#core.ports;
      return why === "empty-directory" ? tree.list(path).length === 0 : tree.stat(path) !== undefined;
    } catch {
      return false;
    }
  }

  /** Decides anew, and begins what is to be done. */
  consider(entry: PathEntry): void {
    this.#isIdle = false;
    const online = this.#core.online();
    const isBusy = entry.work !== undefined || entry.local === NOT_LOOKED_AT;
    if (online === undefined || !this.#isScanned || isBusy) return this.#checkIdle();
    const base = baseFor(entry, entry.remote);
    const verdict = this.#verdict(entry, base, online.isOurs);
    const { action } = verdict;
    if (action !== "upload") this.#uploads.drop(entry.name);
    if (action !== "request" && action !== "conflict" && action !== "ask") this.#settleRequest(entry.name);
    if (action !== "delete-remote" && action !== "delete-local") this.#deletes.drop(entry.name);
    this.#act(entry, base, verdict);
    this.#noteTwin(entry);
    this.#checkIdle();
  }

  #verdict(entry: PathEntry, base: Base | undefined, isOurs: boolean): Verdict {
    const nowUs = this.#core.ports.clock.wallMs() * 1000;
    const resurrects = this.#isFirstPass && this.#core.settings.resurrects;
    return reconcile(base, entry.local, entry.remote, { nowUs, canAsk: isOurs, resurrects });
  }

  #act(entry: PathEntry, base: Base | undefined, verdict: Verdict): void {
    const { book } = this.#core;
    switch (verdict.action) {
      case "in-sync":
        if (entry.intent !== undefined) book.recordSoon(entry, { base, intent: undefined });
        return this.#fine(entry);
      case "adopt":
        this.#adopt(entry, base);
        return this.#fine(entry);
      case "forget":
        if (entry.base !== undefined || entry.intent !== undefined) {
          book.recordSoon(entry, { base: undefined, intent: undefined });
        }
        this.#noteTwin(entry);
        return book.tidy(entry);
      case "hash":
        return this.#hash(entry);
      case "ignore":
        entry.problem = verdict.why;
        return;
      case "request": {
        // It would be sent whole, only to be refused.
        const ignored = this.#host.ignoredBy(entry.name);
        if (ignored === undefined) return this.#whenDue(entry, base, verdict.action);
        this.#skipped.set(entry.name, { why: "refused", detail: ignored });
        return;
      }
      case "delete-local":
        return verdict.isToldSo ? this.#whenDue(entry, base, verdict.action) : this.#deletes.wantHere(entry);
      default:
        return this.#whenDue(entry, base, verdict.action);
    }
  }

  /** What goes to the server; after a failure it waits a while. */
  #whenDue(entry: PathEntry, base: Base | undefined, action: Verdict["action"]): void {
    const nowMs = this.#core.ports.clock.monotonicMs();
    if (nowMs < entry.notBeforeMs) {
      this.#uploads.drop(entry.name);
      if (entry.notBeforeMs < Infinity) this.#core.considerAt(entry, entry.notBeforeMs);
      return;
    }
    if (action === "upload" && entry.local.kind === "file") {
      if (this.#hasTwinThere(entry)) return;
      this.#uploads.want(entry, entry.local.sizeBytes);
    } else if (action === "delete-remote" && base !== undefined) {
      // An upload whose confirmation got lost turned out to be what the server has.
      if (entry.base !== base) this.#core.book.recordSoon(entry, { base, intent: undefined });
      this.#deletes.wantThere(entry, base);
    } else if (action === "delete-local") {
      void this.#land(entry, async () => {
        await this.#landing.removeAgreed(entry);
        return SYNC_STATUS.ok;
      });
    } else if (action === "request" || action === "conflict" || action === "ask") {
      this.#requests.want(entry.name);
      this.#sendRequests();
    }
  }

  #fine(entry: PathEntry): void {
    entry.problem = undefined;
    entry.failures = 0;
    entry.notBeforeMs = 0;
  }

  #adopt(entry: PathEntry, base: Base | undefined): void {
    if (entry.local.kind !== "file") return;
    const md5 = entry.local.md5 ?? base?.md5;
    if (md5 === undefined) return;
    const sequence = entry.remote.kind === "file" ? entry.remote.sequence : base?.sequence;
    this.#core.book.recordSoon(entry, {
      base: { ...stampOf(entry.local), md5, sequence },
      intent: undefined,
    });
  }

  /** It came, or is not wanted any more: another one can be asked for. */
  #settleRequest(name: string): void {
    this.#requests.settle(name);
    if (this.#requests.hasWaiting) this.#sendRequests();
  }

  #sendRequests(): void {
    const online = this.#core.online();
    if (online === undefined) return;
    const { clock } = this.#core.ports;
    for (;;) {
      const name = this.#requests.next(clock.monotonicMs());
      if (name === undefined) break;
      const entry = this.#core.book.at(name);
      online.outbox.send("request", name, entry.base?.md5, (code) => {
        if (code !== "none" && hasStatus(code, "noFile")) this.#neverThere(entry);
      });
    }
    this.#cancelTick();
    const nextAtMs = this.#requests.nextAtMs;
    if (nextAtMs !== undefined) this.#cancelTick = clock.wake(nextAtMs, () => this.#sendRequests());
  }

  /** Our server does not know the name: whatever was agreed on, it was with another one, or is lost there. */
  #neverThere(entry: PathEntry): void {
    this.#settleRequest(entry.name);
    entry.remote = { kind: "never" };
    this.consider(entry);
    this.#sendRequests();
  }

  #hash(entry: PathEntry): void {
    const found = syncedPath(entry.name, this.#core.settings.platform);
    if ("path" in found) this.#hashes.want(entry, found.path);
  }

  #checkIdle(): void {
    if (this.#isIdle || this.#core.online() === undefined || !this.#isScanned || this.#isFirstPass) return;
    const waits = this.#deletes.hold === undefined ? this.#deletes.size : 0;
    const busy = this.#uploads.size + this.#requests.size + this.#hashes.size + this.#landings + waits;
    if (busy > 0 || this.#host.pendingLooks() > 0) return;
    this.#isIdle = true;
    let problems = this.#deletes.size;
    let files = 0;
    for (const entry of this.#core.book.entries()) {
      if (entry.problem !== undefined) problems++;
      else if (entry.local.kind === "file") files++;
    }
    this.#core.tell({ type: "in-sync", files, problems });
  }
}
