import { PutNotes } from "./put-lines.ts";
import { safeName, safeText } from "./safe-text.ts";
import { hostAndPort } from "./source-label.ts";
import type {
  ShortParts,
  SplitEvent,
  SplitProgress,
  SplitResult,
  SplitServerResult,
} from "./split-events.ts";
import { countOf, formatBytes, formatDuration, formatRate } from "./units.ts";

/** Parts that a line names; the rest is counted. */
const MAX_NAMED_PARTS = 10;

type NoteEvent = Extract<SplitEvent, { type: "failure" | "skipped" | "retry" | "server" | "rotten" }>;

/** The events of a split put as lines for people: no control characters, and no more than somebody reads. */
export class SplitNotes {
  readonly #notes = new PutNotes();
  #rotten = 0;

  /** Undefined where there is nothing to say. */
  of(event: NoteEvent): string | undefined {
    if (event.type === "server") {
      if (event.error === undefined) return undefined;
      return `Goes on without ${hostAndPort(event.host, event.port)}: ${safeText(event.error)}`;
    }
    if (event.type !== "rotten") return this.#notes.of(event);
    if (++this.#rotten > MAX_NAMED_PARTS) return undefined;
    return `Removed ${safeName(event.path)} from ${hostAndPort(event.host, event.port)}: it is not what the manifest says`;
  }
}

/** `Progress: 12 of 40 copies, 1.20 GiB of 2.67 GiB`. */
export function splitProgressLine({ servers, bytesRead }: SplitProgress): string {
  const sum = (of: (server: SplitProgress["servers"][number]) => number): number =>
    servers.reduce((total, server) => total + of(server), 0);
  const wanted = sum((server) => server.copiesWanted);
  if (wanted === 0) return `Progress: ${formatBytes(bytesRead)} read for digests`;
  const there = sum((server) => server.bytesTransferred + server.bytesResumed);
  const total = sum((server) => server.bytesWanted);
  return `Progress: ${sum((server) => server.copies)} of ${countOf(wanted, "copy", "copies")}, ${formatBytes(there)} of ${formatBytes(total)}`;
}

/** What became of one file, newline at its end. */
export function splitFileText(event: Extract<SplitEvent, { type: "placed" | "repaired" }>): string {
  const { path, sizeBytes, parts, copies, manifests, short } = event;
  const what = `${formatBytes(sizeBytes)} in ${countOf(parts, "part")}, ${countOf(copies, "copy", "copies")} of each`;
  const lines = [`${safeName(path)}: ${what}, known to ${countOf(manifests, "server")}`];
  if (event.type === "repaired") {
    const { good, rotten, restored, removed } = event;
    lines.push(
      `  ${good} good, ${rotten} rotten; ${countOf(restored, "copy", "copies")} restored, ${countOf(removed, "file")} removed`,
    );
  }
  if (short.length > 0) lines.push(`  too few copies: ${shortText(short)}`);
  return `${lines.join("\n")}\n`;
}

/** `part 3 has 2, part 7 has none`. */
function shortText(short: ShortParts): string {
  const named = short
    .slice(0, MAX_NAMED_PARTS)
    .map(({ part, copies }) => `part ${part} has ${copies === 0 ? "none" : copies}`);
  const more = short.length - named.length;
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
}

/** The end of a split put for people, newline at its end. */
export function splitResultText(result: SplitResult): string {
  const seconds = result.durationMs / 1000;
  const rate = seconds > 0 ? `, ${formatRate(result.bytesTransferred / seconds)}` : "";
  const resumed = result.bytesResumed > 0 ? `, ${formatBytes(result.bytesResumed)} were there already` : "";
  const lines = [
    ...result.servers.map(serverLine),
    `${formatBytes(result.bytesTransferred)} sent in ${formatDuration(result.durationMs)}${rate}${resumed}`,
  ];
  if (result.skipped > 0) lines.push(`${countOf(result.skipped, "item")} skipped`);
  if (result.failed > 0) lines.push(countOf(result.failed, "failure"));
  return `${lines.join("\n")}\n`;
}

function serverLine({ host, port, status, copies, bytes }: SplitServerResult): string {
  return `${hostAndPort(host, port)}: ${status}, ${countOf(copies, "copy", "copies")}, ${formatBytes(bytes)}`;
}
