import { existingDirectoryProblem } from "./directory.ts";
import { duration, host, integer, localPath } from "./option-type.ts";
import { SERVER_OPTIONS, serverConflicts } from "./server-options.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";

export const contentTable = commandTable({
  command: "content",
  summary: SUMMARIES.content,
  synopsis: "content -p PORT -d DIR",
  examples: [
    { line: "dray content -p 9000 -d /srv/data", meaning: "export /srv/data to programs on this machine" },
    {
      line: "dray content -p 9000 -d /srv/data --bind 0.0.0.0",
      meaning: "and to everybody who can reach it",
    },
    {
      line: "dray content -p 9000 -d /srv/data --bind 0.0.0.0 --token-file tokens --tls-cert host.pem --tls-key host.key",
      meaning: "only to those with a token, over TLS",
    },
  ],
  options: {
    port: {
      type: integer(0, 65_535),
      aliases: ["p"],
      placeholder: "PORT",
      description: "listen on this TCP port; 0 picks a free one",
    },
    directory: {
      type: localPath(),
      aliases: ["d"],
      placeholder: "DIR",
      description: "export this directory and all below it",
      check: existingDirectoryProblem,
    },
    bind: {
      type: host(),
      placeholder: "ADDRESS",
      description: "listen on this address",
      default: "127.0.0.1",
    },
    graceMs: {
      name: "grace",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description: "how long running transfers may go on after SIGTERM or SIGINT",
      default: 10_000,
    },
    ...SERVER_OPTIONS,
  },
  conflicts: serverConflicts,
});

export type ContentOptions = ValuesOf<typeof contentTable>;
