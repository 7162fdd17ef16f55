import type { SkipReason } from "../scan.ts";
import type { Hold } from "./deletes.ts";
import { NOT_LOOKED_AT, type PathEntry } from "./path-book.ts";
import { isStamped } from "./reconcile.ts";

/** How an agent stands with its server. */
export interface AgentStatus {
  readonly state: "connected" | "connecting" | "offline";
  readonly peer: string | undefined;
  readonly server: "dray" | "other" | undefined;
  readonly hold: Hold | undefined;
}

export type FileState =
  "in-sync" | "waiting" | "sending" | "receiving" | "deleting" | "held" | "refused" | "ignored";

export interface FileStatus {
  readonly name: string;
  readonly state: FileState;
  /** In words; undefined for what is in sync. */
  readonly why: string | undefined;
}

/** What is the matter with one file. */
export function fileStatus(entry: PathEntry, isOnline: boolean, isHeld: boolean): FileStatus {
  const { name, work, problem } = entry;
  if (isHeld) return { name, state: "held", why: "a person has to approve that it is deleted" };
  if (work === "uploading") return { name, state: "sending", why: undefined };
  if (work === "landing") return { name, state: "receiving", why: undefined };
  if (work === "removing") return { name, state: "deleting", why: undefined };
  if (entry.local === NOT_LOOKED_AT) return { name, state: "waiting", why: "it is being looked at" };
  if (entry.local.kind === "other") return { name, state: "ignored", why: problem ?? entry.local.what };
  if (problem !== undefined) return { name, state: "refused", why: problem };
  if (isAgreed(entry)) return { name, state: "in-sync", why: undefined };
  return { name, state: "waiting", why: waitsFor(entry, isOnline) };
}

function isAgreed({ base, local, remote }: PathEntry): boolean {
  if (base === undefined || local.kind !== "file" || !isStamped(base, local)) return false;
  return remote.kind === "unknown" || (remote.kind === "file" && (remote.md5 ?? base.md5) === base.md5);
}

function waitsFor({ base, local, remote }: PathEntry, isOnline: boolean): string {
  if (!isOnline) return "the server cannot be reached";
  if (local.kind !== "file") {
    return remote.kind === "file" && base === undefined ? "it is on its way here" : "it is gone here";
  }
  return base !== undefined && isStamped(base, local)
    ? "the server has another content"
    : "it was changed here";
}

export function stateOfSkipped(why: SkipReason | "refused"): FileState {
  return why === "refused" || why === "unreadable" ? "refused" : "ignored";
}
