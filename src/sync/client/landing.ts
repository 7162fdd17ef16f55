import { DrayError } from "../../errors/dray-error.ts";
import { SYNC_STATUS } from "../../wire/sync-messages.ts";
import type { DirectorySyncs } from "../directory-syncs.ts";
import type { Clock, Hasher, Stat, Tree, TreePath } from "../ports.ts";
import type { Keep, Publisher } from "../publication.ts";
import { syncedPath, type NamePlatform } from "../names.ts";
import { conflictName, conflictOf } from "./conflict-name.ts";
import type { Arrived } from "./inbox.ts";
import { hashFile } from "./local-hash.ts";
import { md5Bytes } from "./md5-text.ts";
import type { PathBook, PathEntry } from "./path-book.ts";
import { baseFor, localOf, stampOf } from "./path-record.ts";
import { isStamped, reconcile, type Base, type Local, type Remote, type Verdict } from "./reconcile.ts";

export interface LandingSettings {
  /** Stands in the names of conflict copies. */
  readonly hostName: string;
  readonly platform: NamePlatform;
}

export interface LandingEvents {
  received(name: string, sizeBytes: number): void;
  /** `copy`: where the local content is now; undefined: in the versions, since a copy of it is there already. */
  conflict(name: string, copy: string | undefined): void;
  deletedHere(name: string): void;
  /** Somebody changed it while it was put there, or taken away: it has to be looked at again. */
  touched(name: string): void;
}

/** Somebody else writes the same file at the same moments again and again: not now. */
const MAX_ATTEMPTS = 20;

/**
 * What the server sends, put in its place: decided from a fresh look, and taken back when somebody changes the file
 * between that look and the rename (decision 16).
 */
export class Landing {
  readonly #ports: { readonly tree: Tree; readonly clock: Clock; readonly hasher: Hasher };
  readonly #book: PathBook;
  readonly #publisher: Publisher;
  readonly #syncs: DirectorySyncs;
  readonly #settings: LandingSettings;
  readonly #events: LandingEvents;

  constructor(
    ports: { tree: Tree; clock: Clock; hasher: Hasher },
    book: PathBook,
    publisher: Publisher,
    syncs: DirectorySyncs,
    settings: LandingSettings,
    events: LandingEvents,
  ) {
    this.#ports = ports;
    this.#book = book;
    this.#publisher = publisher;
    this.#syncs = syncs;
    this.#settings = settings;
    this.#events = events;
  }

  /**
   * A whole file came; the staged file is used up, whatever happens.
   * @returns the answer to Close
   * @throws a system error or DrayError: nothing has changed here then
   */
  async arrived(entry: PathEntry, { staged, md5 }: Arrived): Promise<number> {
    try {
      const known = entry.remote.kind === "file" && entry.remote.md5 === md5 ? entry.remote : undefined;
      const sizeBytes = staged.sizeBytes;
      const remote: Remote & { kind: "file" } = {
        kind: "file",
        md5,
        sizeBytes,
        mtimeUs: known?.mtimeUs,
        sequence: known?.sequence,
      };
      entry.remote = remote;
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const look = await this.#look(entry, remote);
        const { verdict, stat, local } = look;
        if (verdict.action === "ignore") throw new DrayError("refused", verdict.why);
        if (verdict.action !== "request" && verdict.action !== "conflict") {
          if (verdict.action === "adopt") this.#adopt(entry, look.base, local, remote);
          return SYNC_STATUS.ok;
        }
        const keep = this.#keepFor(entry, verdict.action, local);
        const next: Base = { ...stampOf(staged.file.stat()), sizeBytes, md5, sequence: remote.sequence };
        await this.#book.record(entry, { base: look.base, intent: { kind: "publish", next } });
        const done = await this.#publisher.publish(staged, {
          path: this.#path(entry.name),
          expected: stat,
          keep,
        });
        if (done.outcome === "changed") continue;
        const base = { ...next, ...stampOf(done.stat) };
        entry.local = { kind: "file", ...base };
        // Whoever wrote to it while its directory was synced was told of before this was known.
        const now = localOf(this.#ports.tree.stat(this.#path(entry.name)));
        if (now.kind !== "file" || !isStamped(base, now)) this.#events.touched(entry.name);
        this.#book.recordSoon(entry, { base, intent: undefined });
        if (verdict.action === "conflict") this.#events.conflict(entry.name, copyOf(keep));
        this.#events.received(entry.name, sizeBytes);
        return SYNC_STATUS.ok;
      }
      throw new DrayError("changed", "it goes on changing here");
    } finally {
      staged.discard();
    }
  }

  /**
   * The server has deleted it. What nobody there has seen stays, and goes up again.
   * @returns the answer to Delete
   * @throws as arrived()
   */
  async deleted(entry: PathEntry, md5: string | undefined): Promise<number> {
    const remote: Remote = { kind: "deleted", md5 };
    entry.remote = remote;
    return await this.#remove(entry, remote);
  }

  /**
   * Takes away what is there, if it is what was agreed on: it is missing on the server, or broken off in its transfer.
   * @throws as arrived()
   */
  async removeAgreed(entry: PathEntry): Promise<void> {
    await this.#remove(entry, { kind: "deleted", md5: undefined });
  }

  async #remove(entry: PathEntry, remote: Remote): Promise<number> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { verdict, stat, local, base } = await this.#look(entry, remote);
      if (local.kind === "absent") {
        this.#book.recordSoon(entry, { base: undefined, intent: undefined });
        return SYNC_STATUS.noFile;
      }
      if (verdict.action !== "delete-local" || stat === undefined) return SYNC_STATUS.ok;
      await this.#book.record(entry, { base, intent: { kind: "remove" } });
      const oldMd5 = local.kind === "file" ? md5Bytes(local.md5 ?? base?.md5) : undefined;
      const done = await this.#publisher.remove(this.#path(entry.name), stat, "deleted", oldMd5);
      if (done.outcome === "changed") continue;
      entry.local = { kind: "absent" };
      if (this.#ports.tree.stat(this.#path(entry.name)) !== undefined) this.#events.touched(entry.name);
      this.#book.recordSoon(entry, { base: undefined, intent: undefined });
      this.#events.deletedHere(entry.name);
      return SYNC_STATUS.ok;
    }
    throw new DrayError("changed", "it goes on changing here");
  }

  /** Looks until the rules have all that they need. */
  async #look(entry: PathEntry, remote: Remote): Promise<Look> {
    const path = this.#path(entry.name);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const stat = this.#ports.tree.stat(path);
      const local = localOf(stat);
      const base = baseFor(entry, remote);
      if (local.kind === "file" && entry.local.kind === "file" && isStamped(entry.local, local)) {
        entry.local = { ...local, md5: entry.local.md5 };
      } else {
        entry.local = local;
      }
      const verdict = reconcile(base, entry.local, remote, {
        nowUs: this.#ports.clock.wallMs() * 1000,
        canAsk: false,
        resurrects: false,
      });
      // A conflict copy is made once for each content, so its digest is needed.
      const isConflict =
        verdict.action === "conflict" && entry.local.kind === "file" && entry.local.md5 === undefined;
      if (verdict.action !== "hash" && !isConflict) return { verdict, stat, local: entry.local, base };
      const hashed = await hashFile(this.#ports, this.#syncs, path);
      if (hashed !== undefined) entry.local = { kind: "file", ...hashed };
    }
    throw new DrayError("changed", "it goes on changing here");
  }

  #adopt(entry: PathEntry, base: Base | undefined, local: Local, remote: Remote & { kind: "file" }): void {
    if (local.kind !== "file") return;
    const md5 = local.md5 ?? base?.md5;
    if (md5 === undefined) return;
    this.#book.recordSoon(entry, {
      base: { ...stampOf(local), md5, sequence: remote.sequence },
      intent: undefined,
    });
  }

  #keepFor(entry: PathEntry, action: Verdict["action"], local: Local): Keep {
    const md5 = local.kind === "file" ? (local.md5 ?? entry.base?.md5) : undefined;
    const old = md5 === undefined ? undefined : md5Bytes(md5);
    if (action !== "conflict" || md5 === undefined) return { as: "version", reason: "replaced", md5: old };
    if (this.#hasCopy(entry.name, md5)) return { as: "version", reason: "conflict", md5: old };
    return { as: "copy", path: this.#freeCopyPath(entry.name) };
  }

  #hasCopy(name: string, md5: string): boolean {
    for (const other of this.#book.entries()) {
      if (other.local.kind !== "file" || (other.local.md5 ?? other.base?.md5) !== md5) continue;
      if (conflictOf(other.name)?.of === name && other.base?.md5 === md5) return true;
    }
    return false;
  }

  #freeCopyPath(name: string): TreePath {
    const wallMs = this.#ports.clock.wallMs();
    for (let number = 1; ; number++) {
      const copy = conflictName(name, wallMs, this.#settings.hostName, number);
      const path = this.#path(copy);
      const known = this.#book.get(copy);
      const isTaken = known !== undefined && (known.base !== undefined || known.remote.kind === "file");
      if (!isTaken && this.#ports.tree.stat(path) === undefined) return path;
    }
  }

  #path(name: string): TreePath {
    const found = syncedPath(name, this.#settings.platform);
    if ("problem" in found) throw new DrayError("name", `its name ${found.problem}`);
    return found.path;
  }
}

interface Look {
  readonly verdict: Verdict;
  readonly stat: Stat | undefined;
  readonly local: Local;
  readonly base: Base | undefined;
}

function copyOf(keep: Keep): string | undefined {
  return keep.as === "copy" ? keep.path.join("/") : undefined;
}
