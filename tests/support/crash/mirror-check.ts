import * as fs from "node:fs";
import { join } from "node:path";
import type { FileFacts } from "../../../src/disk/file-facts.ts";
import { isTempName } from "../../../src/disk/publication.ts";
import type { DistrustedSpan } from "../../../src/mirror/job.ts";
import { ITEM_STATE } from "../../../src/mirror/journal-schema.ts";
import { reasonToFetch } from "../../../src/mirror/local-copy.ts";
import { StateDirectory } from "../../../src/mirror/state-directory.ts";
import type { DiskEntry } from "./crash-disk.ts";
import type { CrashState } from "./crash-states.ts";
import { materialise } from "./disk-entries.ts";
import { pretendToHaveBooted } from "./other-boot.ts";
import { SOURCE_TREES, type SourceFile } from "./mirror-recording.ts";

const STATE = "m/.dray/";
/** From the root of a mirror's disk: holds the boot that wrote it. */
export const SYNC_STATE = `${STATE}sync-state.json`;

export interface MirrorPromises {
  /** Where the source's files are. */
  mirrored: string;
  durability: "strict" | "batch" | "none";
  /** Whether the mirror was started on what a power failure had left. */
  isAfterPowerFailure: boolean;
  /** What the source showed, one order for each. */
  trees: readonly number[];
  /** An empty directory; what is left in it is the caller's. */
  scratch: string;
}

/**
 * What is wrong with a mirror's disk after a crash: by what a reader sees at once, and by what a new daemon
 * would believe. It opens the journal with the daemon's own code.
 */
export function mirrorFaults(state: CrashState, promises: MirrorPromises): string[] {
  return [...visibleFaults(state, promises), ...believedFaults(state, promises)];
}

/** Promise 1, and what exit code 0 has promised of files that nothing has touched since. */
function visibleFaults(
  { kind, entries, said, isOrdered }: CrashState,
  { mirrored, durability, isAfterPowerFailure, trees }: MirrorPromises,
): string[] {
  const faults: string[] = [];
  const shown = trees.map((number) => SOURCE_TREES[number]!);
  const isSurvived = durability === "strict" || (kind === "kill" && !isAfterPowerFailure);
  for (const [path, entry] of filesBelow(entries, mirrored)) {
    if (
      isSurvived &&
      !isTempName(path.slice(path.lastIndexOf("/") + 1)) &&
      versionsOf(path).every((file) => !isWhole(entry, file))
    )
      faults.push(`${path} is visible, and is nothing that the source ever had`);
  }
  // Nothing syncs the directories of the trash before something is moved there.
  const keepsTrash = isOrdered;
  const finished = said.length;
  if (finished === 0 || (kind === "power" && durability === "none")) return faults;
  for (const [path, file] of shown[finished - 1]!.files) {
    const entry = entries.get(`${mirrored}/${path}`);
    const later = shown[finished]?.files.get(path);
    // By the next order's doing; what is whole of that, `believedFaults` and `isSurvived` look at.
    const mayHaveChanged = finished < shown.length && later?.mtimeUs !== file.mtimeUs;
    const isThere = entry !== undefined && isWhole(entry, file);
    if (!isThere && !mayHaveChanged)
      faults.push(
        `${path} is ${entry === undefined ? "not there" : "not whole"}, though the order was reported complete`,
      );
    if (!isThere && mayHaveChanged && later === undefined && keepsTrash && !isInTrash(entries, path, file))
      faults.push(`${path} is neither there nor in the trash`);
    if (mayHaveChanged && later !== undefined && entry === undefined)
      faults.push(`${path} is gone: neither the old nor the new one`);
  }
  for (const [path, target] of shown[finished - 1]!.links) {
    if (entries.get(`${mirrored}/${path}`)?.target !== target) faults.push(`the link ${path} is gone`);
  }
  for (const path of shown[finished - 1]!.directories) {
    if (!entries.has(`${mirrored}/${path}`)) faults.push(`the directory ${path} is gone`);
  }
  if (finished < shown.length) return faults;
  for (const [path, file] of shown[0]!.files) {
    if (shown.at(-1)!.files.has(path)) continue;
    if (!isInTrash(entries, path, file)) faults.push(`${path} is not in the trash`);
  }
  return faults;
}

/** What a new daemon would take for done, or for unchanged, has to be whole. */
function believedFaults(state: CrashState, { mirrored, scratch }: MirrorPromises): string[] {
  const { entries, kind } = state;
  const faults: string[] = [];
  const own = new Map(
    [...entries].filter(([path]) => path.startsWith(STATE) || path === "m" || path === "m/.dray"),
  );
  materialise(own, scratch);
  if (kind === "power") pretendToHaveBooted(join(scratch, SYNC_STATE));
  fs.mkdirSync(join(scratch, "m"), { recursive: true });
  let directory: StateDirectory;
  try {
    directory = new StateDirectory(join(scratch, "m"), state.atMs + 1_000);
  } catch (error) {
    return [`the mirror does not start: ${String(error)}`];
  }
  const { distrusted, uncheckedSinceMs = Infinity } = directory;
  for (const [path, entry] of filesBelow(entries, mirrored)) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (isTempName(name)) {
      const isSwept = entry.ctimeMs >= uncheckedSinceMs;
      if (isPart(name) && !isSwept && !isDistrustedPart(entry, distrusted) && !isBeginning(entry))
        faults.push(`the part ${path} would be gone on with, and is not the beginning of anything`);
      continue;
    }
    for (const file of versionsOf(path)) {
      const isBelieved =
        reasonToFetch(factsOf(entry), { ...file, sizeBytes: file.bytes.length }, distrusted) === undefined;
      if (isBelieved && !isWhole(entry, file)) faults.push(`${path} counts as unchanged, and is not whole`);
    }
  }
  const journal = directory.openJournal((message) => {
    faults.push(message);
  });
  for (const order of journal.orders()) {
    if (order.state !== "running") continue;
    if (journal.listSize(order.id, 0) === undefined) continue; // it is listed anew
    for (const item of journal.items(order.id, 0)) {
      if (item.state !== ITEM_STATE.done && item.state !== ITEM_STATE.unchanged) continue;
      const entry = entries.get(`${mirrored}/${item.path}`);
      const file = versionsOf(item.path).find(({ mtimeUs }) => mtimeUs === item.mtimeUs);
      const isThere =
        entry !== undefined &&
        (item.kind === "file"
          ? file !== undefined && isWhole(entry, file)
          : item.kind === "symlink"
            ? entry.target === item.target
            : entry.kind === "directory");
      if (!isThere) faults.push(`the journal says that ${item.path} is done, and it is not there whole`);
    }
  }
  journal.close();
  directory.close(true);
  return faults;
}

function* filesBelow(
  entries: ReadonlyMap<string, DiskEntry>,
  mirrored: string,
): Generator<[string, DiskEntry]> {
  for (const [path, entry] of entries) {
    if (entry.kind === "file" && path.startsWith(`${mirrored}/`))
      yield [path.slice(mirrored.length + 1), entry];
  }
}

function versionsOf(path: string): SourceFile[] {
  return SOURCE_TREES.map(({ files }) => files.get(path)).filter((file) => file !== undefined);
}

function isWhole(entry: DiskEntry, file: SourceFile): boolean {
  return entry.kind === "file" && Buffer.compare(entry.bytes, file.bytes) === 0;
}

function isInTrash(entries: ReadonlyMap<string, DiskEntry>, path: string, file: SourceFile): boolean {
  return [...entries].some(
    ([at, entry]) => at.startsWith(`${STATE}trash/`) && at.endsWith(`/${path}`) && isWhole(entry, file),
  );
}

function isPart(name: string): boolean {
  return name.startsWith(".dray-part");
}

function isDistrustedPart({ mtimeNs }: DiskEntry, distrusted: DistrustedSpan | undefined): boolean {
  const mtimeMs = Number(mtimeNs / 1000n) / 1000;
  return distrusted !== undefined && mtimeMs >= distrusted.fromMs && mtimeMs <= distrusted.untilMs;
}

function isBeginning({ bytes }: DiskEntry): boolean {
  const all = SOURCE_TREES.flatMap(({ files }) => [...files.values()]);
  return all.some((file) => Buffer.compare(file.bytes.subarray(0, bytes.length), bytes) === 0);
}

function factsOf({ kind, bytes, mtimeNs, mode, ctimeMs, inode }: DiskEntry): FileFacts {
  const mtimeUs = Number(mtimeNs / 1000n);
  return { kind, sizeBytes: bytes.length, mtimeUs, mode, ctimeMs, inode: Number(inode), device: 1 };
}
