/**
 * `npm run bench:growth`: what one file, order, request or GiB costs, and how much memory all of it takes,
 * while the work grows a thousand times and more.
 *
 *   npm run bench:growth -- [--only NAME]... [--most N] [--write FOLDER]
 *
 *   --only NAME     only this series: files, orders, connections, size
 *   --most N        no amount above N (files, orders, connections, MiB)
 *   --write FOLDER  also writes GROWTH.md and growth.svg there: docs
 */
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { endStartedPrograms } from "../support/process.ts";
import { type MeasuredGrowth, costUs, growthChart, memoryBytes, round, shownAmount } from "./growth-chart.ts";
import { GROWTH } from "./growth-series.ts";
import { describeMachine } from "./machine.ts";
import { table } from "./markdown.ts";

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    most: { type: "string", default: "Infinity" },
    write: { type: "string" },
  },
});

const MIB = 1024 ** 2;
const measured: MeasuredGrowth[] = [];
try {
  for (const series of GROWTH) {
    if (flags.only !== undefined && !flags.only.includes(series.name)) continue;
    console.error(series.title);
    const points = [];
    for (const amount of series.amounts) {
      if (amount > Number(flags.most)) break;
      const point = await series.measure(amount);
      console.error(`  ${shownAmount(amount)} ${series.unit}: ${point.seconds.toFixed(2)} s`);
      points.push(point);
    }
    measured.push({ series, points });
  }
} finally {
  await endStartedPrograms();
}

const markdown = [
  "# Growth",
  "",
  `Written by \`npm run bench:growth -- --write docs\` on ${new Date().toISOString().slice(0, 10)}. One run each,`,
  "from a new process every time: small amounts pay for its start. Memory is the most that was ever resident.",
  "",
  ...describeMachine(tmpdir()),
  "",
  "![Cost per unit, and memory](growth.svg)",
  "",
  ...measured.flatMap(growthTable),
].join("\n");
console.log(markdown);
if (flags.write !== undefined) {
  writeFileSync(`${flags.write}/GROWTH.md`, markdown);
  writeFileSync(`${flags.write}/growth.svg`, growthChart(measured));
}

function growthTable({ series, points }: MeasuredGrowth): string[] {
  const names = Object.keys(points[0]?.peakBytes ?? {});
  const head = [
    series.unit,
    "all of it",
    `each ${series.per.name}`,
    ...names.map((name) => `memory of ${name}`),
  ];
  const rows = points.map((point) => [
    shownAmount(point.amount),
    `${round(point.seconds)} s`,
    `${round(costUs(series, point) / 1000)} ms`,
    ...names.map((name) => `${Math.round((point.peakBytes[name] ?? 0) / MIB)} MiB`),
  ]);
  return [`## ${series.title}`, "", ...table([head, ...rows]), "", ...verdict({ series, points }), ""];
}

/** How the cost of the largest amount compares with that of one a thousand times as small, or the nearest to it. */
function verdict({ series, points }: MeasuredGrowth): string[] {
  const largest = points.at(-1);
  const small = points.find(({ amount }) => largest !== undefined && amount * 1000 >= largest.amount);
  if (largest === undefined || small === undefined || small === largest) return [];
  const times = costUs(series, largest) / costUs(series, small);
  const more = (memoryBytes(largest) - memoryBytes(small)) / MIB;
  const [from, to] = [shownAmount(small.amount), shownAmount(largest.amount)];
  return [
    `From ${from} to ${to} ${series.unit}: ${times.toFixed(2)} times the cost of one ${series.per.name}, ${Math.round(more)} MiB more memory.`,
  ];
}
