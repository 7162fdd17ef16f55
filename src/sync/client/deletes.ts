import { asDrayError } from "../../errors/dray-error.ts";
import { hasStatus } from "../../wire/sync-messages.ts";
import { syncedPath } from "../names.ts";
import type { TreePath } from "../ports.ts";
import { guardRoot } from "../root-guard.ts";
import { readRootId } from "../root-id.ts";
import type { Core } from "./core.ts";
import { DELETE_DESK_DEFAULTS, DeleteDesk, type DeleteSurroundings } from "./delete-desk.ts";
import type { PathEntry } from "./path-book.ts";
import { baseFor } from "./path-record.ts";
import type { Base } from "./reconcile.ts";

/** After a folder could not be synced. */
const SYNC_RETRY_MS = 10_000;

/** Why nothing is deleted. */
export interface Hold {
  readonly why: string;
  /** Files that would be deleted. */
  readonly files: number;
  readonly isApprovable: boolean;
}

export interface DeletesHost {
  /** The id that the folder's marker should have. */
  rootId(): string;
  /** Whether a file of this size is about to be sent, or waits to be looked at. */
  isUploading(sizeBytes: number): boolean;
  /** Moves a file to the versions that the server has no more, if it is still what was agreed on. */
  removeHere(entry: PathEntry): Promise<void>;
  /** Deletes are held: nothing is done about them before a person says so. */
  held(): void;
}

/** Files that are gone on one side, and what is done about it on the other. */
export class Deletes {
  readonly #core: Core;
  readonly #host: DeletesHost;
  readonly #desk: DeleteDesk;
  /** Missing from the list of a server that does not say why. */
  readonly #missingThere = new Set<string>();
  #approvesMissing = false;
  #hold: Hold | undefined;
  #cancelWake: () => void = () => {};

  constructor(core: Core, host: DeletesHost) {
    this.#core = core;
    this.#host = host;
    this.#desk = new DeleteDesk({ guard: core.settings.guard, ...DELETE_DESK_DEFAULTS });
  }

  /** Deletes that are wanted, those that are held included. */
  get size(): number {
    return this.#desk.size + this.#missingThere.size;
  }

  get hold(): Hold | undefined {
    return this.#hold;
  }

  wantThere(entry: PathEntry, base: Base): void {
    this.#desk.want(entry.name, base, this.#core.ports.clock.monotonicMs());
    this.#pumpSoon();
  }

  wantHere(entry: PathEntry): void {
    this.#missingThere.add(entry.name);
    this.#pumpSoon();
  }

  drop(name: string): void {
    this.#desk.drop(name);
    this.#missingThere.delete(name);
    if (this.#hold !== undefined) this.#pumpSoon();
  }

  /** Whether this name is held. */
  isHeld(name: string): boolean {
    return this.#hold !== undefined && (this.#desk.has(name) || this.#missingThere.has(name));
  }

  /** Names that would be deleted. */
  *names(): Generator<string> {
    yield* this.#desk.names();
    yield* this.#missingThere;
  }

  /** A person says that it is meant so. @returns how many files are deleted now */
  approve(): number {
    const count = this.#desk.approve() + this.#missingThere.size;
    this.#approvesMissing = true;
    this.#pumpSoon();
    return count;
  }

  close(): void {
    this.#cancelWake();
  }

  #pumpSoon(): void {
    this.#wakeAt(this.#core.ports.clock.monotonicMs());
  }

  #wakeAt(atMs: number): void {
    this.#cancelWake();
    this.#cancelWake = this.#core.ports.clock.wake(atMs, () => this.#pump());
  }

  #pump(): void {
    const online = this.#core.online();
    if (online === undefined) return;
    const nowMs = this.#core.ports.clock.monotonicMs();
    const around = this.#surroundings();
    const decision = this.#desk.decide(nowMs, around);
    const missing = guardRoot(
      { ...around, missingFiles: this.#approvesMissing ? 0 : this.#missingThere.size },
      this.#core.settings.guard,
    );
    const held = [decision.verdict, missing].find(({ verdict }) => verdict === "hold");
    if (held?.verdict !== "hold") this.#setHold(undefined);
    else if (this.#desk.isAtRest(nowMs)) this.#setHold(held);
    for (const name of decision.send) this.#deleteThere(name);
    if (missing.verdict === "go" && this.#missingThere.size > 0) this.#deleteHere();
    // What else holds deletes back (an upload, a folder that is not there) ends without a word, and so may the deletes.
    if (this.#desk.size > 0 || this.#hold !== undefined)
      this.#wakeAt(Math.min(this.#desk.nextAtMs(nowMs) ?? Infinity, nowMs + 1_000));
  }

  #surroundings(): DeleteSurroundings {
    const { ports, book } = this.#core;
    return {
      root: ports.tree.rootState(),
      knownId: this.#host.rootId(),
      foundId: this.#foundId(),
      knownFiles: book.baseCount,
      isUploading: (sizeBytes) => this.#host.isUploading(sizeBytes),
      copies: (md5) => book.copies(md5),
    };
  }

  #foundId(): string | undefined {
    try {
      return readRootId(this.#core.ports.tree);
    } catch {
      return undefined; // what cannot be read is no marker: everything is held
    }
  }

  #setHold(verdict: { why: string; isApprovable: boolean } | undefined): void {
    const before = this.#hold;
    if (verdict === undefined) {
      this.#hold = undefined;
      if (before !== undefined) this.#core.tell({ type: "released" });
      return;
    }
    const { why, isApprovable } = verdict;
    this.#hold = { why, isApprovable, files: this.size };
    if (before?.files === this.size && before.isApprovable === isApprovable) return;
    this.#core.tell({ type: "held", message: why, files: this.size, approvable: isApprovable });
    this.#host.held();
  }

  #deleteThere(name: string): void {
    const entry = this.#core.book.at(name);
    const online = this.#core.online();
    // What was sent counts, too, though its answer got lost.
    const base = baseFor(entry, entry.remote);
    if (entry.work !== undefined || base === undefined || online === undefined) return;
    if (!this.#isGone(name)) {
      this.#desk.drop(name);
      return this.#core.hint(name);
    }
    entry.work = "removing";
    const told = (code: number | "none"): void => {
      if (entry.work === "removing") entry.work = undefined;
      this.#deleted(entry, base, code);
    };
    // A delete that a power loss undoes would come back to everybody as a new file.
    this.#core.syncs.sync(this.#nearestDirectory(name)).then(
      () => {
        const isStill = entry.work === "removing" && this.#core.online()?.outbox === online.outbox;
        if (isStill && this.#isGone(name)) return online.outbox.send("delete", name, base.md5, told);
        if (entry.work === "removing") entry.work = undefined;
        this.#core.hint(name);
      },
      (error: unknown) => {
        entry.work = undefined;
        entry.problem = `it is gone here, which cannot be made lasting: ${asDrayError(error).message}`;
        this.#core.considerAt(entry, this.#core.ports.clock.monotonicMs() + SYNC_RETRY_MS);
      },
    );
  }

  /** Of those above a name that is gone; a file may stand now where one of them was. */
  #nearestDirectory(name: string): TreePath {
    const { tree } = this.#core.ports;
    for (let path = name.split("/").slice(0, -1); path.length > 0; path = path.slice(0, -1)) {
      try {
        if (tree.stat(path)?.kind === "directory") return path;
      } catch {
        continue; // something else stands on the way
      }
    }
    return [];
  }

  #isGone(name: string): boolean {
    const found = syncedPath(name, this.#core.settings.platform);
    if ("problem" in found) return false;
    try {
      const stat = this.#core.ports.tree.stat(found.path);
      return stat === undefined || stat.kind === "directory";
    } catch {
      return false;
    }
  }

  #deleted(entry: PathEntry, base: Base, code: number | "none"): void {
    const { clock } = this.#core.ports;
    const nowMs = clock.monotonicMs();
    const isDone = code === "none" || hasStatus(code, "ok") || hasStatus(code, "noFile");
    if (isDone) {
      this.#desk.sent(entry.name, nowMs);
      entry.problem = undefined;
      entry.remote = { kind: "deleted", md5: base.md5 };
      this.#core.book.recordSoon(entry, { base: undefined, intent: undefined });
      this.#core.tell({ type: "deleted", name: entry.name, side: "server" });
    } else {
      // Somebody writes it, or has written what nobody here has seen: it will come.
      this.#desk.drop(entry.name);
      entry.problem = "it is gone here, and somebody else is changing it on the server";
      entry.notBeforeMs = nowMs + Math.max(this.#core.settings.lockedRetryMs, 1_000);
    }
    this.#core.consider(entry);
  }

  #deleteHere(): void {
    const names = [...this.#missingThere];
    this.#missingThere.clear();
    this.#approvesMissing = false;
    for (const name of names) {
      const entry = this.#core.book.at(name);
      this.#host.removeHere(entry).catch((error: unknown) => {
        entry.problem = `it is gone on the server, and cannot be moved to the versions here: ${asDrayError(error).message}`;
        this.#core.tell({ type: "refused", name, message: entry.problem });
      });
    }
  }
}
