import type { FetchEvent, FileResult, ReplicaEvent, ReplicaResult, TreeResult } from "./fetch-events.ts";
import { fractionDone, type Standing } from "./order-meter.ts";
import { safeName, safeText } from "./safe-text.ts";
import { hostAndPort } from "./source-label.ts";
import { countOf, formatBytes, formatCount, formatDuration, formatRate, formatTimeLeft } from "./units.ts";

/** Failures, and as many skipped items, that are shown one by one; then they are only counted. */
const MAX_SHOWN_ITEMS = 20;

/** A rate over less than this would only be noise. */
const SHORTEST_RATED_MS = 100;

type NoteEvent = Extract<
  FetchEvent,
  { type: "started" | "restarted" | "retry" | "failure" | "skipped" | "file" | "replica" }
>;

/** The events of a fetch as lines for people: no control characters, and no more than somebody reads. */
export class FetchNotes {
  readonly #shown = { failure: 0, skipped: 0 };

  /** Undefined where there is nothing to say. */
  of(event: NoteEvent): string | undefined {
    switch (event.type) {
      case "started":
        if (event.bytesResumed === 0) return undefined;
        return `Going on with ${safeName(event.file)}: ${formatBytes(event.bytesResumed)} of ${formatBytes(event.sizeBytes)} are there already`;
      case "restarted":
        return `Starting ${safeName(event.file)} over: ${safeText(event.reason)}`;
      case "retry": {
        const count = event.attempts === undefined ? "" : `, ${event.attempt} of ${event.attempts}`;
        return `${upperFirst(safeText(event.message))} (trying again in ${formatDuration(event.waitMs)}${count})`;
      }
      case "failure":
        return this.#counted("failure", `Failed: ${failureText(event)}`);
      case "skipped":
        return this.#counted("skipped", `Skipped: ${safeName(event.file)}: ${safeText(event.reason)}`);
      case "replica":
        return replicaNote(event);
      case "file":
        return event.backup === undefined ? undefined : backupLine(event.backup);
    }
  }

  #counted(kind: "failure" | "skipped", line: string): string | undefined {
    const shown = (this.#shown[kind] += 1);
    if (shown <= MAX_SHOWN_ITEMS) return line;
    if (shown > MAX_SHOWN_ITEMS + 1) return undefined;
    return `More ${kind === "failure" ? "failures" : "skipped items"} follow; from here on they are only counted`;
  }
}

/** `Progress: 45%, 1.20 GiB of 2.67 GiB, 310 MiB/s, 0:05 left`. */
export function fetchProgressLine(standing: Standing): string {
  const parts = [`${formatBytes(standing.bytesDone)} of ${formatBytes(standing.bytesListed)}`];
  parts.unshift(`${Math.floor(fractionDone(standing) * 100)}%`);
  if (standing.filesListed > 1)
    parts.push(`${formatCount(standing.filesDone)} of ${countOf(standing.filesListed, "file")}`);
  if (standing.bytesPerSecond !== undefined) parts.push(formatRate(standing.bytesPerSecond));
  if (standing.timeLeftMs !== undefined) parts.push(`${formatTimeLeft(standing.timeLeftMs)} left`);
  return `Progress: ${parts.join(", ")}`;
}

export function fileResultLines(result: FileResult): string[] {
  const name = safeName(result.path === "-" ? result.file : result.path);
  const size = formatBytes(result.sizeBytes);
  if (result.outcome === "unchanged") return [`${name} is there already, unchanged (${size})`];
  const there = result.bytesResumed > 0 ? `; ${formatBytes(result.bytesResumed)} were there already` : "";
  const seeded =
    (result.bytesSeeded ?? 0) > 0
      ? `; ${formatBytes(result.bytesSeeded!)} are those of the file that stood there`
      : "";
  const wasted =
    (result.bytesWasted ?? 0) > 0 ? `; ${formatBytes(result.bytesWasted!)} came twice, or were wrong` : "";
  const lines = [`Fetched ${name}: ${size}, ${transferred(result)}${there}${seeded}${wasted}`];
  lines.push(...replicaLines(result.replicas ?? []));
  return result.backup === undefined ? lines : [...lines, backupLine(result.backup)];
}

/** Servers that the end of a fetch names; the others are only counted. */
const MAX_SHOWN_REPLICAS = 16;

/** Who brought how much, and who did what wrong: culprits first. */
function replicaLines(replicas: readonly ReplicaResult[]): string[] {
  const rank = ({ culprit, bytes }: ReplicaResult): number => (culprit === undefined ? bytes : Infinity);
  const told = replicas.filter(
    ({ bytes, culprit, error }) => bytes > 0 || culprit !== undefined || error !== undefined,
  );
  const sorted = told.toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(b) - rank(a)));
  const lines = sorted.slice(0, MAX_SHOWN_REPLICAS).map((replica) => {
    const { status, bytes, error, culprit } = replica;
    const why = culprit ?? error;
    const what = status === "used" ? "" : `, ${status.replace("-", " ")}`;
    return `  ${hostAndPort(replica.host, replica.port)}: ${formatBytes(bytes)}${what}${why === undefined ? "" : ` (${safeText(why)})`}`;
  });
  const rest = told.length - lines.length;
  return rest > 0 ? [...lines, `  and ${countOf(rest, "more server")}`] : lines;
}

const REPLICA_NOTES: Partial<Record<ReplicaEvent["status"], string>> = {
  unreachable: "cannot be reached",
  lost: "was lost",
  back: "is back",
  left: "is not used",
  quarantined: "is not used any more",
};

/** Undefined for what goes without saying. */
function replicaNote(event: ReplicaEvent): string | undefined {
  const what = REPLICA_NOTES[event.status];
  if (what === undefined) return undefined;
  return `${hostAndPort(event.host, event.port)} ${what}${event.reason === undefined ? "" : `: ${safeText(event.reason)}`}`;
}

export function treeResultLines(result: TreeResult): string[] {
  const there = result.bytesResumed > 0 ? `; ${formatBytes(result.bytesResumed)} were there already` : "";
  const lines = [
    `${countOf(result.files, "file")} in ${safeName(result.path)}: ${formatBytes(result.bytes)}, ${transferred(result)}${there}`,
  ];
  const counts = [
    [result.unchanged, "unchanged"],
    [result.skipped, "skipped"],
    [result.failed, "failed"],
  ] as const;
  const told = counts.filter(([count]) => count > 0).map(([count, what]) => `${formatCount(count)} ${what}`);
  if (told.length > 0) lines.push(upperFirst(told.join(", ")));
  return lines;
}

function transferred({
  bytesTransferred,
  durationMs,
}: {
  bytesTransferred: number;
  durationMs: number;
}): string {
  if (bytesTransferred === 0) return `nothing transferred in ${formatDuration(durationMs)}`;
  const rate =
    durationMs >= SHORTEST_RATED_MS ? ` (${formatRate((bytesTransferred / durationMs) * 1000)})` : "";
  return `${formatBytes(bytesTransferred)} transferred in ${formatDuration(durationMs)}${rate}`;
}

function failureText(failure: { file: string; code: string; message: string }): string {
  return `${safeName(failure.file)}: ${safeText(failure.message)} (${safeText(failure.code)})`;
}

function backupLine(backup: string): string {
  return `The file that stood in its place is kept as ${safeName(backup)}`;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
