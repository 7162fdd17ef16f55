import { drayBinary } from "../support/binary.ts";
import { run } from "./contender.ts";
import { goalLine, table } from "./markdown.ts";
import type { Section } from "./section.ts";
import { summarize } from "./statistics.ts";

const COMMANDS = [
  [drayBinary(), "--help"],
  [drayBinary(), "initiate", "--help"],
  ["rclone", "--help"],
  ["rsync", "--help"],
];
const TIMES = 20;
const GOAL_MS = 50;

/** How long somebody waits who only asks what there is. */
export const start: Section = {
  name: "start",
  title: "From a command to its help",
  async run({ say }) {
    const commands = COMMANDS.filter(([program = ""]) => Bun.which(program) !== null);
    const tookMs = commands.map((): number[] => []);
    for (let time = 0; time <= TIMES; time++) {
      for (const [index, command] of commands.entries()) {
        const startedMs = performance.now();
        await run(command);
        if (time > 0) tookMs[index]!.push(performance.now() - startedMs);
      }
    }
    const rows = commands.map(([program = "", ...args], index) => {
      const { median, min, max } = summarize(tookMs[index]!);
      const name = [program.split("/").at(-1), ...args].join(" ");
      say(`  ${median.toFixed(0)} ms  ${name}`);
      return [`\`${name}\``, `${median.toFixed(0)} ms`, `${min.toFixed(0)}–${max.toFixed(0)} ms`];
    });
    const { median } = summarize(tookMs[0]!);
    return {
      lines: [
        ...table([["", "median", "min–max"], ...rows]),
        "",
        goalLine(`\`dray --help\` in under ${GOAL_MS} ms`, median < GOAL_MS, [`${median.toFixed(0)} ms`]),
      ],
      versions: [],
      commands: new Map(),
    };
  },
};
