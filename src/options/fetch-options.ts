import * as z from "zod";
import { CLIENT_OPTIONS, clientConflicts } from "./client-options.ts";
import { directoryProblem } from "./directory.ts";
import { duration, host, integer, localPath, type OptionType, toggle } from "./option-type.ts";
import type { Problem } from "./problem.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";
import { type Target, targetList } from "./target-list.ts";

/** Without a directory to save to, this is no file: it asks for the names in the server's cache. */
const LIST = "list";
/** As a directory to save to: standard output. */
const STDOUT = "-";

export const fetchTable = commandTable({
  command: "fetch",
  summary: SUMMARIES.fetch,
  synopsis: "fetch HOST PORT FILE SAVEDIR",
  examples: [
    {
      line: "dray fetch localhost 9098 docs/image.jpg .",
      meaning: "bring docs/image.jpg here, as ./image.jpg; started again, it goes on where it was",
    },
    { line: "dray fetch localhost 9098 list", meaning: "the names of the files in the server's cache" },
    { line: "dray fetch -r 10.0.0.5 9098 docs /srv", meaning: "the directory docs, as /srv/docs" },
    {
      line: "dray fetch 10.0.0.5 9098 backup.tar - | tar -x",
      meaning: "to standard output, each piece verified before it is written",
    },
    {
      line: "dray fetch --from a.example:9098,b.example:9098,c.example:9098 disk.img .",
      meaning: "from all three at once, which have to agree on what is in it",
    },
  ],
  positional: ["host", "port", "file", "directory"],
  yields: { from: ["host", "port"] },
  options: {
    host: {
      type: host(),
      optional: true,
      defaultText: "required, or --from",
      placeholder: "HOST",
      description: "the machine on which the server runs",
    },
    port: {
      type: integer(1, 65_535),
      optional: true,
      defaultText: "required, or --from",
      aliases: ["p"],
      placeholder: "PORT",
      description: "the server's TCP port",
    },
    from: {
      type: targetList(),
      optional: true,
      placeholder: "LIST",
      description:
        "fetch one file from several servers at once, HOST:PORT, comma separated; can be given several times. With it among the arguments, HOST and PORT are left out: `fetch --from LIST FILE SAVEDIR`",
    },
    file: {
      type: localPath(),
      aliases: ["f"],
      placeholder: "FILE",
      description:
        "what to fetch: a path from the server's root. `list` without a SAVEDIR lists the server's cache instead",
    },
    directory: {
      type: localPath(),
      optional: true,
      aliases: ["d"],
      placeholder: "SAVEDIR",
      description:
        "where to put it, under the last component of its path; made if it is missing. - writes to standard output",
      check: (directory: string) => (directory === STDOUT ? undefined : directoryProblem(directory)),
    },
    recursive: {
      type: toggle(),
      aliases: ["r"],
      description: "fetch a directory with all that is below it; `.` is everything",
      default: false,
    },
    expect: {
      type: sha256(),
      optional: true,
      placeholder: "sha256:HEX",
      description:
        "the SHA-256 that the file must have; with another one it is removed again, and the exit code is 5",
    },
    sum: {
      type: toggle(),
      optional: true,
      defaultText: "for one file",
      description:
        "print the SHA-256 and the path of what was fetched, as sha256sum does; by default not for a directory, nor beside a file on standard output",
    },
    overwrite: {
      type: toggle(),
      description: "replace a different file of the same name; without this it is kept as NAME.~1~",
      default: false,
    },
    attempts: {
      type: integer(1, 100),
      placeholder: "N",
      description: "give a file up after so many failures in a row without any progress, 1 to 100",
      default: 5,
    },
    timeoutMs: {
      name: "timeout",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description: "how long to try to reach the server",
      default: 10_000,
    },
    patienceMs: {
      name: "patience",
      type: duration(0, 7 * 86_400_000),
      placeholder: "TIME",
      description:
        "how long a server that was there may be gone, or busy; of several servers, how long they may all bring nothing",
      default: 60_000,
    },
    stallMs: {
      name: "stall",
      type: duration(1_000, 3_600_000),
      placeholder: "TIME",
      description:
        "of several servers, drop the connection to one that has sent nothing of what it was asked for in so long; others do its work much earlier",
      default: 15_000,
    },
    follow: {
      type: toggle(),
      description:
        "with a token: give it to all servers that the manifest of a split file names, also on machines that were not named here; without this those are not asked",
      default: false,
    },
    ...CLIENT_OPTIONS,
  },
  conflicts: (values): Problem[] => {
    const { file, directory, recursive, expect, sum, from } = values;
    const problems = clientConflicts(values);
    const refuse = (where: string, why: string): void => void problems.push({ where, why });
    if (from === undefined) {
      if (values.host === undefined) refuse("HOST", "is required (only --from goes without)");
      if (values.port === undefined) refuse("PORT", "is required (only --from goes without)");
    } else {
      if (values.host !== undefined) refuse("--from, --host", "only one of these can be given");
      if (values.port !== undefined) refuse("--from, --port", "only one of these can be given");
      if (recursive) refuse("--recursive", "brings a directory from one server, and does not go with --from");
      if (directory === STDOUT) refuse("--from", "does not go with -: pieces come in any order");
    }
    if (directory === undefined) {
      if (file !== LIST || from !== undefined)
        refuse("SAVEDIR", "is required (only `list` of one server goes without)");
      if (recursive) refuse("--recursive", "does not go with a list of the cache");
      if (expect !== undefined) refuse("--expect", "does not go with a list of the cache");
    }
    if (directory === STDOUT && recursive) refuse("--recursive", "a directory does not fit into one stream");
    if (recursive && expect !== undefined) refuse("--expect", "is about one file, not about a directory");
    if (expect !== undefined && sum === false) refuse("--no-sum", "does not go with --expect");
    return problems;
  },
});

export type FetchOptions = ValuesOf<typeof fetchTable>;

/** The servers that it is fetched from: at least one. */
export function fetchServers({ host, port, from }: FetchOptions): readonly Target[] {
  return from ?? [{ host: host!, port: port! }];
}

/** What a fetch is to do, which its arguments say. */
export function fetchTask({ directory, recursive }: FetchOptions): "list" | "stream" | "tree" | "file" {
  if (directory === undefined) return "list";
  if (directory === STDOUT) return "stream";
  return recursive ? "tree" : "file";
}

/** `sha256:` and 64 hexadecimal digits; held as the digits, in lower case. */
function sha256(): OptionType<string> {
  const expects = "sha256: and 64 hexadecimal digits";
  const message = `expected ${expects}`;
  const digits = z.string().regex(/^[\da-f]{64}$/, message);
  const schema = (): z.ZodType<string> =>
    z.codec(z.string(message), digits, {
      decode: (text) => (/^sha256:/i.test(text) ? text.slice("sha256:".length).toLowerCase() : ""),
      encode: (hex) => `sha256:${hex}`,
    });
  return { schema, expects, shape: "value", fromText: (text) => text };
}
