/** What tells one state of a file from another without reading it. */
export interface LocalStamp {
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  /** Moves with every write, even of one that puts size and mtime back. */
  readonly ctimeNs: bigint;
  readonly inode: bigint;
}

/** A state of a file that this client and its server have agreed on, and where it lay then. */
export interface Base extends LocalStamp {
  /** 32 hex digits. */
  readonly md5: string;
  /** The server's number of this version, where it gives any. */
  readonly sequence: number | undefined;
}

/** What is at the path on this machine. */
export type Local =
  | { readonly kind: "absent" }
  /** `md5` undefined: not read yet. */
  | ({ readonly kind: "file"; readonly md5: string | undefined } & LocalStamp)
  /** A directory, a link, a device: nothing that the protocol can carry. */
  | { readonly kind: "other"; readonly what: string };

/** What the server has under the name, as far as is known. */
export type Remote =
  /** Nobody has said: no server yet, or one that lists nothing. */
  | { readonly kind: "unknown" }
  /** Missing from the server's list, which says nothing of why. */
  | { readonly kind: "unlisted" }
  /** The server says that it never had it. */
  | { readonly kind: "never" }
  /** Deleted there; `md5` is what was deleted, where that is known. */
  | { readonly kind: "deleted"; readonly md5: string | undefined }
  | {
      readonly kind: "file";
      readonly md5: string | undefined;
      readonly sizeBytes: number | undefined;
      /** Microseconds since 1970, as the server believes. */
      readonly mtimeUs: number | undefined;
      readonly sequence: number | undefined;
    };

export interface ReconcileSettings {
  /** Microseconds since 1970, to know an absurd time when it comes. */
  readonly nowUs: number;
  /** Our own kind of server can be asked what became of a name that it does not list. */
  readonly canAsk: boolean;
  /** The literal rules for names that are gone on one side while the two were apart: what is there is given to both. */
  readonly resurrects: boolean;
}

export type Verdict =
  | { readonly action: "in-sync" }
  /** The digest of the local file decides, and is not known. */
  | { readonly action: "hash" }
  /** Both sides hold the same: only the base is written. */
  | { readonly action: "adopt" }
  /** Neither side has it any more: the base is forgotten. */
  | { readonly action: "forget" }
  | { readonly action: "upload" }
  /** The server's content is wanted; what is here goes to the versions when it comes. */
  | { readonly action: "request" }
  /** The server's content is wanted; what is here becomes a conflict copy when it comes. */
  | { readonly action: "conflict" }
  /** The server is asked what became of it. */
  | { readonly action: "ask" }
  | { readonly action: "delete-remote" }
  /** `isToldSo`: the server said that it was deleted. Otherwise it is only missing there. */
  | { readonly action: "delete-local"; readonly isToldSo: boolean }
  | { readonly action: "ignore"; readonly why: string };

/** File systems and programs round times to two seconds. */
const MTIME_TOLERANCE_US = 2_000_000;
const DAY_US = 86_400_000_000;
/** 1980: what lies before is a clock that was never set. */
const FIRST_SANE_US = 315_532_800_000_000;

const IN_SYNC: Verdict = { action: "in-sync" };
const UPLOAD: Verdict = { action: "upload" };
const REQUEST: Verdict = { action: "request" };
const CONFLICT: Verdict = { action: "conflict" };
const HASH: Verdict = { action: "hash" };
const ADOPT: Verdict = { action: "adopt" };
const FORGET: Verdict = { action: "forget" };

type Likeness = "same" | "different" | "unsure";

/**
 * What is to be done about one path (decisions 16, 18, 20 and 21). Content that only this machine has is never given
 * up: it is uploaded, becomes a conflict copy, or goes to the versions. A delete never beats an edit that
 * whoever deleted has not seen. Where there is a base, times decide nothing.
 */
export function reconcile(
  base: Base | undefined,
  local: Local,
  remote: Remote,
  settings: ReconcileSettings,
): Verdict {
  if (local.kind === "other") return { action: "ignore", why: besideOther(local.what, remote) };
  if (base === undefined) return withoutBase(local, remote, settings);
  if (settings.resurrects && (local.kind === "absent") !== (remote.kind !== "file")) {
    return withoutBase(local, remote, settings);
  }
  if (local.kind === "absent") return locallyGone(base, remote);
  return locallyThere(base, local, remote, settings);
}

function besideOther(what: string, remote: Remote): string {
  return remote.kind === "file" ? `${what} is in the way of the server's file` : `${what} cannot be synced`;
}

function withoutBase(
  local: Exclude<Local, { kind: "other" }>,
  remote: Remote,
  settings: ReconcileSettings,
): Verdict {
  if (local.kind === "absent") return remote.kind === "file" ? REQUEST : FORGET;
  if (remote.kind !== "file") return UPLOAD;
  const likeness = likenessOf(local, remote);
  if (likeness === "same") return ADOPT;
  if (likeness === "unsure" && local.md5 === undefined) return HASH;
  return byTime(local, remote, settings.nowUs);
}

/** Never agreed on, and different: the newer one stays at the path. The older one is kept, wherever it is. */
function byTime(local: LocalStamp, remote: Remote & { kind: "file" }, nowUs: number): Verdict {
  const localUs = Number(local.mtimeNs / 1000n);
  const remoteUs = remote.mtimeUs;
  if (remoteUs === undefined || !isSane(localUs, nowUs) || !isSane(remoteUs, nowUs)) return CONFLICT;
  if (localUs > remoteUs + MTIME_TOLERANCE_US) return UPLOAD;
  return remoteUs > localUs + MTIME_TOLERANCE_US ? REQUEST : CONFLICT;
}

function isSane(timeUs: number, nowUs: number): boolean {
  return timeUs >= FIRST_SANE_US && timeUs <= nowUs + DAY_US;
}

function locallyGone(base: Base, remote: Remote): Verdict {
  if (remote.kind === "unknown") return { action: "delete-remote" };
  if (remote.kind !== "file") return FORGET;
  return remoteLikeness(base, remote) === "same" ? { action: "delete-remote" } : REQUEST;
}

function locallyThere(
  base: Base,
  local: Local & { kind: "file" },
  remote: Remote,
  settings: ReconcileSettings,
): Verdict {
  const known = isStamped(base, local) ? { ...local, md5: local.md5 ?? base.md5 } : local;
  const edited = likenessOf(known, base);
  if (remote.kind === "never") return UPLOAD;
  if (remote.kind === "unlisted" && settings.canAsk) return { action: "ask" };
  if (remote.kind === "deleted" || remote.kind === "unlisted") {
    if (edited === "unsure") return HASH;
    return edited === "same" ? { action: "delete-local", isToldSo: remote.kind === "deleted" } : UPLOAD;
  }
  if (remote.kind === "unknown" || remoteLikeness(base, remote) === "same") {
    if (edited === "unsure") return HASH;
    if (edited === "different") return UPLOAD;
    // The same bytes with a new date, or a version number that was not known.
    return isStamped(base, local) && isNumbered(base, remote) ? IN_SYNC : ADOPT;
  }
  const agrees = likenessOf(known, remote);
  if (agrees === "same") return ADOPT;
  if (known.md5 === undefined && (agrees === "unsure" || edited === "unsure")) return HASH;
  // The server has lost what it once confirmed: it was restored from a backup.
  if (isOlder(remote, base)) return UPLOAD;
  return edited === "same" ? REQUEST : CONFLICT;
}

function isNumbered(base: Base, remote: Remote): boolean {
  return remote.kind !== "file" || remote.sequence === undefined || remote.sequence === base.sequence;
}

function isOlder(remote: Remote & { kind: "file" }, base: Base): boolean {
  return base.sequence !== undefined && remote.sequence !== undefined && remote.sequence < base.sequence;
}

/** Whether this is still the file that the base was written for. */
export function isStamped(base: LocalStamp, local: LocalStamp): boolean {
  return (
    base.sizeBytes === local.sizeBytes &&
    base.mtimeNs === local.mtimeNs &&
    base.ctimeNs === local.ctimeNs &&
    base.inode === local.inode
  );
}

/** Whether a local file holds what the other one holds; sizes that differ need no digest. */
function likenessOf(
  local: { readonly sizeBytes: number; readonly md5: string | undefined },
  other: { readonly sizeBytes: number | undefined; readonly md5: string | undefined },
): Likeness {
  if (other.sizeBytes !== undefined && other.sizeBytes !== local.sizeBytes) return "different";
  if (other.md5 === undefined || local.md5 === undefined) return "unsure";
  return other.md5 === local.md5 ? "same" : "different";
}

function remoteLikeness(base: Base, remote: Remote & { kind: "file" }): Likeness {
  // A server that says no digest is believed only about a version that it numbers.
  if (remote.md5 === undefined && remote.sequence !== undefined && remote.sequence === base.sequence)
    return "same";
  return likenessOf(base, remote);
}
