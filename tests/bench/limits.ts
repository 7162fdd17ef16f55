import { mkdirSync, readdirSync } from "node:fs";
import { type ContenderKind, run, versionLine } from "./contender.ts";

/** The machine's own limit where all is to be durable: what is in the page cache, written to the disk by one process. */
export const writeSynced: ContenderKind = {
  program: "dd",
  async open({ source, folder }) {
    const [name = ""] = readdirSync(source);
    const destination = `${folder}/copy`;
    const flags = ["bs=1M", "conv=fsync", "status=none"];
    return {
      name: "dd conv=fsync",
      version: versionLine("dd", "--version"),
      commands: [`dd if=SOURCE/FILE of=COPY/FILE ${flags.join(" ")}`],
      destination,
      daemons: [],
      copy: async () => {
        mkdirSync(destination, { recursive: true });
        return await run(["dd", `if=${source}/${name}`, `of=${destination}/${name}`, ...flags]);
      },
    };
  },
};
