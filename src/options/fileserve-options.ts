import { existingDirectoryProblem } from "./directory.ts";
import { choice, duration, host, integer, localPath, size } from "./option-type.ts";
import type { Problem } from "./problem.ts";
import { SERVER_OPTIONS, serverConflicts } from "./server-options.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";
import { WRITE_OPTIONS, writeConflicts } from "./write-options.ts";

const MIB = 1024 * 1024;

/** Stands for each server's port in the name of its directory. */
export const PORT_PLACEHOLDER = "{port}";
const MAX_INSTANCES = 256;
const MAX_PORT = 65_535;

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
    {
      line: "dray fileserve localhost 5041 'd{port}' --instances 50 --writable",
      meaning: "fifty servers for trying things out: d5041 on port 5041, d5042 on 5042, …",
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
      type: integer(0, MAX_PORT),
      aliases: ["p"],
      placeholder: "PORT",
      description: "listen on this TCP port; 0 picks a free one",
    },
    directory: {
      type: localPath(),
      aliases: ["d"],
      placeholder: "DIR",
      description:
        "serve this directory and all below it; in its name, {port} stands for the port, and then it is made if it is missing",
      check: (path: string) => (path.includes(PORT_PLACEHOLDER) ? undefined : existingDirectoryProblem(path)),
    },
    instances: {
      type: integer(1, MAX_INSTANCES),
      placeholder: "N",
      description:
        "run so many servers in this process, on PORT and those behind it (with 0, on free ones), each on a directory of its own; they share --cache-size, and all other limits hold for each",
      default: 1,
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
  conflicts: (values) => [
    ...serverConflicts(values),
    ...writeConflicts(values),
    ...instanceConflicts(values),
  ],
});

interface InstanceValues {
  readonly instances: number;
  readonly port: number;
  readonly directory: string;
}

function instanceConflicts({ instances, port, directory }: InstanceValues): Problem[] {
  if (instances === 1) return [];
  const problems: Problem[] = [];
  if (!directory.includes(PORT_PLACEHOLDER))
    problems.push({ where: "--instances", why: `needs a DIR with ${PORT_PLACEHOLDER} in its name` });
  if (port + instances - 1 > MAX_PORT)
    problems.push({ where: "--instances", why: `there are fewer ports from ${port} to ${MAX_PORT}` });
  return problems;
}

export type FileserveOptions = ValuesOf<typeof fileserveTable>;
