import { clientConflicts } from "./client-options.ts";
import { ON_OPTIONS } from "./on-options.ts";
import { localPath, toggle } from "./option-type.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";

export const lsTable = commandTable({
  command: "ls",
  summary: SUMMARIES.ls,
  synopsis: "ls [DIR] --on HOST:PORT,…",
  examples: [
    { line: "dray ls --on 10.0.0.5:9098", meaning: "what is at the top of what is served" },
    {
      line: "dray ls photos -r --long --on 10.0.0.5:9098",
      meaning: "all below photos, with sizes and times",
    },
  ],
  positional: ["directory"],
  options: {
    directory: {
      type: localPath(),
      placeholder: "DIR",
      description: "what to list: a directory or a file of the servers",
      default: ".",
    },
    recursive: {
      type: toggle(),
      aliases: ["r"],
      description: "list all that is below it, in the order in which it comes",
      default: false,
    },
    long: {
      type: toggle(),
      aliases: ["l"],
      description: "with sizes in bytes and times in UTC",
      default: false,
    },
    all: {
      type: toggle(),
      aliases: ["a"],
      description:
        "list what split files consist of, too: their manifests and parts, instead of one file of the size of all parts",
      default: false,
    },
    ...ON_OPTIONS,
  },
  conflicts: clientConflicts,
});

export type LsOptions = ValuesOf<typeof lsTable>;
