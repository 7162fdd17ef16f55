import { duration, host, integer } from "./option-type.ts";
import { sourceList } from "./source-list.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";

export const initiateTable = commandTable({
  command: "initiate",
  summary: SUMMARIES.initiate,
  synopsis: "initiate -m HOST -p PORT -s host:port:dirorfile:delay,…",
  examples: [
    {
      line: "dray initiate -m 10.0.0.5 -p 9100 -s a.example:9000:docs:0,b.example:9000:.:1.5",
      meaning: "docs from a, and everything from b, which waits 1.5 s before each file",
    },
    {
      line: "dray initiate -p 9100 -s '[::1]:9000:notes\\, old/a:b.txt:0' --json",
      meaning: "an IPv6 host, a comma and a colon in the path",
    },
  ],
  options: {
    mirror: {
      type: host(),
      aliases: ["m", "n"],
      placeholder: "HOST",
      description: "the machine on which the mirror runs",
      default: "127.0.0.1",
    },
    port: {
      type: integer(1, 65_535),
      aliases: ["p"],
      placeholder: "PORT",
      description: "the mirror's TCP port",
    },
    sources: {
      type: sourceList(),
      aliases: ["s"],
      placeholder: "LIST",
      description:
        'what to pull, as host:port:dirorfile:delay, comma separated; can be given several times. The path "." means everything; the delay is in seconds, before each file; IPv6 addresses stand in brackets; a comma or a backslash in a path is written "\\," or "\\\\"',
    },
    timeoutMs: {
      name: "timeout",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description: "how long to try to reach the mirror",
      default: 10_000,
    },
  },
});

export type InitiateOptions = ValuesOf<typeof initiateTable>;
