import { safeName, safeText } from "./safe-text.ts";
import { countOf, formatBytes } from "./units.ts";

/** What happens in a sync client. With `--json` each is a line of its own. */
export type SyncClientEvent =
  | { type: "connected"; peer: string; server: "dray" | "other"; files: number }
  | { type: "disconnected"; code: string; message: string; retryMs: number }
  | { type: "sent"; name: string; sizeBytes: number; durationMs: number }
  | { type: "received"; name: string; sizeBytes: number }
  | { type: "deleted"; name: string; side: "here" | "server" }
  | { type: "conflict"; name: string; copy?: string }
  | { type: "refused"; name: string; message: string }
  | { type: "held"; message: string; files: number; approvable: boolean }
  | { type: "released" }
  | { type: "warning"; message: string }
  | { type: "in-sync"; files: number; problems: number };

/** An event as a line of the log, and how much it matters. */
export function syncClientLine(event: SyncClientEvent): { level: "debug" | "info" | "warn"; text: string } {
  switch (event.type) {
    case "connected": {
      const kind = event.server === "dray" ? "" : ", which is not dray's";
      return { level: "info", text: `connected to the server at ${event.peer}${kind}` };
    }
    case "disconnected": {
      const retry = `trying again in ${(event.retryMs / 1000).toFixed(1)} s`;
      return { level: "warn", text: `no connection to the server: ${safeText(event.message)} (${retry})` };
    }
    case "sent":
      return { level: "info", text: `${safeName(event.name)}: sent, ${formatBytes(event.sizeBytes)}` };
    case "received":
      return { level: "info", text: `${safeName(event.name)}: received, ${formatBytes(event.sizeBytes)}` };
    case "deleted": {
      const where = event.side === "here" ? "here, now in the versions" : "on the server";
      return { level: "info", text: `${safeName(event.name)}: deleted ${where}` };
    }
    case "conflict": {
      const kept = event.copy === undefined ? "in the versions" : `as ${safeName(event.copy)}`;
      return {
        level: "warn",
        text: `${safeName(event.name)}: changed here and elsewhere; what was here is kept ${kept}`,
      };
    }
    case "refused":
      return { level: "warn", text: `${safeName(event.name)}: ${safeText(event.message)}` };
    case "held": {
      const next = event.approvable
        ? "nothing is deleted until `dray sync-client --approve --folder FOLDER`, or --bring-back fetches them again"
        : "nothing is deleted until it is back";
      return { level: "warn", text: `${safeText(event.message)}: ${next}` };
    }
    case "released":
      return { level: "info", text: "deletes are not held back any more" };
    case "warning":
      return { level: "warn", text: safeText(event.message) };
    case "in-sync": {
      const but = event.problems === 0 ? "" : `, ${countOf(event.problems, "problem")} (--status)`;
      return { level: "info", text: `in sync: ${countOf(event.files, "file")}${but}` };
    }
  }
}
