import { DrayError, asDrayError, isNotFound } from "../../errors/dray-error.ts";
import { quoteName } from "../../wire/names.ts";
import { IgnoreRules } from "../ignore-rules.ts";
import { syncedPath } from "../names.ts";
import type { Clock, Ledger, Random, Tree } from "../ports.ts";
import { guardRoot } from "../root-guard.ts";
import { readRootId, writeRootId } from "../root-id.ts";
import { scan } from "../scan.ts";
import { type Changes, isStamped } from "./changes.ts";
import type { HubObserver } from "./hub-settings.ts";
import type { Roster } from "./roster.ts";
import { goneRow, idRow, knownId, restoreRoster, sequenceRow } from "./roster-rows.ts";

/** Deletes are remembered this long: who was away for longer brings the file back. */
const TOMBSTONE_KEPT_MS = 365 * 86_400_000;
/** Names that others get their turn after. */
const SLICE = 512;
const NO_RULES = "!*\n";

interface RecoveryPorts {
  readonly clock: Clock;
  readonly tree: Tree;
  readonly ledger: Ledger;
  readonly random: Random;
}

/**
 * Brings the roster back, and compares it with what is in the folder: what was changed there without us gets a
 * new version, what is gone a tombstone, unless so much is gone that something must be wrong (decision 23).
 * @param acceptsMissing somebody has said that it is meant so
 * @returns the id of this hub and its folder
 * @throws DrayError "refused" when the guard stops it; what the disk says
 */
export async function recover(
  ports: RecoveryPorts,
  roster: Roster,
  changes: Changes,
  observer: HubObserver,
  acceptsMissing: boolean,
): Promise<string> {
  const senseless = restoreRoster(ports.ledger, roster);
  if (senseless > 0)
    observer.warn(`${senseless} entries of the server's record make no sense and were passed over`);
  const known = knownId(ports.ledger);
  const found = readRootId(ports.tree);
  const { seen, touched, hidden } = look(ports.tree, roster, observer);
  const missing = [...roster.entries()].filter(
    ([name, entry]) =>
      entry.kind === "file" && !seen.has(name) && !hidden.some((folder) => isBelow(name, folder)),
  );
  if (known !== undefined) guard(ports.tree, known, found, roster.fileCount, missing.length, acceptsMissing);
  // A record that was lost, or never was: clients must not take our numbers for those of the old one.
  const id = known ?? (await writeRootId(ports.tree, ports.random));
  if (known !== undefined && found === undefined) await writeRootId(ports.tree, ports.random, known);
  await ports.ledger.put([idRow(id), sequenceRow(roster.sequence)]);
  await Promise.all(touched.map((name) => changes.inTurn(name, () => adopt(name, changes, observer))));
  await Promise.all(missing.map(([name]) => changes.inTurn(name, () => changes.bury(name))));
  if (missing.length > 0)
    observer.warn(
      `${missing.length} files are gone from the folder since the server ran last: they count as deleted`,
    );
  await forgetOld(ports, roster);
  return id;
}

interface Look {
  readonly seen: ReadonlySet<string>;
  /** Not as they were. */
  readonly touched: string[];
  /** What could not be looked into. */
  readonly hidden: string[];
}

function look(tree: Tree, roster: Roster, observer: HubObserver): Look {
  const seen = new Set<string>();
  const touched: string[] = [];
  const hidden: string[] = [];
  for (const finding of scan(tree, new IgnoreRules(NO_RULES))) {
    if (finding.kind === "file") {
      seen.add(finding.name);
      if (!isStamped(roster.file(finding.name), finding.stat)) touched.push(finding.name);
    } else {
      if (finding.why === "unreadable") hidden.push(finding.name);
      if (finding.why !== "empty-directory")
        observer.warn(`${quoteName(finding.name)} is not served: ${finding.detail}`);
    }
  }
  return { seen, touched, hidden };
}

function isBelow(name: string, folder: string): boolean {
  return folder === "" || name === folder || name.startsWith(`${folder}/`);
}

function guard(
  tree: Tree,
  knownId: string,
  foundId: string | undefined,
  knownFiles: number,
  missingFiles: number,
  accepts: boolean,
): void {
  if (knownFiles === 0) return;
  const verdict = guardRoot({ root: tree.rootState(), knownId, foundId, knownFiles, missingFiles });
  if (verdict.verdict === "go" || (accepts && verdict.isApprovable)) return;
  const remedy = verdict.isApprovable
    ? "; if they are meant to be deleted at all clients, start with --accept-missing"
    : "";
  throw new DrayError("refused", `${verdict.why}, and clients would delete what is missing${remedy}`);
}

async function adopt(name: string, changes: Changes, observer: HubObserver): Promise<void> {
  const checked = syncedPath(name, { isWindows: false });
  if ("problem" in checked) return observer.warn(`${quoteName(name)} is not served: it ${checked.problem}`);
  try {
    await changes.adopt(name, checked.path);
  } catch (error) {
    if (!isNotFound(error)) observer.warn(`${quoteName(name)} cannot be read: ${asDrayError(error).message}`);
  }
}

async function forgetOld({ clock, ledger }: RecoveryPorts, roster: Roster): Promise<void> {
  const oldest = clock.wallMs() - TOMBSTONE_KEPT_MS;
  const old = [...roster.entries()].filter(
    ([, entry]) => entry.kind === "deleted" && entry.deletedMs < oldest,
  );
  for (let from = 0; from < old.length; from += SLICE) {
    const names = old.slice(from, from + SLICE).map(([name]) => name);
    for (const name of names) roster.forget(name);
    await ledger.put(names.map(goneRow));
  }
}
