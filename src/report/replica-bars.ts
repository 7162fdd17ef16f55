import type { ReplicaStanding } from "./fetch-meter.ts";
import { cutColumns, fitColumns } from "./text-columns.ts";
import { formatBytes, formatRate } from "./units.ts";

const BYTES_COLUMNS = 10;
const RATE_COLUMNS = 11;
const MAX_LABEL_COLUMNS = 40;

/** A line for each of several servers, as far as there is room: what came from it, and how fast. */
export function replicaBarLines(
  replicas: readonly ReplicaStanding[],
  mostLines: number,
  terminalColumns: number,
): string[] {
  if (replicas.length === 0 || mostLines < 1) return [];
  const shown = replicas.length > mostLines ? replicas.slice(0, mostLines - 1) : replicas;
  const longest = Math.max(...shown.map(({ label }) => Bun.stringWidth(label)));
  const labelColumns = Math.min(MAX_LABEL_COLUMNS, longest);
  const lines = shown.map(({ label, bytes, bytesPerSecond, status }) => {
    const rate = bytesPerSecond === undefined ? "" : formatRate(bytesPerSecond);
    const state = status === "used" ? "" : `  ${status.replace("-", " ")}`;
    return `  ${fitColumns(label, labelColumns)}${formatBytes(bytes).padStart(BYTES_COLUMNS)}${rate.padStart(RATE_COLUMNS)}${state}`;
  });
  const rest = replicas.length - shown.length;
  if (rest > 0) lines.push(`  … and ${rest} more`);
  return lines.map((line) => cutColumns(line, Math.max(1, terminalColumns - 1)));
}
