import { directoryProblem } from "./directory.ts";
import { bandwidth, choice, duration, host, integer, localPath, toggle } from "./option-type.ts";
import { SERVER_OPTIONS, serverConflicts } from "./server-options.ts";
import { SOURCE_OPTIONS, sourceConflicts } from "./source-options.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";

const MAX_THREADS = 64;

export const mirrorTable = commandTable({
  command: "mirror",
  summary: SUMMARIES.mirror,
  synopsis: "mirror -p PORT -m DIR -w WORKERS",
  examples: [
    {
      line: "dray mirror -p 9100 -m /srv/mirror -w 16",
      meaning: "take orders on port 9100, pull with 16 workers",
    },
    {
      line: "dray mirror -p 9100 -m /srv/mirror --durability strict --verify-written",
      meaning: "sync every file, and read it back before it becomes visible",
    },
  ],
  options: {
    port: {
      type: integer(0, 65_535),
      aliases: ["p"],
      placeholder: "PORT",
      description: "listen for orders on this TCP port; 0 picks a free one",
    },
    mirrorDirectory: {
      type: localPath(),
      aliases: ["m"],
      placeholder: "DIR",
      description: "store under DIR/HOST_PORT/PATH; created when missing",
      check: directoryProblem,
    },
    workers: {
      type: integer(1, 256),
      aliases: ["w"],
      placeholder: "WORKERS",
      description: "pull this many files at the same time, 1 to 256",
      default: 8,
    },
    threads: {
      type: integer(1, MAX_THREADS),
      placeholder: "N",
      description: `run the workers on this many threads, 1 to ${MAX_THREADS}, never more than workers`,
      default: Math.min(navigator.hardwareConcurrency, MAX_THREADS),
      defaultText: "all cores",
    },
    bind: {
      type: host(),
      placeholder: "ADDRESS",
      description: "listen on this address",
      default: "127.0.0.1",
    },
    exportPort: {
      name: "export",
      type: integer(0, 65_535),
      optional: true,
      placeholder: "PORT",
      description:
        "serve the mirrored tree on this port as a content server does, so that other mirrors can pull from it",
    },
    graceMs: {
      name: "grace",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description: "how long running transfers may go on after SIGTERM or SIGINT",
      default: 10_000,
    },
    durability: {
      type: choice("strict", "batch", "none"),
      placeholder: "LEVEL",
      description:
        "strict: sync each file before it becomes visible; batch: sync in groups soon after, and always before an order is complete; none: leave it to the system",
      default: "batch",
    },
    verifyWritten: {
      type: toggle(),
      description: "read every file back from the disk and compare before it becomes visible",
      default: false,
    },
    digest: {
      type: choice("xxh3", "sha256"),
      placeholder: "NAME",
      description: "check each piece with this digest: xxh3 against accidents, sha256 also against tampering",
      default: "xxh3",
    },
    bytesPerSecond: {
      name: "bandwidth",
      type: bandwidth(),
      placeholder: "RATE",
      description:
        "have all sources together send at most this much per second, file contents and what frames them; `initiate --limit all` changes it while the mirror runs. Lists of files and what --export serves are not counted",
      default: 0,
    },
    keepTrashMs: {
      name: "keepTrash",
      type: duration(0, 3_660 * 86_400_000),
      placeholder: "TIME",
      description:
        "how long files that `initiate --delete` removed stay in DIR/.dray/trash, from where they can be moved back",
      default: 30 * 86_400_000,
    },
    queueSize: {
      type: integer(64, 1_000_000),
      placeholder: "ITEMS",
      description: "hold at most this many listed files in memory, 64 to 1000000",
      default: 4096,
    },
    ...SERVER_OPTIONS,
    ...SOURCE_OPTIONS,
  },
  conflicts: (values) => [...serverConflicts(values), ...sourceConflicts(values)],
  complete: (values) => ({ ...values, threads: Math.min(values.threads, values.workers) }),
});

export type MirrorOptions = ValuesOf<typeof mirrorTable>;
