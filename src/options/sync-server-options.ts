import { directoryProblem } from "./directory.ts";
import { duration, host, integer, localPath, size, toggle } from "./option-type.ts";
import type { Problem } from "./problem.ts";
import { SUMMARIES } from "./summaries.ts";
import { commandTable, type ValuesOf } from "./table.ts";
import { VERSION_OPTIONS } from "./version-options.ts";

const MIB = 1024 * 1024;
const MAX_CHUNK = 2 ** 32 - 1;
const MAX_FILE = 2 ** 50;

export const syncServerTable = commandTable({
  command: "sync-server",
  summary: SUMMARIES["sync-server"],
  synopsis: "sync-server SEND_PORT RECEIVE_PORT",
  examples: [
    {
      line: "dray sync-server 9201 9202",
      meaning: "keep ./sync-root in sync with clients on this machine",
    },
    {
      line: "dray sync-server 9201 9202 --dir /srv/shared --bind 10.0.0.5",
      meaning: "with everybody who can reach 10.0.0.5: the protocol has no authentication",
    },
    {
      line: "dray sync-server --status --dir /srv/shared",
      meaning: "ask the server that runs on this directory for its clients, locks and queues",
    },
  ],
  positional: ["sendPort", "receivePort"],
  options: {
    sendPort: {
      type: integer(0, 65_535),
      optional: true,
      placeholder: "SEND_PORT",
      description: "send updates to clients on this TCP port; 0 picks a free one",
    },
    receivePort: {
      type: integer(0, 65_535),
      optional: true,
      placeholder: "RECEIVE_PORT",
      description: "take updates from clients on this TCP port; 0 picks a free one",
    },
    directory: {
      name: "dir",
      type: localPath(),
      aliases: ["d"],
      placeholder: "DIR",
      description: "keep the files here; created when missing",
      default: "./sync-root",
      check: directoryProblem,
    },
    bind: {
      type: host(),
      placeholder: "ADDRESS",
      description: "listen on this address",
      default: "127.0.0.1",
    },
    status: {
      type: toggle(),
      description: "do not serve: ask the server that runs on --dir what it does, and print that",
      default: false,
    },
    swapPorts: {
      type: toggle(),
      description: "take SEND_PORT for RECEIVE_PORT and the other way round",
      default: false,
    },
    acceptMissing: {
      type: toggle(),
      description:
        "start even if most files are gone from the directory since the last run, and delete them at all clients",
      default: false,
    },
    chunkSize: {
      type: size(1, 256 * MIB),
      placeholder: "SIZE",
      description: "send files in chunks of this size to clients that are not dray's",
      default: 64 * 1024,
    },
    maxChunk: {
      type: size(1, MAX_CHUNK),
      placeholder: "SIZE",
      description: "refuse larger chunks",
      default: MAX_CHUNK,
    },
    maxFile: {
      type: size(1, MAX_FILE),
      placeholder: "SIZE",
      description: "refuse larger files",
      default: MAX_FILE,
    },
    maxFiles: {
      type: integer(1, 100_000_000),
      placeholder: "N",
      description: "keep at most this many files, deletes that are remembered included",
      default: 1_000_000,
    },
    maxConnections: {
      type: integer(2, 65_535),
      placeholder: "N",
      description: "serve at most this many connections at the same time; a client has two",
      default: 1024,
    },
    maxPerAddress: {
      type: integer(2, 65_535),
      placeholder: "N",
      description: "and at most this many of one address; of IPv6, of one network of 64 bits",
      default: 256,
    },
    maxUploads: {
      type: integer(1, 4096),
      placeholder: "N",
      description:
        "take at most this many files at the same time on one connection, and eight times as many in all",
      default: 64,
    },
    leaseMs: {
      name: "lease",
      type: duration(1_000, 86_400_000),
      placeholder: "TIME",
      description: "let another client write a file whose upload has not moved for this long",
      default: 60_000,
    },
    answerTimeoutMs: {
      name: "answerTimeout",
      type: duration(1_000, 3_600_000),
      placeholder: "TIME",
      description: "end connections of clients that leave an update without an answer for this long",
      default: 30_000,
    },
    keepAliveMs: {
      name: "keepAlive",
      type: duration(1_000, 3_600_000),
      placeholder: "TIME",
      description: "tell idle clients that the server is there as often as this",
      default: 30_000,
    },
    workers: {
      type: integer(1, 1024),
      placeholder: "N",
      description: "commit and open at most this many files at the same time",
      default: 512,
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
      description: "how long uploads and updates that are under way may go on after SIGTERM or SIGINT",
      default: 10_000,
    },
    ...VERSION_OPTIONS,
  },
  conflicts: portProblems,
});

interface Ports {
  readonly sendPort: number | undefined;
  readonly receivePort: number | undefined;
  readonly status: boolean;
}

function portProblems({ sendPort, receivePort, status }: Ports): Problem[] {
  if (status) return [];
  const missing = [
    { where: "SEND_PORT", value: sendPort },
    { where: "RECEIVE_PORT", value: receivePort },
  ].flatMap(({ where, value }) => (value === undefined ? [{ where, why: "is required" }] : []));
  if (missing.length > 0 || sendPort !== receivePort || sendPort === 0) return missing;
  return [{ where: "SEND_PORT, RECEIVE_PORT", why: "have to be two different ports" }];
}

export type SyncServerOptions = ValuesOf<typeof syncServerTable>;
