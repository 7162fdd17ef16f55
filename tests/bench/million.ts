import { endStartedPrograms } from "../support/process.ts";
import { type GrowthPoint, mirrorFiles } from "./growth-series.ts";
import { goalLine, table } from "./markdown.ts";
import type { Section } from "./section.ts";

const FEW = 1_000;
const MANY = 1_000_000;
const MIB = 1024 ** 2;
const MOST_TIMES = 1.2;
const MOST_MIB = 300;

/** What one file costs among a million, and the memory for all of them. One run with many; the median of those with few. */
export const million: Section = {
  name: "million",
  title: "A million small files in one order, beside a thousand",
  async run({ rounds, say }) {
    try {
      const few: GrowthPoint[] = [];
      for (let round = 0; round <= rounds; round++) {
        const point = await mirrorFiles(FEW);
        say(`  ${round === 0 ? "warm-up" : `round ${round}`}  ${point.seconds.toFixed(2)} s  ${FEW} files`);
        if (round > 0) few.push(point);
      }
      few.sort((a, b) => a.seconds - b.seconds);
      const small = few[Math.floor(few.length / 2)]!;
      const large = await mirrorFiles(MANY);
      say(`  ${large.seconds.toFixed(2)} s  ${MANY} files`);
      const times = large.seconds / MANY / (small.seconds / FEW);
      const most = Math.max(...Object.values(large.peakBytes)) / MIB;
      const rows = [small, large].map(({ amount, seconds, peakBytes }) => [
        amount.toLocaleString("en"),
        `${seconds.toFixed(2)} s`,
        `${((seconds / amount) * 1e6).toFixed(0)} µs`,
        ...Object.values(peakBytes).map((bytes) => `${(bytes / MIB).toFixed(0)} MiB`),
      ]);
      return {
        lines: [
          ...table([["files", "all of it", "each", ...Object.keys(large.peakBytes)], ...rows]),
          "",
          goalLine(
            `a file among a million costs at most ${MOST_TIMES}x of one among a thousand`,
            times <= MOST_TIMES,
            [`${times.toFixed(2)}x`],
          ),
          goalLine(`a million files in under ${MOST_MIB} MiB`, most < MOST_MIB, [`${most.toFixed(0)} MiB`]),
        ],
        versions: [],
        commands: new Map(),
      };
    } finally {
      await endStartedPrograms();
    }
  },
};
