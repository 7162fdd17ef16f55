import { DrayError, withContext } from "../../errors/dray-error.ts";
import { quoteName } from "../../wire/names.ts";
import { IgnoreRules } from "../ignore-rules.ts";
import { syncedPath, type NamePlatform } from "../names.ts";
import type { Ledger, Stat, Tree, TreePath } from "../ports.ts";
import { scan } from "../scan.ts";
import type { Store } from "../store.ts";
import type { Version } from "../versions.ts";
import { stateOfSkipped, type FileStatus } from "./agent-status.ts";
import { decodeRecord } from "./path-record.ts";
import { isStamped, type Base } from "./reconcile.ts";
import { lastServerTable } from "./server-table.ts";

/** Somebody else writes the same file at the same moments again and again: not now. */
const MAX_ATTEMPTS = 20;

/** What the last run knew of each file, against what is there now; for when no agent runs. @throws a system error */
export function* restStatus(ports: { tree: Tree; ledger: Ledger }): Generator<FileStatus> {
  const bases = new Map<string, Base>();
  for (const [name, text] of ports.ledger.rows(lastServerTable(ports.ledger))) {
    const base = decodeRecord(text)?.base;
    if (base !== undefined) bases.set(name, base);
  }
  for (const found of scan(ports.tree, IgnoreRules.from(ports.tree))) {
    if (found.kind === "skipped") {
      yield { name: found.name, state: stateOfSkipped(found.why), why: found.detail };
      continue;
    }
    const base = bases.get(found.name);
    bases.delete(found.name);
    yield restOf(found.name, base, found.stat);
  }
  for (const name of bases.keys()) yield { name, state: "waiting", why: "it is gone here" };
}

function restOf(name: string, base: Base | undefined, stat: Stat): FileStatus {
  if (base === undefined) return { name, state: "waiting", why: "it is new here" };
  if (isStamped(base, stat)) return { name, state: "in-sync", why: undefined };
  return { name, state: "waiting", why: "it was changed here" };
}

/** The earlier contents of a file, the newest first. @throws DrayError "name"; a system error */
export function historyOf(store: Store, name: string, platform: NamePlatform): Version[] {
  return store.versions.history(pathOf(name, platform));
}

/**
 * Brings an earlier content back; what is there now goes to the versions. A running agent sees it as an edit.
 * @param versionId or its beginning; undefined: the newest
 * @throws DrayError "not-found", "usage", "name"; a system error
 */
export async function restoreVersion(
  ports: { tree: Tree; store: Store },
  name: string,
  versionId: string | undefined,
  platform: NamePlatform,
): Promise<Version> {
  const path = pathOf(name, platform);
  const { staging, publisher, versions } = ports.store;
  const { version, file } = versions.open(path, versionId);
  const staged = staging.create();
  try {
    const buffer = new Uint8Array(1024 * 1024);
    for (let position = 0; position < version.sizeBytes;) {
      const count = file.read(buffer, position);
      if (count === 0) throw new DrayError("integrity", "the version is shorter than it was");
      staged.append(buffer.subarray(0, count));
      position += count;
    }
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const expected = ports.tree.stat(path);
      const keep = { as: "version", reason: "restored", md5: undefined } as const;
      const done = await publisher.publish(staged, { path, expected, keep });
      if (done.outcome === "published") return version;
    }
    throw new DrayError("changed", "somebody else goes on changing it");
  } catch (error) {
    throw withContext(`Cannot restore ${quoteName(name)}`, error);
  } finally {
    file.close();
    staged.discard();
  }
}

function pathOf(name: string, platform: NamePlatform): TreePath {
  const found = syncedPath(name, platform);
  if ("problem" in found) throw new DrayError("name", `the name ${quoteName(name)} ${found.problem}`);
  return found.path;
}
