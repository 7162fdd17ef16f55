import { DrayError, isNotFound, systemErrorCode } from "../errors/dray-error.ts";
import type { DirectorySyncs } from "./directory-syncs.ts";
import type { Clock, OpenFile, Stat, Tree, TreePath } from "./ports.ts";
import { giveSecondName, isLinkImpossible, othersTurn } from "./second-name.ts";
import { VERSIONS_PATH, makeDirectories, removeEmptyParents } from "./state-folder.ts";
import { isSameContent, isUntouched } from "./stat-comparison.ts";
import { type VersionName, type VersionReason, parseVersionName, versionName } from "./version-name.ts";
import { VERSION_DEFAULTS, type VersionLimits, versionsToDrop } from "./version-retention.ts";

export interface Version extends VersionName {
  readonly sizeBytes: number;
  /** When it was last written, as its file says. */
  readonly mtimeNs: bigint;
}

interface FoundVersion extends Version {
  /** Where it is. */
  readonly path: TreePath;
  readonly inode: bigint;
}

/** Looks at the tree between two turns of others. */
const SLICE = 256;

/**
 * Replaced and deleted contents, in `.dray/versions/PATH/.dray-ID-REASON-MD5` (decision 17). The files say
 * everything: no database has to agree with them, and people can read them without dray.
 */
export class Versions {
  readonly #tree: Tree;
  readonly #clock: Clock;
  readonly #syncs: DirectorySyncs;
  readonly #limits: VersionLimits;
  /** Of all versions; undefined until prune() has counted. */
  #totalBytes: number | undefined;

  constructor(tree: Tree, clock: Clock, syncs: DirectorySyncs, limits: VersionLimits = VERSION_DEFAULTS) {
    this.#tree = tree;
    this.#clock = clock;
    this.#syncs = syncs;
    this.#limits = limits;
  }

  /** Whether prune() should be called: more bytes than allowed, or not counted yet. */
  get wantsPrune(): boolean {
    return this.#totalBytes === undefined || this.#totalBytes > this.#limits.maxBytes;
  }

  /**
   * Keeps what `path` holds now; its own name stays. When the promise is kept, content and version are durable.
   * @param expected as it was looked at last
   * @returns with what the file was like right after, since a second name moves the time of its last change;
   *   undefined when it is not `expected` any more
   * @throws a system error
   */
  async keep(
    path: TreePath,
    expected: Stat,
    reason: VersionReason,
    md5: Uint8Array | undefined,
  ): Promise<{ readonly version: Version; readonly stat: Stat } | undefined> {
    const found = this.#tree.stat(path);
    if (found?.kind !== "file" || !isSameContent(expected, found)) return undefined;
    const { at, name, kept } = this.#place(path, reason, md5);
    const again = kept.find(({ inode }) => inode === found.inode);
    // This very file was kept already, by an attempt that did not come to its end.
    if (again !== undefined) return { version: await this.#durable(again), stat: found };
    const how = await giveSecondName(this.#tree, this.#clock, path, at);
    const { inode, sizeBytes, mtimeNs } = found;
    const version: FoundVersion = { ...name, path: at, inode, sizeBytes, mtimeNs };
    const stat = this.#tree.stat(how === "link" ? at : path);
    if (stat === undefined || !isSameContent(found, stat)) {
      // Somebody was quicker. A link may be the last name of what was there: it stays then.
      if (how === "copy") this.#drop(version);
      else this.#added(version);
      return undefined;
    }
    this.#added(version);
    return { version: await this.#durable(version), stat };
  }

  /**
   * Moves a file to the versions: whatever has the name in that moment, so that nobody's write in between is lost.
   * When the promise is kept, that is durable.
   * @returns undefined when it is not `expected` any more: it is where it was then
   * @throws a system error
   */
  async take(
    path: TreePath,
    expected: Stat,
    reason: VersionReason,
    md5: Uint8Array | undefined,
  ): Promise<Version | undefined> {
    const found = this.#tree.stat(path);
    if (found?.kind !== "file" || !isSameContent(expected, found)) return undefined;
    await this.#lastingFolder([...VERSIONS_PATH, ...path]);
    const { at, name } = this.#place(path, reason, md5);
    // The rename moves the time of the last change, which is all that tells of some writes.
    if (!isUntouched(expected, this.#tree.stat(path))) return undefined;
    this.#tree.rename(path, at);
    const moved = this.#tree.stat(at);
    if (!isSameContent(expected, moved)) {
      this.#giveBack(at, path);
      return undefined;
    }
    const version: FoundVersion = {
      ...name,
      path: at,
      inode: found.inode,
      sizeBytes: found.sizeBytes,
      mtimeNs: found.mtimeNs,
    };
    this.#added(version);
    return await this.#durable(version, path.slice(0, -1));
  }

  /** Takes a version back that keep() has made, if the file still has its own name. @throws a system error */
  dropIfNeedless(path: TreePath, version: Version): void {
    const kept = this.#found(path).find(({ id }) => id === version.id);
    if (kept !== undefined && this.#tree.stat(path)?.inode === kept.inode) this.#drop(kept);
  }

  /** Of one file, the newest first. @throws a system error */
  history(path: TreePath): Version[] {
    return this.#found(path).map(shown);
  }

  /**
   * For reading.
   * @param id or the beginning of one, as long as only one version has it; undefined: the newest
   * @throws DrayError "not-found", "usage"; a system error
   */
  open(path: TreePath, id?: string): { readonly version: Version; readonly file: OpenFile } {
    const versions = this.#found(path);
    if (versions.length === 0) throw new DrayError("not-found", "no version of it is kept");
    const fitting = versions.filter((version) => version.id.startsWith(id ?? versions[0]!.id));
    if (fitting.length === 0) throw new DrayError("not-found", `it has no version ${id}`);
    if (fitting.length > 1)
      throw new DrayError("usage", `${fitting.length} of its versions begin with ${id}`);
    const version = fitting[0]!;
    return { version, file: this.#tree.open(version.path) };
  }

  /** Every name that has versions, in no particular order. @throws a system error */
  *paths(): Generator<TreePath> {
    for (const { folder, versions } of this.#folders(VERSIONS_PATH))
      if (versions.length > 0) yield folder.slice(VERSIONS_PATH.length);
  }

  /**
   * Removes what the limits do not allow, and counts the rest; others get their turn meanwhile.
   * @returns how many were removed. @throws a system error
   */
  async prune(): Promise<number> {
    const all: (FoundVersion & { file: string })[] = [];
    let looks = 0;
    for (const { folder, versions } of this.#folders(VERSIONS_PATH)) {
      const file = folder.join("/");
      for (const version of versions) all.push({ ...version, file });
      if (++looks % SLICE === 0) await othersTurn(this.#clock);
    }
    this.#totalBytes = all.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    const dropped = versionsToDrop(all, this.#limits, this.#clock.wallMs());
    for (const [index, version] of dropped.entries()) {
      this.#drop(version);
      if ((index + 1) % SLICE === 0) await othersTurn(this.#clock);
    }
    return dropped.length;
  }

  /** A folder has to last before the only copy of a content goes into it; one that is pruned meanwhile does not. */
  async #lastingFolder(folder: TreePath): Promise<void> {
    for (let inode: bigint | undefined; inode === undefined || inode !== this.#tree.stat(folder)?.inode;) {
      makeDirectories(this.#tree, folder);
      inode = this.#tree.stat(folder)?.inode;
      await this.#syncs.sync(folder);
    }
  }

  /** A free place for a version, and those that are there. */
  #place(
    path: TreePath,
    reason: VersionReason,
    md5: Uint8Array | undefined,
  ): { at: TreePath; name: VersionName; kept: FoundVersion[] } {
    const folder = [...VERSIONS_PATH, ...path];
    makeDirectories(this.#tree, folder);
    const kept = this.#found(path);
    // A clock that was set back must not turn the order around, nor two versions of one millisecond meet.
    const atMs = Math.max(this.#clock.wallMs(), (kept[0]?.atMs ?? 0) + 1);
    const { file, ...name } = versionName(
      atMs,
      reason,
      md5 === undefined ? undefined : Buffer.from(md5).toString("hex"),
    );
    return { at: [...folder, file], name, kept };
  }

  /** What was moved away is not what was to be: back, unless somebody was quicker; then it stays a version. */
  #giveBack(at: TreePath, path: TreePath): void {
    try {
      this.#tree.link(at, path);
      this.#tree.unlink(at);
    } catch (error) {
      if (isLinkImpossible(error) && this.#tree.stat(path) === undefined) this.#tree.rename(at, path);
      else if (systemErrorCode(error) !== "EEXIST") throw error;
    }
  }

  /** @param alsoSynced a directory in which a name went */
  async #durable(version: FoundVersion, alsoSynced?: TreePath): Promise<Version> {
    const file = this.#tree.open(version.path);
    try {
      const folder = version.path.slice(0, -1);
      await Promise.all([file.sync(), this.#syncs.syncAll(alsoSynced ? [folder, alsoSynced] : [folder])]);
    } finally {
      file.close();
    }
    this.#trim(version);
    return shown(version);
  }

  /** Drops the versions of the same file that are too many or too old now. */
  #trim(newest: FoundVersion): void {
    const own = this.#found(newest.path.slice(VERSIONS_PATH.length, -1)).map((kept) => ({
      ...kept,
      file: "",
    }));
    const limits = { ...this.#limits, maxBytes: Infinity };
    for (const old of versionsToDrop(own, limits, this.#clock.wallMs()))
      if (old.id !== newest.id) this.#drop(old);
  }

  #added(version: FoundVersion): void {
    if (this.#totalBytes !== undefined) this.#totalBytes += version.sizeBytes;
  }

  #drop(version: FoundVersion): void {
    try {
      this.#tree.unlink(version.path);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return;
    }
    if (this.#totalBytes !== undefined) this.#totalBytes -= version.sizeBytes;
    removeEmptyParents(this.#tree, version.path, VERSIONS_PATH.length);
  }

  /** The newest first. */
  #found(path: TreePath): FoundVersion[] {
    return this.#look([...VERSIONS_PATH, ...path]).versions;
  }

  #look(folder: TreePath): { versions: FoundVersion[]; others: string[] } {
    const versions: FoundVersion[] = [];
    const others: string[] = [];
    for (const { name } of this.#namesIn(folder)) {
      const parsed = parseVersionName(name);
      if (parsed === undefined) {
        others.push(name);
        continue;
      }
      const path = [...folder, name];
      const stat = this.#tree.stat(path);
      if (stat?.kind !== "file") continue;
      versions.push({ ...parsed, path, inode: stat.inode, sizeBytes: stat.sizeBytes, mtimeNs: stat.mtimeNs });
    }
    return { versions: versions.sort((a, b) => b.atMs - a.atMs), others };
  }

  *#folders(folder: TreePath): Generator<{ folder: TreePath; versions: FoundVersion[] }> {
    const { versions, others } = this.#look(folder);
    yield { folder, versions };
    for (const name of others) {
      const path = [...folder, name];
      if (this.#tree.stat(path)?.kind === "directory") yield* this.#folders(path);
    }
  }

  #namesIn(folder: TreePath): { name: string }[] {
    try {
      return this.#tree.list(folder);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === "ENOENT" || code === "ENOTDIR" || isNotFound(error)) return [];
      throw error;
    }
  }
}

function shown({ id, atMs, reason, md5, sizeBytes, mtimeNs }: FoundVersion): Version {
  return { id, atMs, reason, md5, sizeBytes, mtimeNs };
}
