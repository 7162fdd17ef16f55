import { barLayout, barLine, foldedLine } from "./bar-line.ts";
import { isRunning, type OrderMeter, type Standing } from "./order-meter.ts";

/** How many lines a screen of bars takes: one row of the terminal stays free for what is printed above them. */
export function barLineCount(sourceCount: number, terminalRows: number): number {
  return Math.max(1, Math.min(sourceCount + 1, terminalRows - 1));
}

/**
 * The `lineCount` lines of a screen: the order's total, then the sources in their sequence. When
 * they do not all fit, those at work come first and the last line counts the rest.
 */
export function barScreen(
  meter: OrderMeter,
  lineCount: number,
  terminalColumns: number,
  nowMs: number,
): string[] {
  const sources = meter.sources(nowMs);
  const everyOne = sources.length < lineCount;
  const shown = everyOne ? sources : workingFirst(sources).slice(0, Math.max(0, lineCount - 2));
  const folded = everyOne ? [] : workingFirst(sources).slice(shown.length);
  const standings = [meter.total(nowMs), ...shown];
  const layout = barLayout(
    terminalColumns,
    standings.map((standing) => standing.label),
  );
  const lines = standings.map((standing) => barLine(standing, layout));
  if (folded.length > 0 && lineCount > 1) lines.push(foldedLine(folded, layout));
  return lines;
}

function workingFirst(sources: readonly Standing[]): Standing[] {
  const atWork = sources.filter((source) => isRunning(source.phase));
  return [...atWork, ...sources.filter((source) => !isRunning(source.phase))];
}
