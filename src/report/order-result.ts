import type { OrderResult, SourceResult } from "../wire/order.ts";
import { failureLine } from "./order-lines.ts";
import { safeText } from "./safe-text.ts";
import { sourceLabel } from "./source-label.ts";
import { fitColumns } from "./text-columns.ts";
import { countOf, formatBytes, formatCount, formatDuration, formatRate } from "./units.ts";

/** A longer source is shown whole all the same; it only stands out of its column. */
const MAX_LABEL_COLUMNS = 60;

/** The report of a finished order for people, newline at its end. Harmless to print, whatever the servers sent. */
export function resultText(result: OrderResult): string {
  const blocks = [sourceTable(result.sources), totals(result)];
  const guarded = result.sources.filter((source) => source.guard !== undefined);
  if (guarded.length > 0) blocks.push(guards(guarded));
  if (result.failed > 0 || result.failures.length > 0) blocks.push(failures(result));
  return `${blocks.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

function sourceTable(sources: readonly SourceResult[]): string[] {
  const rows = [
    { label: "SOURCE", status: "STATUS", files: "FILES", size: "SIZE", error: "" },
    ...sources.map((source) => ({
      label: sourceLabel(source),
      status: source.status.replace("-", " "),
      files: formatCount(source.files),
      size: formatBytes(source.bytes),
      error: source.error === undefined ? "" : safeText(source.error),
    })),
  ];
  const widest = (texts: string[]): number => Math.max(...texts.map((text) => Bun.stringWidth(text)));
  const labelColumns = Math.min(MAX_LABEL_COLUMNS, widest(rows.map((row) => row.label)));
  const statusColumns = widest(rows.map((row) => row.status));
  const filesColumns = widest(rows.map((row) => row.files));
  const sizeColumns = widest(rows.map((row) => row.size));
  return rows.map((row) =>
    [
      Bun.stringWidth(row.label) > labelColumns ? row.label : fitColumns(row.label, labelColumns),
      row.status.padEnd(statusColumns),
      row.files.padStart(filesColumns),
      row.size.padStart(sizeColumns),
      row.error,
    ]
      .join("  ")
      .trimEnd(),
  );
}

function totals(result: OrderResult): string[] {
  const seconds = result.durationMs / 1000;
  const rate = seconds > 0 ? ` (${formatRate(result.bytesTransferred / seconds)})` : "";
  const { plan, links, deleted, rotten } = result;
  const rows: [name: string, value: string][] = [
    ...planned(plan),
    ["Files", `${formatCount(result.files)} (${formatCount(result.unchanged)} unchanged)`],
    ["Directories", formatCount(result.directories)],
    ["Size", exactBytes(result.bytes)],
    ["Transferred", `${exactBytes(result.bytesTransferred)} in ${formatDuration(result.durationMs)}${rate}`],
    ["File size", sizeStatistics(result)],
    ...optional("Links", links),
    ["Skipped", formatCount(result.skipped)],
    ...optional("Deleted", deleted),
    ...optional("Rotten", rotten),
    ["Failed", formatCount(result.failed)],
  ];
  const nameColumns = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(nameColumns)}  ${value}`);
}

/** A row for what most orders have none of. */
function optional(name: string, count: number): [name: string, value: string][] {
  return count === 0 ? [] : [[name, formatCount(count)]];
}

function planned(plan: OrderResult["plan"]): [name: string, value: string][] {
  return plan === undefined
    ? []
    : [
        ["Would be fetched", `${countOf(plan.files, "file")}, ${formatBytes(plan.bytes)}`],
        ["Would be deleted", countOf(plan.deletions, "file")],
      ];
}

function guards(sources: readonly SourceResult[]): string[] {
  return [
    "Nothing was deleted:",
    ...sources.map((source) => `  ${sourceLabel(source)}: ${safeText(source.guard ?? "")}`),
  ];
}

function exactBytes(sizeBytes: number): string {
  return sizeBytes < 1024
    ? countOf(sizeBytes, "byte")
    : `${formatBytes(sizeBytes)} (${countOf(sizeBytes, "byte")})`;
}

function sizeStatistics(result: OrderResult): string {
  return [
    `mean ${formatBytes(result.sizeMean)}`,
    `standard deviation ${formatBytes(result.sizeStddev)}`,
    `variance ${formatVariance(result.sizeVariance)}`,
  ].join(", ");
}

/** Square bytes have no unit that people read: digits while they are few, then powers of ten. */
function formatVariance(squareBytes: number): string {
  const shown = squareBytes < 1e9 ? formatCount(Math.round(squareBytes)) : squareBytes.toExponential(3);
  return `${shown} B²`;
}

function failures(result: OrderResult): string[] {
  const unlisted = result.failed - result.failures.length;
  const lines = ["Failed:", ...result.failures.map((failure) => `  ${failureLine(failure)}`)];
  if (unlisted > 0)
    lines.push(`  … and ${formatCount(unlisted)} more (--json prints every one as it happens)`);
  return lines;
}
