import { drayBinary } from "../support/binary.ts";
import { startDray } from "../support/process.ts";
import { type ContenderKind, run, versionLine } from "./contender.ts";

/** Workers of the mirror; rclone gets as many transfers. */
export const WORKERS = 8;

/** dray with a content server and a mirror that are running already; the order is what is timed. */
export function dray(durability: "batch" | "none"): ContenderKind {
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
        name: ["dray", ...flags].join(" "),
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
        copy: () => run([drayBinary(), "initiate", ...order]),
      };
    },
  };
}
