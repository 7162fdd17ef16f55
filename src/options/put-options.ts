import { CLIENT_OPTIONS, clientConflicts } from "./client-options.ts";
import { choice, duration, integer, localPath, toggle } from "./option-type.ts";
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
    const problems = clientConflicts(values);
    if (values.as === undefined) return problems;
    if (values.into !== undefined)
      problems.push({ where: "--as, --into", why: "only one of these can be given" });
    if (values.files.length > 1) problems.push({ where: "--as", why: "goes with a single FILE" });
    return problems;
  },
});

export type PutOptions = ValuesOf<typeof putTable>;
