import { clientConflicts } from "./client-options.ts";
import { ON_OPTIONS } from "./on-options.ts";
import { localPath } from "./option-type.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";

export const mvTable = commandTable({
  command: "mv",
  summary: SUMMARIES.mv,
  synopsis: "mv OLD NEW --on HOST:PORT,…",
  examples: [
    { line: "dray mv draft.txt final.txt --on 10.0.0.5:9098", meaning: "another name, in the same place" },
    { line: "dray mv final.txt archive/ --on 10.0.0.5:9098", meaning: "the same name, in archive" },
  ],
  positional: ["from", "to"],
  options: {
    from: {
      type: localPath(),
      placeholder: "OLD",
      description: "a file of the servers that this client has put there; no directory",
    },
    to: {
      type: localPath(),
      placeholder: "NEW",
      description:
        "its new name, which nothing may have; with a slash at its end, a directory in which it keeps its name. Directories that are missing are made",
    },
    ...ON_OPTIONS,
  },
  conflicts: clientConflicts,
});

export type MvOptions = ValuesOf<typeof mvTable>;
