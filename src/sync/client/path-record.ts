import type { Stat } from "../ports.ts";
import { isStamped, type Base, type Local, type LocalStamp, type Remote } from "./reconcile.ts";

/** A state that was on its way when its row was written; what came of it shows in what is found later. */
export type Intent =
  /** This was about to be published here. */
  | { readonly kind: "publish"; readonly next: Base }
  /** The file was about to be moved to the versions, because the server deleted it. */
  | { readonly kind: "remove" }
  /** The server was about to be told that this is whole. */
  | { readonly kind: "upload"; readonly sent: Base };

/** What outlives the process about one path. */
export interface PathRecord {
  readonly base: Base | undefined;
  readonly intent: Intent | undefined;
}

export function stampOf(stat: LocalStamp): LocalStamp {
  const { sizeBytes, mtimeNs, ctimeNs, inode } = stat;
  return { sizeBytes, mtimeNs, ctimeNs, inode };
}

/** What a look showed, as far as the rules need it. */
export function localOf(stat: Stat | undefined): Local {
  if (stat === undefined) return { kind: "absent" };
  if (stat.kind === "file") return { kind: "file", md5: undefined, ...stampOf(stat) };
  // A directory has no name on the wire: the file that was there is gone.
  return stat.kind === "directory" ? { kind: "absent" } : { kind: "other", what: OTHERS[stat.kind] };
}

const OTHERS = { symlink: "a symbolic link", special: "a special file" } as const;

/**
 * What a row of an earlier run means now: a crash may have come before, in or after what it announces.
 * An upload's intent stays until the server has said what it has (`baseFor`).
 */
export function recovered(record: PathRecord, local: Local): PathRecord {
  const { base, intent } = record;
  if (intent === undefined || intent.kind === "upload") return record;
  if (intent.kind === "remove") {
    return { base: local.kind === "absent" ? undefined : base, intent: undefined };
  }
  // The rename that published it has moved its ctime.
  if (local.kind === "file" && isStamped({ ...intent.next, ctimeNs: local.ctimeNs }, local)) {
    return { base: { ...intent.next, ctimeNs: local.ctimeNs }, intent: undefined };
  }
  // The old content was out of the way, and the new one not yet in place: it is asked for again.
  if (local.kind === "absent") return { base: undefined, intent: undefined };
  return { base, intent: undefined };
}

/** The base to reconcile with: an upload whose confirmation got lost counts, as soon as the server shows that it has it. */
export function baseFor(record: PathRecord, remote: Remote): Base | undefined {
  const { base, intent } = record;
  if (intent?.kind !== "upload") return base;
  if (remote.kind === "file" && remote.md5 === intent.sent.md5) {
    return { ...intent.sent, sequence: remote.sequence };
  }
  if (remote.kind === "deleted" && remote.md5 === intent.sent.md5) return intent.sent;
  return base === undefined && remote.kind === "unlisted" ? intent.sent : base;
}

export function encodeRecord({ base, intent }: PathRecord): string | undefined {
  if (base === undefined && intent === undefined) return undefined;
  const row: Record<string, unknown> = {};
  if (base !== undefined) row["base"] = baseRow(base);
  if (intent?.kind === "publish") row["publish"] = baseRow(intent.next);
  if (intent?.kind === "upload") row["upload"] = baseRow(intent.sent);
  if (intent?.kind === "remove") row["remove"] = true;
  return JSON.stringify(row);
}

/** @returns undefined for a row that cannot be read: without a base nothing is lost */
export function decodeRecord(text: string): PathRecord | undefined {
  try {
    const row = JSON.parse(text) as Record<string, unknown>;
    return { base: baseOf(row["base"]), intent: intentOf(row) };
  } catch {
    return undefined;
  }
}

function intentOf(row: Record<string, unknown>): Intent | undefined {
  const next = baseOf(row["publish"]);
  if (next !== undefined) return { kind: "publish", next };
  const sent = baseOf(row["upload"]);
  if (sent !== undefined) return { kind: "upload", sent };
  return row["remove"] === true ? { kind: "remove" } : undefined;
}

function baseRow(base: Base): unknown[] {
  return [
    base.sizeBytes,
    base.mtimeNs.toString(),
    base.ctimeNs.toString(),
    base.inode.toString(),
    base.md5,
    ...(base.sequence === undefined ? [] : [base.sequence]),
  ];
}

/** @throws SyntaxError */
function baseOf(row: unknown): Base | undefined {
  if (!Array.isArray(row)) return undefined;
  const [sizeBytes, mtimeNs, ctimeNs, inode, md5, sequence] = row as unknown[];
  if (typeof sizeBytes !== "number" || typeof md5 !== "string" || !/^[0-9a-f]{32}$/.test(md5))
    return undefined;
  if (typeof mtimeNs !== "string" || typeof ctimeNs !== "string" || typeof inode !== "string")
    return undefined;
  return {
    sizeBytes,
    mtimeNs: BigInt(mtimeNs),
    ctimeNs: BigInt(ctimeNs),
    inode: BigInt(inode),
    md5,
    sequence: typeof sequence === "number" ? sequence : undefined,
  };
}
