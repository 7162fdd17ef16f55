import type { Ledger } from "../ports.ts";

/** The table of the ledger that holds what is no path's. */
export const META_TABLE = "meta";

/** The table with what was agreed on with the server of the last session. */
export function lastServerTable(ledger: Ledger): string {
  return ledger.get(META_TABLE, "server") ?? "base:none";
}

/** The table for a server: dray's have an id, others are known by where they are. */
export function serverTable(
  serverId: string | undefined,
  at: { readonly host: string; readonly sendPort: number; readonly receivePort: number },
): string {
  return serverId === undefined
    ? `base:at:${at.host}:${at.sendPort}:${at.receivePort}`
    : `base:id:${serverId}`;
}
