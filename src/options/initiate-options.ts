import { CLIENT_OPTIONS, clientConflicts } from "./client-options.ts";
import { askedProblems, orderProblems } from "./initiate-conflicts.ts";
import { bandwidth, choice, duration, host, integer, orderId, textList, toggle } from "./option-type.ts";
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
    {
      line: "dray initiate -p 9100 -s a.example:9000:.:0 --every 1h",
      meaning: "everything from a, repeated by the mirror every hour",
    },
    {
      line: "dray initiate -p 9100 -s a.example:9000:docs:0 --delete --dry-run",
      meaning: "what would be fetched and deleted to make docs the same",
    },
    {
      line: "dray initiate -p 9100 -s a.example:9000:.:0 --verify --every 7d",
      meaning: "read everything from a once a week, and mend what has rotted",
    },
    { line: "dray initiate -p 9100 --list", meaning: "the mirror's orders" },
    {
      line: "dray initiate -p 9100 --limit all --bandwidth 5MiB",
      meaning: "from now on, all sources together send at most 5 MiB per second",
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
      optional: true,
      aliases: ["s"],
      placeholder: "LIST",
      description:
        'what to pull, as host:port:dirorfile:delay, comma separated; can be given several times. The path "." means everything; the delay is in seconds, before each file; IPv6 addresses stand in brackets; a comma or a backslash in a path is written "\\," or "\\\\"',
    },
    include: {
      type: textList("a glob"),
      placeholder: "GLOB",
      description:
        "pull only what matches; can be given several times. A pattern without a slash is for names at any depth, with one for the whole path at the source; what matches a directory is for all below it",
      default: [],
      defaultText: "none",
    },
    exclude: {
      type: textList("a glob"),
      placeholder: "GLOB",
      description: "leave out what matches, also if it is included; can be given several times",
      default: [],
      defaultText: "none",
    },
    everyMs: {
      name: "every",
      type: duration(1_000, 366 * 86_400_000),
      optional: true,
      placeholder: "TIME",
      description:
        "have the mirror repeat the order, from the beginning of one run to that of the next; runs never overlap",
    },
    checksum: {
      type: toggle(),
      description:
        "compare files that are there with the source's by their contents, not by size and modification time",
      default: false,
    },
    verify: {
      type: toggle(),
      description:
        "read everything that was mirrored from there, compare it with what was fetched, and fetch again what is not so any more",
      default: false,
    },
    links: {
      type: choice("skip", "copy"),
      placeholder: "WHAT",
      description:
        "symbolic links at the source: leave them out, or make the same links; those that lead out of what the source exports are always left out",
      default: "skip",
    },
    delete: {
      type: toggle(),
      description:
        "move what the source does not have any more into the mirror's trash, after a run without any failure; what --include and --exclude leave out is left alone",
      default: false,
    },
    maxDelete: {
      type: integer(0, 1_000_000_000),
      placeholder: "N",
      description: "delete nothing if it would be more files than this",
      default: 10_000,
    },
    maxDeletePercent: {
      type: integer(0, 100),
      placeholder: "N",
      description:
        "delete nothing if it would be more than this part of the files that the mirror had from the source; ten may always go",
      default: 50,
    },
    dryRun: {
      type: toggle(),
      description: "find out and list what would be fetched and deleted, and do nothing of it",
      default: false,
    },
    itemize: {
      type: toggle(),
      description: "list in the end what was fetched and deleted, and why",
      default: false,
    },
    attempts: {
      type: integer(1, 100),
      placeholder: "N",
      description: "try a file that fails in a way that may pass this many times, 1 to 100",
      default: 5,
    },
    patienceMs: {
      name: "patience",
      type: duration(0, 7 * 86_400_000),
      placeholder: "TIME",
      description: "how long a source that was there may be gone before the rest of its files is given up",
      default: 60_000,
    },
    list: {
      type: toggle(),
      description: "list the mirror's orders instead of giving one",
      default: false,
    },
    follow: {
      type: orderId(),
      optional: true,
      placeholder: "ORDER",
      description: "follow an order that was given before",
    },
    cancel: {
      type: orderId(),
      optional: true,
      placeholder: "ORDER",
      description: "cancel an order; files that have arrived stay",
    },
    retryFailed: {
      type: orderId(),
      optional: true,
      placeholder: "ORDER",
      description: "try again what failed in the last run of an order, and only that",
    },
    limit: {
      type: orderId(),
      optional: true,
      placeholder: "ORDER",
      description:
        'give an order that was given before the limit of --bandwidth, now and whenever it runs again; "all" limits all sources of the mirror together, until the mirror ends',
    },
    bytesPerSecond: {
      name: "bandwidth",
      type: bandwidth(),
      optional: true,
      placeholder: "RATE",
      description:
        "have each source of the order send at most this much per second, file contents and what frames them; lists of files are not counted. With --limit: what to change a limit to; unlimited or 0 lifts it",
    },
    timeoutMs: {
      name: "timeout",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description: "how long to try to reach the mirror",
      default: 10_000,
    },
    ...CLIENT_OPTIONS,
  },
  conflicts: (values) => [...clientConflicts(values), ...askedProblems(values), ...orderProblems(values)],
});

export type InitiateOptions = ValuesOf<typeof initiateTable>;
