import { clientConflicts } from "./client-options.ts";
import { ON_OPTIONS } from "./on-options.ts";
import { pathList } from "./path-list.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";

export const rmTable = commandTable({
  command: "rm",
  summary: SUMMARIES.rm,
  synopsis: "rm NAME… --on HOST:PORT,…",
  examples: [
    {
      line: "dray rm photos/a.jpg photos/b.jpg --on 10.0.0.5:9098",
      meaning: "the server keeps them in its trash for a while",
    },
  ],
  positional: ["names"],
  options: {
    names: {
      type: pathList(),
      placeholder: "NAME",
      description: "files of the servers that this client has put there; no directories",
    },
    ...ON_OPTIONS,
  },
  conflicts: clientConflicts,
});

export type RmOptions = ValuesOf<typeof rmTable>;
