import type { Ledger, LedgerChange } from "../ports.ts";
import { NameTree } from "./name-tree.ts";
import { decodeRecord, encodeRecord, type Intent, type PathRecord } from "./path-record.ts";
import type { Base, Local, Remote } from "./reconcile.ts";

/** All that is known of one path. */
export interface PathEntry {
  readonly name: string;
  base: Base | undefined;
  intent: Intent | undefined;
  local: Local;
  remote: Remote;
  /** What is being done with it; nothing else is begun meanwhile. */
  work: "hashing" | "uploading" | "landing" | "removing" | undefined;
  /** Why it is not in sync, for people; undefined while nothing is wrong. */
  problem: string | undefined;
  /** Not to be sent before this moment of the monotonic clock. */
  notBeforeMs: number;
  /** Failures in a row. */
  failures: number;
  /** Its spelling is the one that counts among those that differ only in case. */
  isSpelled: boolean;
  /** The last list of the server's that named it. */
  listing: number;
}

/** Every path that this machine or its server has, and what of it outlives the process. */
export class PathBook {
  readonly #entries = new Map<string, PathEntry>();
  readonly #tree = new NameTree();
  readonly #ledger: Ledger;
  readonly #lost: (error: unknown) => void;
  readonly #contents = new Map<string, number>();
  #table: string;
  #baseCount = 0;

  /** @param lost told when the ledger cannot be written: what is not in it is found out anew after a restart */
  constructor(ledger: Ledger, table: string, lost: (error: unknown) => void) {
    this.#ledger = ledger;
    this.#table = table;
    this.#lost = lost;
    this.#load(true);
  }

  /** How many paths have a base. */
  get baseCount(): number {
    return this.#baseCount;
  }

  get size(): number {
    return this.#entries.size;
  }

  entries(): IterableIterator<PathEntry> {
    return this.#entries.values();
  }

  get(name: string): PathEntry | undefined {
    return this.#entries.get(name);
  }

  /** The entry of a name, made if there is none yet. */
  at(name: string): PathEntry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const entry = freshEntry(name);
    this.#entries.set(name, entry);
    this.#tree.add(name);
    return entry;
  }

  /** The entries of a path and of all that is below it; "" is above all. */
  *from(path: string): Generator<PathEntry, void> {
    for (const name of this.#tree.from(path)) yield this.#entries.get(name)!;
  }

  /** How many paths have a base with this content. */
  copies(md5: string): number {
    return this.#contents.get(md5) ?? 0;
  }

  /** Whether something at a path above or below this one is agreed on: it cannot be there at the same time. */
  isInTheWay(name: string): boolean {
    for (let slash = name.indexOf("/"); slash >= 0; slash = name.indexOf("/", slash + 1)) {
      if (this.#entries.get(name.slice(0, slash))?.base !== undefined) return true;
    }
    for (const entry of this.from(name)) {
      if (entry.base !== undefined && entry.name !== name) return true;
    }
    return false;
  }

  /** Writes down what was agreed, or is about to be; durable when the promise is kept. @throws DrayError "no-space", "storage" */
  record(entry: PathEntry, record: PathRecord): Promise<void> {
    this.#count(entry.base, -1);
    entry.base = record.base;
    entry.intent = record.intent;
    this.#count(entry.base, 1);
    return this.#put({ table: this.#table, key: entry.name, value: encodeRecord(record) });
  }

  /** The same where nobody has to wait until it is durable. */
  recordSoon(entry: PathEntry, record: PathRecord): void {
    this.record(entry, record).catch(this.#lost);
  }

  /** Forgets a path that neither side has, and nobody is working on. */
  tidy(entry: PathEntry): void {
    const isBare = entry.base === undefined && entry.intent === undefined && entry.work === undefined;
    if (isBare && entry.local.kind === "absent" && entry.remote.kind !== "file") {
      this.#entries.delete(entry.name);
      this.#tree.delete(entry.name);
    }
  }

  /** Another server: what was agreed with it is in another table. What is here stays known. */
  useTable(table: string): void {
    if (table === this.#table) return;
    this.#table = table;
    this.#contents.clear();
    this.#baseCount = 0;
    for (const entry of this.#entries.values()) {
      entry.base = undefined;
      entry.intent = undefined;
      entry.remote = { kind: "unknown" };
    }
    this.#load(false);
  }

  #load(isStart: boolean): void {
    for (const [name, text] of this.#ledger.rows(this.#table)) {
      const record = decodeRecord(text);
      if (record === undefined) continue;
      const entry = this.at(name);
      // Those of a table that is loaded at the start, before anybody has looked, are not gone.
      if (isStart) entry.local = NOT_LOOKED_AT;
      entry.base = record.base;
      entry.intent = record.intent;
      this.#count(entry.base, 1);
    }
  }

  #count(base: Base | undefined, step: 1 | -1): void {
    if (base === undefined) return;
    this.#baseCount += step;
    const count = (this.#contents.get(base.md5) ?? 0) + step;
    if (count > 0) this.#contents.set(base.md5, count);
    else this.#contents.delete(base.md5);
  }

  #put(change: LedgerChange): Promise<void> {
    return this.#ledger.put([change]);
  }
}

/** Of a path that an earlier run knew, until this one has looked. */
export const NOT_LOOKED_AT: Local = { kind: "other", what: "what nobody has looked at yet" };

function freshEntry(name: string): PathEntry {
  return {
    name,
    base: undefined,
    intent: undefined,
    local: { kind: "absent" },
    remote: { kind: "unknown" },
    work: undefined,
    problem: undefined,
    notBeforeMs: 0,
    failures: 0,
    isSpelled: false,
    listing: 0,
  };
}
