import { safeName, safeText } from "./safe-text.ts";
import { countOf } from "./units.ts";

type Line = Readonly<Record<string, unknown>>;

/** Files that are named one by one; the rest is counted. */
const MAX_NAMED = 200;

/** The lines of `sync-client --status` for people, each without its line end. @param lines as the client answers them */
export function syncClientStatusText(lines: readonly Line[]): string[] {
  const head = lines.filter(({ type }) => type === "client").map(headLine);
  const files = lines.filter(({ type }) => type === "file");
  const inSync = files.filter(({ state }) => state === "in-sync");
  const others = files.filter(({ state }) => state !== "in-sync");
  const named = others.slice(0, MAX_NAMED).map(fileLine);
  const rest = others.length - named.length;
  return [
    ...head,
    `${countOf(inSync.length, "file")} in sync, ${others.length} not`,
    ...named,
    ...(rest > 0 ? [`  and ${rest} more (--json names all)`] : []),
  ];
}

function headLine(line: Line): string {
  const peer = typeof line["peer"] === "string" ? ` to ${safeText(line["peer"])}` : "";
  const state = STATES[String(line["state"])] ?? String(line["state"]);
  const held = typeof line["held"] === "string" ? `; HELD: ${safeText(line["held"])}` : "";
  return `${state}${state === STATES["connected"] ? peer : ""}${held}`;
}

const STATES: Record<string, string> = {
  connected: "connected",
  connecting: "connecting to the server",
  offline: "the server cannot be reached; changes wait",
  stopped: "no client runs on this folder; this is what the last one knew",
};

function fileLine(line: Line): string {
  const why = typeof line["why"] === "string" ? `: ${safeText(line["why"])}` : "";
  return `  ${String(line["state"]).padEnd(9)} ${safeName(String(line["name"]))}${why}`;
}
