import { safeName, safeText } from "./safe-text.ts";
import { countOf, formatDuration } from "./units.ts";

/** The lines of `sync-server --status` for people, each without its line end. @param lines as the server answers them */
export function syncServerStatusText(lines: readonly Readonly<Record<string, unknown>>[]): string[] {
  return lines.flatMap((line) => {
    switch (line["type"]) {
      case "server":
        return serverLines(line);
      case "client":
        return [clientLine(line)];
      case "lock":
        return [lockLine(line)];
      default:
        return [];
    }
  });
}

function serverLines(line: Readonly<Record<string, unknown>>): string[] {
  const clients = countOf(numberOf(line, "clients"), "client");
  const connections = countOf(numberOf(line, "connections"), "connection");
  const jobs = `${countOf(numberOf(line, "jobsRunning"), "job")} running, ${numberOf(line, "jobsWaiting")} waiting`;
  return [
    `${countOf(numberOf(line, "files"), "file")}, ${clients} on ${connections}`,
    `${countOf(numberOf(line, "locks"), "file")} being written, ${jobs}`,
  ];
}

function clientLine(line: Readonly<Record<string, unknown>>): string {
  const waiting = numberOf(line, "waiting");
  const state = waiting === 0 ? "has everything" : `${countOf(waiting, "update")} waiting`;
  const sending = typeof line["sending"] === "string" ? `, getting ${safeName(line["sending"])}` : "";
  const kind = line["isDray"] === true ? "" : " (not dray)";
  return `  ${textOf(line, "peer")}${kind}: ${state}, ${numberOf(line, "delivered")} sent${sending}`;
}

function lockLine(line: Readonly<Record<string, unknown>>): string {
  const held = formatDuration(numberOf(line, "heldMs"));
  const idle = formatDuration(numberOf(line, "idleMs"));
  const name = safeName(typeof line["name"] === "string" ? line["name"] : "");
  return `  ${name}: being written by ${textOf(line, "peer")} for ${held}, last bytes ${idle} ago`;
}

function numberOf(line: Readonly<Record<string, unknown>>, key: string): number {
  return typeof line[key] === "number" ? line[key] : 0;
}

function textOf(line: Readonly<Record<string, unknown>>, key: string): string {
  return typeof line[key] === "string" ? safeText(line[key]) : "";
}
