import { directoryProblem } from "./directory.ts";
import { choice, duration, host, integer, localPath, size, toggle } from "./option-type.ts";
import type { Problem } from "./problem.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";
import { VERSION_OPTIONS } from "./version-options.ts";

const MIB = 1024 * 1024;

export const syncClientTable = commandTable({
  command: "sync-client",
  summary: SUMMARIES["sync-client"],
  synopsis: "sync-client HOST SEND_PORT RECEIVE_PORT FOLDER CHUNK_SIZE",
  examples: [
    {
      line: "dray sync-client 10.0.0.5 9202 9201 ./notes 64KiB",
      meaning: "keep ./notes in sync with the server whose receive port is 9202 and whose send port is 9201",
    },
    { line: "dray sync-client --status --folder ./notes", meaning: "what is in sync, what waits, and why" },
    {
      line: "dray sync-client --history plan.txt --folder ./notes",
      meaning: "the earlier contents of plan.txt that are still there",
    },
    {
      line: "dray sync-client --restore plan.txt@20261121T110532.123Z --folder ./notes",
      meaning: "bring one of them back; without @VERSION the newest",
    },
    {
      line: "dray sync-client --approve --folder ./notes",
      meaning: "yes, so many files are meant to be deleted",
    },
  ],
  positional: ["host", "sendPort", "receivePort", "folder", "chunkSize"],
  options: {
    host: {
      type: host(),
      optional: true,
      placeholder: "HOST",
      description: "the machine on which the server runs",
    },
    sendPort: {
      type: integer(1, 65_535),
      optional: true,
      placeholder: "SEND_PORT",
      description: "send updates to this TCP port: the server's receive port",
    },
    receivePort: {
      type: integer(1, 65_535),
      optional: true,
      placeholder: "RECEIVE_PORT",
      description: "receive updates from this TCP port: the server's send port",
    },
    folder: {
      type: localPath(),
      placeholder: "FOLDER",
      description: "the folder to keep in sync; created when missing",
      check: directoryProblem,
    },
    chunkSize: {
      type: size(1, 64 * MIB),
      placeholder: "CHUNK_SIZE",
      description: "send files in chunks of this size",
      default: 256 * 1024,
    },
    status: {
      type: toggle(),
      description: "do not sync: print what is in sync in --folder, what waits, what was refused, and why",
      default: false,
    },
    history: {
      type: localPath(),
      optional: true,
      placeholder: "FILE",
      description: "do not sync: list the earlier contents of this file of --folder",
    },
    restore: {
      type: localPath(),
      optional: true,
      placeholder: "FILE[@VERSION]",
      description:
        "do not sync: bring an earlier content of this file back, the newest without @VERSION; what is there now goes to the versions",
    },
    approve: {
      type: toggle(),
      description:
        "do not sync: tell the client that runs on --folder that what it holds back may be deleted",
      default: false,
    },
    bringBack: {
      type: toggle(),
      description:
        "do not sync: tell the client that runs on --folder that what it holds back is not to be deleted, but fetched again",
      default: false,
    },
    swapPorts: {
      type: toggle(),
      description: "take SEND_PORT for RECEIVE_PORT and the other way round",
      default: false,
    },
    offlineDeletes: {
      type: choice("propagate", "resurrect"),
      placeholder: "HOW",
      description:
        "what is missing on one side after the two were apart: propagate deletes it on the other (to the versions), resurrect gives it back, as the protocol's text says",
      default: "propagate",
    },
    retryLockedMs: {
      name: "retryLocked",
      type: duration(0, 86_400_000),
      placeholder: "TIME",
      description:
        "offer a file again that the server refused as locked after this; 0: not before it changes again",
      default: 30_000,
    },
    settleMs: {
      name: "settle",
      type: duration(10, 60_000),
      placeholder: "TIME",
      description: "send a changed file when it has not changed for about this long",
      default: 50,
    },
    deleteGraceMs: {
      name: "deleteGrace",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description:
        "delete a file elsewhere when it has been gone for this long; many editors remove a file to write it anew",
      default: 500,
    },
    maxDeletes: {
      type: integer(0, 1_000_000_000),
      placeholder: "N",
      description:
        "hold deletes back until somebody approves when more than this many files, or more than half of them all, are gone at once",
      default: 500,
    },
    rescanMs: {
      name: "rescan",
      type: duration(1_000, 7 * 86_400_000),
      placeholder: "TIME",
      description: "look through the whole folder as often as this, for changes that the system did not tell",
      default: 300_000,
    },
    timeoutMs: {
      name: "timeout",
      type: duration(100, 3_600_000),
      placeholder: "TIME",
      description: "how long one attempt to reach the server may take; it is tried again for ever",
      default: 10_000,
    },
    threads: {
      type: integer(1, 64),
      placeholder: "N",
      description: "compute checksums on at most this many threads",
      default: Math.min(Math.max(2, navigator.hardwareConcurrency), 64),
      defaultText: "all cores",
    },
    graceMs: {
      name: "grace",
      type: duration(0, 3_600_000),
      placeholder: "TIME",
      description: "how long what is just being written may take after SIGTERM or SIGINT",
      default: 10_000,
    },
    ...VERSION_OPTIONS,
  },
  conflicts: (values): Problem[] => {
    const tasks = taskFlags(values);
    if (tasks.length > 1) return [{ where: tasks.join(", "), why: "only one of these can be given" }];
    if (tasks.length > 0) return [];
    return missingOf({ HOST: values.host, SEND_PORT: values.sendPort, RECEIVE_PORT: values.receivePort });
  },
});

export type SyncClientOptions = ValuesOf<typeof syncClientTable>;

/** What the command is to do beside syncing. */
function taskFlags(
  values: Pick<SyncClientOptions, "status" | "history" | "restore" | "approve" | "bringBack">,
): string[] {
  return [
    ...(values.status ? ["--status"] : []),
    ...(values.history === undefined ? [] : ["--history"]),
    ...(values.restore === undefined ? [] : ["--restore"]),
    ...(values.approve ? ["--approve"] : []),
    ...(values.bringBack ? ["--bring-back"] : []),
  ];
}

function missingOf(required: Record<string, unknown>): Problem[] {
  return Object.entries(required).flatMap(([where, value]) =>
    value === undefined ? [{ where, why: "is required" }] : [],
  );
}
