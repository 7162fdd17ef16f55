import { asDrayError } from "../../errors/dray-error.ts";
import { IgnoreRules, IGNORE_FILE } from "../ignore-rules.ts";
import { syncedPath, type NamePlatform } from "../names.ts";
import type { Clock, Stat, Tree, TreePath, Watcher } from "../ports.ts";
import { scan, type Scanned } from "../scan.ts";
import { Settler, type SettleSettings } from "../settle.ts";

export interface LocalWatchSettings {
  readonly settle: SettleSettings;
  readonly platform: NamePlatform;
  /** Between full scans, in milliseconds. */
  readonly rescanMs: number;
}

/** What the folder's user did. */
export interface LocalWatchEvents {
  /** A name has come to rest as this; undefined: it is gone, or is no regular file. */
  settled(name: string, stat: Stat | undefined): void;
  /** A scan came by. @returns whether nothing has happened to it since it was last known */
  recognizes(name: string, stat: Stat): boolean;
  /** Names that are thought to be there, at and below a directory; "" for all. */
  knownBelow(directory: string): Iterable<string>;
  /** Left out, and why. */
  skipped(name: string, why: Extract<Scanned, { kind: "skipped" }>): void;
  /** A full scan begins: what was skipped before is found anew. */
  scanBegins(): void;
  /** Everything has been looked at once. */
  scanEnded(): void;
  /** Nothing is left to look at. */
  rested(): void;
  /** Only rescans tell from here on. */
  watchFailed(error: Error): void;
  scanFailed(error: Error): void;
}

interface RunningScan {
  readonly directory: string;
  readonly entries: Generator<Scanned, void>;
  readonly seen: Set<string>;
  /** What could not be read. */
  readonly blind: string[];
}

/** Entries of a scan, and looks at changed names, between which others get their turn. */
const SLICE = 256;
/** Without a watcher, full scans come this often. */
const BLIND_RESCAN_MS = 10_000;

/** Watches the folder: hints become looks, looks become settled changes. */
export class LocalWatch {
  readonly #tree: Tree;
  readonly #clock: Clock;
  readonly #settings: LocalWatchSettings;
  readonly #events: LocalWatchEvents;
  readonly #settler: Settler;
  readonly #watching: { close(): void };
  #rules: IgnoreRules;
  /** Directories to scan, "" for the whole tree. */
  readonly #toScan = new Set<string>();
  #scanning: RunningScan | undefined;
  #rescanMs: number;
  #nextRescanAtMs: number;
  #cancelLook: () => void = () => {};
  #lookAtMs = Infinity;
  #isClosed = false;

  /** Begins with a full scan. */
  constructor(
    ports: { tree: Tree; clock: Clock; watcher: Watcher },
    settings: LocalWatchSettings,
    events: LocalWatchEvents,
  ) {
    this.#tree = ports.tree;
    this.#clock = ports.clock;
    this.#settings = settings;
    this.#events = events;
    this.#settler = new Settler(settings.settle);
    this.#rules = this.#loadRules(new IgnoreRules(""));
    this.#rescanMs = settings.rescanMs;
    this.#nextRescanAtMs = this.#clock.monotonicMs() + this.#rescanMs;
    // Before the scan, so that nothing falls between the two.
    this.#watching = ports.watcher.watch({
      changed: (path) => this.#changed(path),
      failed: (error) => {
        this.#rescanMs = Math.min(this.#rescanMs, BLIND_RESCAN_MS);
        events.watchFailed(error);
        this.#arm();
      },
    });
    this.rescan();
  }

  /** Names that are not at rest, and scans under way. */
  get pending(): number {
    return this.#settler.size + this.#toScan.size + (this.#scanning === undefined ? 0 : 1);
  }

  /** Looks at everything. */
  rescan(): void {
    this.#toScan.clear();
    this.#toScan.add("");
    this.#arm();
  }

  /** Looks at one name again, soon. */
  hint(name: string): void {
    this.#settler.hint(name, this.#clock.monotonicMs());
    this.#arm();
  }

  /** Why a name is not synced though it could be, as the end of a sentence. */
  ignoredBy(name: string): string | undefined {
    for (let slash = name.indexOf("/"); slash >= 0; slash = name.indexOf("/", slash + 1)) {
      if (this.#rules.isIgnored(name.slice(0, slash), true)) return `is left out by ${IGNORE_FILE}`;
    }
    return this.#rules.isIgnored(name, false)
      ? `is left out by ${IGNORE_FILE} or dray's own list`
      : undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.#watching.close();
    this.#cancelLook();
    this.#scanning?.entries.return();
  }

  #changed(path: TreePath | undefined): void {
    if (path === undefined || path.length === 0) return this.rescan();
    const name = path.join("/");
    if (name === IGNORE_FILE) {
      this.#rules = this.#loadRules(this.#rules);
      this.rescan();
    }
    // Its looks will show what has become of it, and so will the scan.
    if (this.#settler.has(name) || this.#willBeScanned(name)) return;
    if ("problem" in syncedPath(name, this.#settings.platform)) {
      // Dray's own files, or a name for the next scan to report.
      if (path[0] !== ".dray") this.#scanSoon(path.slice(0, -1).join("/"));
      return;
    }
    const stat = this.#stat(path);
    if (stat?.kind === "directory") return this.#scanSoon(name);
    if (stat === undefined || stat.kind !== "file") this.#hintBelow(name);
    if (stat?.kind === "file" && this.ignoredBy(name) !== undefined) return this.#scanSoon(name);
    this.hint(name);
  }

  #scanSoon(directory: string): void {
    if (!this.#toScan.has("") && !this.#willBeScanned(directory)) this.#toScan.add(directory);
    this.#arm();
  }

  /** Whether a scan of a directory that it is in, or of itself, is to begin. One of everything may be long in coming. */
  #willBeScanned(name: string): boolean {
    for (let slash = name.indexOf("/"); slash >= 0; slash = name.indexOf("/", slash + 1)) {
      if (this.#toScan.has(name.slice(0, slash))) return true;
    }
    return this.#toScan.has(name);
  }

  #stat(path: TreePath): Stat | undefined {
    try {
      return this.#tree.stat(path);
    } catch {
      // A link or a file where a directory was: nothing that can be synced is there.
      return undefined;
    }
  }

  #arm(): void {
    if (this.#isClosed) return;
    const nowMs = this.#clock.monotonicMs();
    const isScanDue = this.#scanning !== undefined || this.#toScan.size > 0;
    const atMs = isScanDue ? nowMs : Math.min(this.#settler.nextAtMs ?? Infinity, this.#nextRescanAtMs);
    if (atMs >= this.#lookAtMs) return;
    this.#cancelLook();
    this.#lookAtMs = atMs;
    this.#cancelLook = this.#clock.wake(atMs, () => {
      this.#lookAtMs = Infinity;
      this.#work();
      this.#arm();
    });
  }

  #work(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#nextRescanAtMs) {
      this.#nextRescanAtMs = nowMs + this.#rescanMs;
      this.rescan();
    }
    for (const name of this.#settler.due(nowMs, SLICE)) this.#look(name, nowMs);
    this.#scanSlice();
    if (this.pending === 0) this.#events.rested();
  }

  #look(name: string, nowMs: number): void {
    const path = syncedPath(name, this.#settings.platform);
    if ("problem" in path) return this.#settler.forget(name);
    const stat = this.#stat(path.path);
    const settled = this.#settler.look(name, stat, nowMs);
    if (settled === undefined) return;
    this.#events.settled(name, settled.state === "file" ? settled.stat : stat);
    // What was a directory meanwhile, or is one now: events told nothing of it while its name waited.
    if (stat?.kind === "directory") this.#scanSoon(name);
    else if (settled.state === "gone") this.#hintBelow(name);
  }

  #hintBelow(name: string): void {
    for (const known of this.#events.knownBelow(name)) if (known !== name) this.hint(known);
  }

  #scanSlice(): void {
    for (let count = 0; count < SLICE; count++) {
      const scanning = this.#scanning ?? this.#beginScan();
      if (scanning === undefined) return;
      try {
        const next = scanning.entries.next();
        if (next.done === true) this.#endScan(scanning);
        else this.#found(scanning, next.value);
      } catch (error) {
        // What was not seen may be there all the same: nothing counts as gone.
        this.#scanning = undefined;
        this.#nextRescanAtMs = Math.min(this.#nextRescanAtMs, this.#clock.monotonicMs() + BLIND_RESCAN_MS);
        this.#events.scanFailed(asDrayError(error));
      }
    }
  }

  #beginScan(): RunningScan | undefined {
    const [directory] = this.#toScan;
    if (directory === undefined) return undefined;
    this.#toScan.delete(directory);
    if (directory === "") this.#events.scanBegins();
    const entries = scan(this.#tree, this.#rules, directory, this.#settings.platform);
    this.#scanning = { directory, entries, seen: new Set(), blind: [] };
    return this.#scanning;
  }

  #found(scanning: RunningScan, found: Scanned): void {
    if (found.kind === "file") {
      scanning.seen.add(found.name);
      if (!this.#events.recognizes(found.name, found.stat))
        this.#settler.hintSeen(found.name, found.stat, this.#clock.monotonicMs());
      return;
    }
    if (found.why === "unreadable") scanning.blind.push(found.name);
    this.#events.skipped(found.name, found);
  }

  #endScan({ directory, seen, blind }: RunningScan): void {
    this.#scanning = undefined;
    for (const name of this.#events.knownBelow(directory)) {
      if (seen.has(name) || blind.some((at) => at === "" || name === at || name.startsWith(`${at}/`)))
        continue;
      this.hint(name);
    }
    if (directory === "") this.#events.scanEnded();
  }

  #loadRules(otherwise: IgnoreRules): IgnoreRules {
    try {
      return IgnoreRules.from(this.#tree);
    } catch (error) {
      this.#events.scanFailed(asDrayError(error));
      return otherwise;
    }
  }
}
