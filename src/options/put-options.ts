import { CLIENT_OPTIONS, clientConflicts } from "./client-options.ts";
import { choice, duration, integer, localPath, size, toggle } from "./option-type.ts";
import { pathList } from "./path-list.ts";
import type { Problem } from "./problem.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";
import { targetList } from "./target-list.ts";

export const putTable = commandTable({
  command: "put",
  summary: SUMMARIES.put,
  synopsis: "put FILE… --to HOST:PORT,…",
  examples: [
    {
      line: "dray put report.pdf --to 10.0.0.5:9098",
      meaning: "as report.pdf, at the top of what is served",
    },
    {
      line: "dray put *.jpg --into photos/2026 --to a.example:9098,b.example:9098",
      meaning: "as photos/2026/NAME, on two servers",
    },
    { line: "dray put -r site --as www --to 10.0.0.5:9098", meaning: "the directory site, as www" },
    {
      line: "dray put disk.img --copies 3 --to a.example:9098,b.example:9098,c.example:9098,d.example:9098",
      meaning: "split into parts, each part on three of the servers",
    },
    {
      line: "dray put --repair disk.img --to a.example:9098,b.example:9098,c.example:9098",
      meaning: "bring all its parts back to their number of copies",
    },
  ],
  positional: ["files"],
  options: {
    files: {
      type: pathList(),
      placeholder: "FILE",
      description:
        "what to put. On the server it has its own name, without the directories before it; if that is taken by a file that this client owns, it is replaced. Started again after an interruption, it goes on where it was",
    },
    to: {
      type: targetList(),
      placeholder: "LIST",
      description: "the servers to put it on, all of them; can be given several times",
    },
    into: {
      type: localPath(),
      optional: true,
      placeholder: "DIR",
      description: "put it into this directory of the servers; made if it is missing",
    },
    as: {
      type: localPath(),
      optional: true,
      placeholder: "NAME",
      description: "give the only FILE this name on the servers",
    },
    recursive: {
      type: toggle(),
      aliases: ["r"],
      description: "put directories with all that is below them; symbolic links are left out",
      default: false,
    },
    copies: {
      type: integer(1, 64),
      optional: true,
      placeholder: "N",
      description:
        "split each FILE into parts, and put each part on so many of the servers; every server gets the list of them, so that fetch can be told any one. With --repair: the number from now on",
      defaultText: "not split",
    },
    partSize: {
      type: size(1, 2 ** 46),
      optional: true,
      placeholder: "SIZE",
      description:
        "how large the parts are, rounded up to whole MiB; larger for files that would have more than 4096 parts",
      defaultText: "64MiB",
    },
    repair: {
      type: toggle(),
      description:
        "FILE is the name of a split file on the servers: look at every copy of its parts, and restore from good copies what is missing, damaged, or has its place on another server now",
      default: false,
    },
    connections: {
      type: integer(1, 64),
      placeholder: "N",
      description: "how many connections to open to each server",
      default: 4,
    },
    digest: {
      type: choice("xxh3", "sha256"),
      placeholder: "NAME",
      description:
        "how each piece is verified: xxh3 guards against accidents, sha256 also against bytes that somebody made to fit",
      default: "xxh3",
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
      description: "how long to try to reach a server",
      default: 10_000,
    },
    patienceMs: {
      name: "patience",
      type: duration(0, 7 * 86_400_000),
      placeholder: "TIME",
      description: "how long a server that was there may be gone, or busy",
      default: 60_000,
    },
    ...CLIENT_OPTIONS,
  },
  conflicts: (values): Problem[] => {
    const problems = [...clientConflicts(values), ...splitConflicts(values)];
    if (values.as === undefined) return problems;
    if (values.into !== undefined)
      problems.push({ where: "--as, --into", why: "only one of these can be given" });
    if (values.files.length > 1) problems.push({ where: "--as", why: "goes with a single FILE" });
    return problems;
  },
});

interface SplitValues {
  readonly copies: number | undefined;
  readonly partSize: number | undefined;
  readonly repair: boolean;
  readonly as: string | undefined;
  readonly into: string | undefined;
  readonly recursive: boolean;
}

function splitConflicts({ copies, partSize, repair, as, into, recursive }: SplitValues): Problem[] {
  const problems: Problem[] = [];
  if (partSize !== undefined && copies === undefined && !repair)
    problems.push({ where: "--part-size", why: "needs --copies" });
  if (!repair) return problems;
  const local = {
    "--part-size": partSize !== undefined,
    "--as": as !== undefined,
    "--into": into !== undefined,
    "--recursive": recursive,
  };
  for (const [where, isGiven] of Object.entries(local))
    if (isGiven) problems.push({ where, why: "does not go with --repair, which reads no local file" });
  return problems;
}

export type PutOptions = ValuesOf<typeof putTable>;
