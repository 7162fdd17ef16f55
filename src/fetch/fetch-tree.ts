import { isTempName } from "../disk/publication.ts";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { EntryKind, ListEntry } from "../wire/entries.ts";
import { isWithin, parseListedName } from "../wire/names.ts";
import { EntrySpool } from "./entry-spool.ts";
import type { FetchSetting, FetchedFile } from "./fetch-setting.ts";
import { FileTransfer } from "./file-transfer.ts";
import { type Persistence, type Remote, persist } from "./remote.ts";
import { SMALL_FILE_BYTES } from "./small-file.ts";

/** Batches of the list that may be under way: enough to hide the round trip. */
const LIST_CREDIT = 4;
/** Small files that are asked for over one connection without waiting for the answers before. */
const MAX_UNDER_WAY = 32;

/** For fewer, another connection is not worth its handshake. */
const MIN_FILES_A_CONNECTION = 8;

export interface TreeEvents {
  /** The list is complete. */
  listed(total: { files: number; bytes: number }): void;
  /** A file is there. */
  file(path: string, components: readonly string[], fetched: FetchedFile): void;
  failed(path: string, error: DrayError): void;
  skipped(path: string, reason: string): void;
  directory(): void;
  /** Resolves when more events can be told. */
  room(): Promise<void>;
}

/**
 * Fetches a directory with all that is below it; or a single file, if the path is one.
 *
 * @param remotes connections; the first one is the one that all depends on
 * @param wanted the directory's components at the server, none for its root. Its own name is kept, as by `cp -r`
 * @throws DrayError when there is no complete list, the server is given up, or the disk is full; whatever
 *   is wrong with one file only is told as an event
 */
export async function fetchTree(
  remotes: readonly [Remote, ...Remote[]],
  wanted: readonly string[],
  setting: FetchSetting,
  persistence: Persistence,
  events: TreeEvents,
): Promise<void> {
  const spool = new EntrySpool();
  try {
    const files = await list(remotes[0], wanted, spool, persistence, events);
    const tree = new TreeFetch(remotes[0], spool, wanted, setting, persistence, events);
    const lanes = remotes.slice(0, Math.ceil(files / MIN_FILES_A_CONNECTION) || 1);
    await Promise.all(lanes.map((remote) => tree.runLane(remote)));
    if (tree.fatal !== undefined) throw tree.fatal;
  } finally {
    spool.clear();
  }
}

/**
 * The whole list comes first: it says how much there is, and a list that broke off can simply be asked for again.
 * @returns how many files there are
 */
async function list(
  remote: Remote,
  wanted: readonly string[],
  spool: EntrySpool,
  persistence: Persistence,
  events: TreeEvents,
): Promise<number> {
  return persist(remote, persistence, async (client) => {
    spool.clear();
    const total = { files: 0, bytes: 0 };
    const path = wanted.length === 0 ? "." : wanted.join("/");
    await client.list(path, LIST_CREDIT, (entries) => {
      refuseUnlessFetchable(entries[0], path);
      spool.push(entries);
      for (const { kind, size } of entries) {
        if (kind !== "file") continue;
        total.files++;
        total.bytes += size;
      }
    });
    events.listed(total);
    return total.files;
  });
}

/** What is skipped inside a directory cannot be skipped when it is all that was asked for. */
function refuseUnlessFetchable(first: ListEntry | undefined, path: string): void {
  if (first === undefined || first.path !== path || first.kind === "file" || first.kind === "directory")
    return;
  throw new DrayError("refused", `it is ${SKIPPED[first.kind] ?? "nothing that can be fetched"}`);
}

const SKIPPED: Partial<Record<EntryKind, string>> = {
  symlink: "a symbolic link",
  special: "neither a file nor a directory",
  unfinished: "a file whose name is reserved for unfinished ones",
};

const UNFETCHABLE = {
  unreadable: "the server may not read it",
  unnameable: "its name cannot be carried: not UTF-8, or too long",
} as const;

class TreeFetch {
  /** What ends all of it. */
  fatal: DrayError | undefined;
  readonly #mainRemote: Remote;
  readonly #spool: EntrySpool;
  readonly #wanted: readonly string[];
  readonly #setting: FetchSetting;
  readonly #persistence: Persistence;
  readonly #events: TreeEvents;

  constructor(
    mainRemote: Remote,
    spool: EntrySpool,
    wanted: readonly string[],
    setting: FetchSetting,
    persistence: Persistence,
    events: TreeEvents,
  ) {
    this.#mainRemote = mainRemote;
    this.#spool = spool;
    this.#wanted = wanted;
    this.#setting = setting;
    this.#persistence = persistence;
    this.#events = events;
  }

  /** Takes one entry after the other, as long as there are some. */
  async runLane(remote: Remote): Promise<void> {
    const underWay = new Set<Promise<void>>();
    for (let entry = this.#next(); entry !== undefined; entry = this.#next()) {
      const task = this.#fetch(remote, entry).finally(() => underWay.delete(task));
      underWay.add(task);
      await this.#events.room();
      // What stands behind a large file in the line is better off in another lane.
      if (entry.size > SMALL_FILE_BYTES) await Promise.all(underWay);
      else if (underWay.size >= MAX_UNDER_WAY) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  }

  /** The next file; what is no file is settled on the way. */
  #next(): ListEntry | undefined {
    while (this.fatal === undefined) {
      const entry = this.#spool.next();
      if (entry === undefined || this.#isToBeFetched(entry)) return entry;
    }
    return undefined;
  }

  #isToBeFetched(entry: ListEntry): boolean {
    const { kind, path } = entry;
    const events = this.#events;
    const reason = SKIPPED[kind];
    if (reason !== undefined) {
      events.skipped(path, reason);
      return false;
    }
    if (kind === "unreadable" || kind === "unnameable") {
      events.failed(path, new DrayError(kind === "unreadable" ? "refused" : "name", UNFETCHABLE[kind]));
      return false;
    }
    try {
      const components = this.#placeOf(entry);
      if (kind === "file") return true;
      this.#setting.root.hold(components, true)[Symbol.dispose]();
      events.directory();
    } catch (error) {
      events.failed(path, asDrayError(error));
    }
    return false;
  }

  /** Never throws: what fails is an event. */
  async #fetch(remote: Remote, entry: ListEntry): Promise<void> {
    const { path } = entry;
    const components = this.#placeOf(entry);
    const transfer = new FileTransfer({ path, components, expected: undefined }, this.#setting);
    let listed: ListEntry | undefined = entry;
    try {
      const fetched = await persist(remote, this.#persistence, (client, progressed) => {
        const said = listed && { sizeBytes: listed.size, mtimeUs: listed.mtimeUs, mode: listed.mode };
        listed = undefined; // the file may have changed since, if that does not help
        return transfer.attempt(client, progressed, said);
      });
      this.#events.file(path, components, fetched);
    } catch (error) {
      const known = asDrayError(error);
      if (known.code === "interrupted" || known.code === "no-space" || known === this.#mainRemote.givenUp)
        this.fatal ??= known;
      else this.#events.failed(path, known);
    } finally {
      await transfer.park().catch((error: unknown) => this.#events.failed(path, asDrayError(error)));
    }
  }

  /** Where a listed path goes. @throws DrayError "name": a server may be hostile */
  #placeOf({ kind, path }: ListEntry): string[] {
    const components = parseListedName(path);
    if (!isWithin(components, this.#wanted))
      throw new DrayError("name", "the server listed it without being asked for it");
    if (kind === "file" && isTempName(components.at(-1)!))
      throw new DrayError("name", "the name is reserved for unfinished files");
    return components.slice(Math.max(0, this.#wanted.length - 1));
  }
}
