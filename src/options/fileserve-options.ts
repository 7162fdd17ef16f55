import { existingDirectoryProblem } from "./directory.ts";
import { choice, duration, host, integer, localPath, size } from "./option-type.ts";
import { SERVER_OPTIONS, serverConflicts } from "./server-options.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";
import { WRITE_OPTIONS, writeConflicts } from "./write-options.ts";

const MIB = 1024 * 1024;

export const fileserveTable = commandTable({
  command: "fileserve",
  summary: SUMMARIES.fileserve,
  synopsis: "fileserve HOST PORT DIR",
  examples: [
    { line: "dray fileserve localhost 9098 ./files", meaning: "serve ./files to programs on this machine" },
    {
      line: "dray fileserve 0.0.0.0 9098 /srv/files --cache-size 1GiB",
      meaning: "to everybody who can reach it, from up to 1 GiB of memory",
    },
    {
      line: "dray fileserve localhost 9098 ./files --writable --max-total 10GiB",
      meaning: "and let clients put up to 10 GiB of their own",
    },
  ],
  positional: ["bind", "port", "directory"],
  options: {
    bind: {
      type: host(),
      placeholder: "HOST",
      description: "listen on this address",
      default: "127.0.0.1",
    },
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
      description: "serve this directory and all below it",
      check: existingDirectoryProblem,
    },
    cacheSize: {
      type: size(0, 65_536 * MIB),
      placeholder: "SIZE",
      description:
        "keep whole files in at most this much memory, bookkeeping included; larger files are sent from the disk",
      default: 64 * MIB,
    },
    cachePolicy: {
      type: choice("s3-fifo", "lru"),
      placeholder: "NAME",
      description:
        "which files make room for others: s3-fifo those that are not asked for again soon, and those asked for once do not push out the rest; lru the least recently used",
      default: "s3-fifo",
    },
    graceMs: {
      name: "grace",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description: "how long running transfers may go on after SIGTERM or SIGINT",
      default: 10_000,
    },
    ...WRITE_OPTIONS,
    ...SERVER_OPTIONS,
  },
  conflicts: (values) => [...serverConflicts(values), ...writeConflicts(values)],
});

export type FileserveOptions = ValuesOf<typeof fileserveTable>;
