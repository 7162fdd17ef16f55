import type { BenchData } from "./data.ts";
import type { Limit } from "./fetch-limit.ts";
import type { Measured } from "./measure.ts";
import type { Row } from "./rows.ts";
import { type Summary, summarize, timesAsFast } from "./statistics.ts";

/** Beyond this, something else was going on on the machine, and the row should be measured again. */
const NOISY = 1.6;

/** The table of one row, its goals, how near the machine's limits it is, and the memory of our daemons. Pure. */
export function rowLines(
  row: Row,
  data: BenchData,
  measured: readonly Measured[],
  limits: readonly Limit[],
): string[] {
  const results = measured.map(({ contender, seconds, cpuSeconds, clientPeakBytes }) => ({
    name: contender.name,
    summary: summarize(seconds),
    cpu: summarize(cpuSeconds),
    clientPeakBytes,
  }));
  const ours = results.filter(({ name }) => isOurs(name));
  const head = [
    "",
    "median",
    "min–max",
    "rate",
    "CPU",
    "memory",
    ...ours.map(({ name }) => `\`${name}\` is`),
  ];
  const lines = results.map(({ name, summary, cpu, clientPeakBytes }) => [
    `\`${name}\``,
    `${summary.median.toFixed(2)} s`,
    `${summary.min.toFixed(2)}–${summary.max.toFixed(2)} s`,
    rate(data, summary),
    `${cpu.median.toFixed(2)} s`,
    `${(clientPeakBytes / 1024 ** 2).toFixed(0)} MiB`,
    ...ours.map((one) =>
      one.name === name ? "" : `${timesAsFast(one.summary, summary).toFixed(2)}x as fast`,
    ),
  ]);
  const summaries = new Map(results.map(({ name, summary }) => [name, summary]));
  return [
    ...table([head, ...lines]),
    "",
    ...goalLines(row, summaries),
    ...limits.flatMap((limit) => limitLines(limit, summaries.get(limit.dray))),
    ...memoryLines(measured),
    ...results.filter(({ summary }) => summary.max > NOISY * summary.min).map(noiseLine),
  ];
}

/** A Markdown table, its columns padded as Prettier does it. Pure. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) =>
    Math.max(3, ...rows.map((row) => Bun.stringWidth(row[column] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => pad(cells[column] ?? "", width)).join(" | ")} |`;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body.map(line)];
}

/** Whether a goal was reached; what stands in the way where it was not. Pure. */
export function goalLine(
  goal: string,
  isReached: boolean,
  figures: readonly string[],
  wall?: string,
): string {
  const verdict = `- Goal: ${goal}: ${isReached ? "reached" : "MISSED"} (${figures.join("; ")})`;
  return isReached || wall === undefined ? verdict : `${verdict}. ${wall}`;
}

/** Not 0.8333333333333334. */
function round(ratio: number): string {
  return String(Math.round(ratio * 100) / 100);
}

function goalLines(row: Row, summaries: ReadonlyMap<string, Summary>): string[] {
  const lines: string[] = [];
  for (const { dray, peer, atLeast, wall } of row.goals) {
    const [ours, theirs] = [summaries.get(dray), summaries.get(peer)];
    if (ours === undefined || theirs === undefined) continue;
    const reached = timesAsFast(ours, theirs);
    const goal = `\`${dray}\` at least ${round(atLeast)}x as fast as \`${peer}\``;
    lines.push(goalLine(goal, reached >= atLeast, [`${reached.toFixed(2)}x`], wall));
  }
  return lines;
}

function limitLines({ dray, work, cores }: Limit, ours: Summary | undefined): string[] {
  if (ours === undefined) return [];
  const all = work.reduce((sum, { seconds }) => sum + seconds, 0);
  const parts = work.map(({ name, seconds }) => `${name} ${seconds.toFixed(2)}`).join(", ");
  const share = Math.round((100 * all) / cores / ours.median);
  return [
    `- The machine's limit for \`${dray}\`: ${(all / cores).toFixed(2)} s, that is ${all.toFixed(2)} CPU seconds (${parts}) on ${cores} cores that are never idle; it is at ${share}% of that rate`,
  ];
}

function memoryLines(measured: readonly Measured[]): string[] {
  return measured
    .filter(({ peakBytes }) => peakBytes.length > 0)
    .map(({ contender, peakBytes }) => {
      const peaks = peakBytes.map(({ name, bytes }) => `${name} ${(bytes / 1024 ** 2).toFixed(0)} MiB`);
      return `- Most memory ever resident, \`${contender.name}\`: ${peaks.join(", ")}`;
    });
}

function noiseLine({ name, summary }: { name: string; summary: Summary }): string {
  const times = (summary.max / summary.min).toFixed(1);
  return `- Noisy: the slowest round of \`${name}\` took ${times}x as long as its fastest one`;
}

function rate(data: BenchData, { median }: Summary): string {
  return data.files === 1
    ? `${(data.bytes / 1024 ** 2 / median).toFixed(0)} MiB/s`
    : `${(data.files / median).toFixed(0)} files/s`;
}

function isOurs(name: string): boolean {
  return name === "dray" || name.startsWith("dray ");
}

function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
}
