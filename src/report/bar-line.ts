import { fractionDone, isRunning, type Standing } from "./order-meter.ts";
import { cutColumns, fitColumns } from "./text-columns.ts";
import { formatBytes, formatCompactCount, formatRate, formatTimeLeft } from "./units.ts";

const MIN_LABEL_COLUMNS = 12;
const MAX_BAR_COLUMNS = 32;
const CLOCK_COLUMNS = 8;
/**
 * The width of each field; the order is that in which they are given room. A state in words
 * ("unreachable") is wider than a clock, but has no rate beside it: the two share their columns.
 */
const FIELD_COLUMNS = { state: 11, bar: 10, files: 11, rate: 8, bytes: 8 } as const;

type Field = keyof typeof FIELD_COLUMNS;

/** The widths of one screen's lines, the same for all so that their fields stand in columns. */
export interface BarLayout {
  labelColumns: number;
  barColumns: number;
  fields: ReadonlySet<Field>;
  lineColumns: number;
}

/**
 * Shares out the width of a terminal. What does not fit is left out, the least telling field
 * first; what is left over goes to the labels as far as they need it, then to the bars.
 */
export function barLayout(terminalColumns: number, labels: readonly string[]): BarLayout {
  // The last column stays free: filling it makes some terminals wrap.
  const lineColumns = Math.max(1, terminalColumns - 1);
  const fields = new Set<Field>();
  let free = lineColumns - MIN_LABEL_COLUMNS;
  for (const [field, columns] of Object.entries(FIELD_COLUMNS) as [Field, number][]) {
    if (free < columns + 1) break;
    free -= columns + 1;
    fields.add(field);
  }
  const longest = Math.max(MIN_LABEL_COLUMNS, ...labels.map((label) => Bun.stringWidth(label)));
  const labelColumns = Math.min(longest, MIN_LABEL_COLUMNS + free);
  const leftOver = MIN_LABEL_COLUMNS + free - labelColumns;
  const barColumns = Math.min(MAX_BAR_COLUMNS, FIELD_COLUMNS.bar + leftOver);
  return { labelColumns, barColumns, fields, lineColumns };
}

/** One line of a screen: `10.0.0.2:9000 docs [====----]  120/340 9.80 MiB 1.20 MiB/s        0:05`. */
export function barLine(standing: Standing, layout: BarLayout): string {
  const { fields } = layout;
  const parts = [fitColumns(standing.label, layout.labelColumns)];
  if (fields.has("bar")) parts.push(bar(fractionDone(standing), layout.barColumns));
  if (fields.has("files")) {
    const files = `${formatCompactCount(standing.filesDone)}/${formatCompactCount(standing.filesListed)}`;
    parts.push(files.padStart(FIELD_COLUMNS.files));
  }
  if (fields.has("bytes")) parts.push(formatBytes(standing.bytesDone).padStart(FIELD_COLUMNS.bytes));
  if (fields.has("rate")) {
    const rateAndState = `${rate(standing)} ${state(standing).padStart(CLOCK_COLUMNS)}`;
    parts.push(rateAndState.padStart(FIELD_COLUMNS.rate + 1 + FIELD_COLUMNS.state));
  } else if (fields.has("state")) {
    parts.push(state(standing).padStart(FIELD_COLUMNS.state));
  }
  return cutColumns(parts.join(" "), layout.lineColumns);
}

/** The line that stands for the sources without room on the screen. */
export function foldedLine(folded: readonly Standing[], layout: BarLayout): string {
  const ended = folded.filter((standing) => !isRunning(standing.phase)).length;
  const line = `… and ${folded.length} more source${folded.length === 1 ? "" : "s"} (${ended} done)`;
  return cutColumns(line, layout.lineColumns);
}

function bar(fraction: number, columns: number): string {
  const inside = columns - 2;
  // Full only when it is: a bar that looks finished while the last file is on its way misleads.
  const filled = Math.floor(fraction * inside);
  return `[${"=".repeat(filled)}${"-".repeat(inside - filled)}]`;
}

function rate(standing: Standing): string {
  return standing.bytesPerSecond === undefined ? "" : formatRate(standing.bytesPerSecond);
}

function state(standing: Standing): string {
  switch (standing.phase) {
    case "connecting":
      return "connecting";
    case "listing":
      return "listing…";
    case "finishing":
      return "finishing…";
    case "moving":
      return standing.timeLeftMs === undefined ? "--:--" : formatTimeLeft(standing.timeLeftMs);
    case "complete":
      return "done";
    default:
      return standing.phase.replace("-", " ");
  }
}
