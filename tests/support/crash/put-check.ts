import { join } from "node:path";
import { isTempName } from "../../../src/disk/publication.ts";
import { OwnerJournal } from "../../../src/fileserve/owner-journal.ts";
import type { DiskEntry } from "./crash-disk.ts";
import type { CrashState } from "./crash-states.ts";
import { materialise } from "./disk-entries.ts";
import { SERVED } from "./put-recording.ts";

const ROOT = "served/";
const STATE = `${ROOT}.dray`;
const OWNER = "alice";

/** The files that a client can see, by their names. */
export function visibleFiles({ entries }: CrashState): Map<string, DiskEntry> {
  return new Map(
    [...entries]
      .filter(([path, { kind }]) => kind === "file" && path.startsWith(ROOT) && !path.startsWith(`${STATE}/`))
      .map(([path, entry]) => [path.slice(ROOT.length), entry]),
  );
}

/**
 * What is wrong with the disk of a file server after a crash: by what clients see, and by whose the files are
 * in the record of owners, which is opened by the server's own code.
 * @param scratch an empty directory; what is left in it is the caller's
 */
export function putFaults(state: CrashState, scratch: string): string[] {
  const faults: string[] = [];
  const visible = visibleFiles(state);
  const finished = state.said.length;
  const before = SERVED[finished]!;
  const after = SERVED[Math.min(finished + 1, SERVED.length - 1)]!;
  for (const path of new Set([...visible.keys(), ...before.keys(), ...after.keys()])) {
    const entry = visible.get(path);
    if (isTempName(path.slice(path.lastIndexOf("/") + 1))) faults.push(`${path} is visible`);
    else if (![before, after].some((served) => isSame(entry?.bytes, served.get(path))))
      faults.push(`${path} is ${entry === undefined ? "not there" : "neither the old nor the new one"}`);
  }
  const kept = [...state.entries]
    .filter(([path]) => path.startsWith(`${STATE}/trash/`))
    .map(([, entry]) => entry);
  for (const served of SERVED.slice(0, finished + 1)) {
    for (const [path, bytes] of served) {
      const isKept = [...visible.values(), ...kept].some((entry) => isSame(entry.bytes, bytes));
      if (!isKept) faults.push(`what ${path} once held is neither there nor in the trash`);
    }
  }
  return [...faults, ...ownerFaults(state, visible, scratch)];
}

function ownerFaults(
  { entries }: CrashState,
  visible: ReadonlyMap<string, DiskEntry>,
  scratch: string,
): string[] {
  if (!entries.has(STATE)) return [];
  const own = [...entries].filter(
    ([path]) => path === "served" || path === STATE || path.startsWith(`${STATE}/owners`),
  );
  materialise(new Map(own), scratch);
  const faults: string[] = [];
  const owners = new OwnerJournal(join(scratch, STATE, "owners.db"), (why) => faults.push(why));
  for (const [path, { bytes, mtimeNs }] of visible) {
    const owner = owners.ownerOf({ path, sizeBytes: bytes.length, mtimeUs: Number(mtimeNs / 1000n) });
    if (owner !== OWNER) faults.push(`${path} belongs to ${owner}`);
  }
  owners.close();
  return faults;
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return Buffer.compare(one, other) === 0;
}
