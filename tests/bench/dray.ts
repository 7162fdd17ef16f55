import { drayBinary } from "../support/binary.ts";
import { startDray } from "../support/process.ts";
import { type ContenderKind, run, versionLine } from "./contender.ts";

/** Workers of the mirror; rclone gets as many transfers. */
export const WORKERS = 8;

const RUN_ALONE = " (the run alone)";

/**
 * dray with a content server and a mirror that are running already; the order is what is timed.
 * @param isRunAlone counts the order's run as the mirror does, from its beginning to its end, without the
 *   process that gave the order: what each run of a repeated order takes
 */
export function dray(durability: "batch" | "none", isRunAlone = false): ContenderKind {
  const flags = durability === "batch" ? [] : ["--durability", durability];
  return {
    program: drayBinary(),
    async open({ source, folder }) {
      const content = startDray(["content", "-p", "0", "-d", source, "--json"]);
      const mirrored = `${folder}/mirror`;
      const mirror = startDray([
        "mirror",
        "-p",
        "0",
        "-m",
        mirrored,
        "-w",
        String(WORKERS),
        "--json",
        ...flags,
      ]);
      const { port: contentPort } = await content.listening();
      const { port } = await mirror.listening();
      const order = ["-m", "127.0.0.1", "-p", String(port), "-s", `127.0.0.1:${contentPort}:.:0`];
      return {
        name: ["dray", ...flags].join(" ") + (isRunAlone ? RUN_ALONE : ""),
        version: versionLine(drayBinary(), "--version"),
        commands: [
          "dray content -p PORT -d SOURCE &",
          ["dray mirror -p PORT -m COPY -w", WORKERS, ...flags, "&"].join(" "),
          "dray initiate -m 127.0.0.1 -p PORT -s 127.0.0.1:PORT:.:0",
        ],
        destination: `${mirrored}/127.0.0.1_${contentPort}`,
        daemons: [
          { name: "content", pid: content.pid },
          { name: "mirror", pid: mirror.pid },
        ],
        copy: async () => {
          if (!isRunAlone) return run([drayBinary(), "initiate", ...order]);
          const { peakBytes, stdout } = await run([drayBinary(), "initiate", ...order, "--json"]);
          const { durationMs } = JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as { durationMs: number };
          return { peakBytes, seconds: durationMs / 1000 };
        },
      };
    },
  };
}
