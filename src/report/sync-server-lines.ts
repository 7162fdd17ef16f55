import { safeName, safeText } from "./safe-text.ts";
import { countOf, formatBytes } from "./units.ts";

/** What happens in a sync server. With `--json` each is a line of its own. */
export type SyncServerEvent =
  | {
      readonly type: "connected" | "disconnected";
      readonly peer: string;
      readonly channel: "send" | "receive";
      readonly connections: number;
      readonly error?: string;
    }
  | { readonly type: "paired"; readonly peer: string; readonly isExact: boolean }
  | {
      readonly type: "changed";
      readonly name: string;
      readonly sequence: number;
      readonly bytes: number;
      readonly md5: string;
      readonly by: string;
    }
  | { readonly type: "deleted"; readonly name: string; readonly sequence: number; readonly by: string }
  | {
      readonly type: "delivered" | "given-up";
      readonly name: string;
      readonly sequence: number;
      readonly to: string;
    }
  | { readonly type: "refused"; readonly name: string; readonly peer: string; readonly why: string };

/** An event as a line of the log, and how much it matters. */
export function syncServerLine(event: SyncServerEvent): { level: "debug" | "info" | "warn"; text: string } {
  switch (event.type) {
    case "connected":
      return { level: "debug", text: `${event.peer} has connected (${event.channel})` };
    case "disconnected": {
      const why = event.error === undefined ? "" : `: ${safeText(event.error)}`;
      const level = event.error === undefined ? "debug" : "info";
      return { level, text: `${event.peer} is gone${why}` };
    }
    case "paired": {
      const how = event.isExact ? "by its token" : "as they came together";
      return { level: "debug", text: `${event.peer} has both its connections (${how})` };
    }
    case "changed":
      return {
        level: "info",
        text: `${safeName(event.name)}: ${formatBytes(event.bytes)} from ${safeText(event.by)}`,
      };
    case "deleted":
      return { level: "info", text: `${safeName(event.name)}: deleted by ${safeText(event.by)}` };
    case "delivered":
      return { level: "debug", text: `${safeName(event.name)}: sent to ${event.to}` };
    case "given-up":
      return { level: "warn", text: `${safeName(event.name)}: ${event.to} does not take it now` };
    case "refused":
      return {
        level: "warn",
        text: `Refused ${safeName(event.name)} from ${event.peer}: ${safeText(event.why)}`,
      };
  }
}

/** What a server does at the moment, for its live line. */
export interface SyncServerStanding {
  readonly files: number;
  readonly clients: number;
  readonly locks: number;
  readonly waiting: number;
}

/** `3 clients, 1,204 files, receiving 2, 14 updates to send`. */
export function syncServerStanding({ files, clients, locks, waiting }: SyncServerStanding): string {
  const parts = [countOf(clients, "client"), countOf(files, "file")];
  if (locks > 0) parts.push(`receiving ${locks}`);
  parts.push(waiting > 0 ? `${countOf(waiting, "update")} to send` : "all sent");
  return parts.join(", ");
}
