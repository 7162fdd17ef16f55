import type { ContenderKind } from "./contender.ts";
import { cp } from "./cp.ts";
import type { BenchData, DataName } from "./data.ts";
import { dray } from "./dray.ts";
import { type Limit, fetchLimits } from "./fetch-limit.ts";
import { aria2, drayReplicas } from "./fetch-replicas.ts";
import { curl, drayFetch } from "./fetch.ts";
import { lftp } from "./lftp.ts";
import { writeSynced } from "./limits.ts";
import { loopback } from "./loopback.ts";
import { rclone } from "./rclone.ts";
import { rsync } from "./rsync.ts";

/** "`dray` at least so many times as fast as `peer`." */
export interface Goal {
  dray: string;
  peer: string;
  atLeast: number;
  /** Where it is missed: what the profile shows as the wall, and what was tried. */
  wall?: string;
}

/** One thing that is measured: several contenders side by side on the same data. */
export interface Row {
  /** For `--only`. */
  name: string;
  title: string;
  data: DataName;
  /** The copy of the run before stays: nothing has changed since then. */
  keepsCopy: boolean;
  /** The source is read from the disk: it is taken out of the page cache before each run. */
  isCold?: boolean;
  contenders: readonly ContenderKind[];
  goals: readonly Goal[];
  /** How fast this machine could be, measured in the same run. */
  limits?: (data: BenchData, folder: string) => Promise<Limit[]>;
}

const WALLS = {
  large:
    "The wall: the thread that receives is busy nearly all of the time, and about seven tenths of its time are the kernel's, for its socket and the page cache (one profile); the bare TCP copy in this table does the same without any check. Tried: pieces of 64, 128 and 512 KiB instead of 256 (1.47, 1.48 and 1.40 s beside 1.42 s on a RAM disk).",
  small:
    "The wall: the cores are busy nine tenths of the time, about half of it in the kernel (one run), with files that appear whole under their names (7 system calls a file at the mirror, 6 at the server). `cp -r` shows what the file system alone takes. Requests and answers go in batches, over lanes on threads, already; leaving out the temporary name would break promise 1. Tried, on a RAM disk: a new source's files are not looked up before they are fetched (387 ms instead of 434, kept); 1, 2, 4, 16 and 32 workers (514, 390, 392, 370 and 377 ms beside 367 with 8); fewer checkpoints of the journal (385 beside 380); less in the messages to the threads (no difference).",
  synced:
    "The wall: about half of the time goes when the row above is taken away from this one, to make 10,000 files durable. There is one sync of the file system for many files already, and not one for each file and directory. Tried: to sync in the background every 100 or 250 ms while files come (753 and 707 ms beside 739).",
  unchanged:
    "The wall: 20,000 looks at files in all, at what a system call costs from JavaScript; both cores are busy four fifths of the time. The process that gives the order takes 20 ms to start. Tried and kept: lists that are compared on threads as they come (2.5 times as fast as before), looks by path instead of by descriptor (half the price), by short paths (44 ms for the run became 40), on one thread for a source (50 became 44), no compiled parsers for what is parsed once (5 ms). Tried and not kept: shorter and growing batches of the list (no difference). Not done: system calls through bun:ffi (half a microsecond less for each look), which Bun does not call ready for production.",
  replicas:
    "The wall: both cores are busy nine tenths of the time. The sum takes three tenths of that, which is what SHA-256 costs, the thread that fetches a third, two thirds of it in the kernel, for sockets and the page cache, and the four servers a seventh (one profile). aria2 neither verifies, syncs nor sums. Tried: digests that servers remember (4.99 CPU seconds before, 4.54 after, on a RAM disk). Not done, since it would verify less: one server's word instead of two, no check of frames.",
};

const UNSYNCED = "dray --durability none";

export const ROWS: readonly Row[] = [
  {
    name: "large",
    title: "One file of 2 GiB",
    data: "large",
    keepsCopy: false,
    contenders: [
      dray("none"),
      dray("batch"),
      rclone,
      rsync(),
      rsync("--fsync"),
      lftp,
      cp,
      writeSynced,
      loopback,
    ],
    goals: [
      { dray: UNSYNCED, peer: "rclone", atLeast: 1.5, wall: WALLS.large },
      { dray: UNSYNCED, peer: "rsync", atLeast: 2, wall: WALLS.large },
      { dray: UNSYNCED, peer: "cp -r", atLeast: 0.6, wall: WALLS.large },
    ],
  },
  {
    name: "small",
    title: "10,000 small files, without syncs",
    data: "small",
    keepsCopy: false,
    contenders: [dray("none"), rclone, rsync(), lftp, cp],
    goals: [
      { dray: UNSYNCED, peer: "rclone", atLeast: 3, wall: WALLS.small },
      { dray: UNSYNCED, peer: "rsync", atLeast: 4, wall: WALLS.small },
    ],
  },
  {
    name: "small-synced",
    title: "10,000 small files, durable at the end (rclone: not)",
    data: "small",
    keepsCopy: false,
    contenders: [dray("batch"), rsync("--fsync"), rclone],
    goals: [
      { dray: "dray", peer: "rsync --fsync", atLeast: 3, wall: WALLS.synced },
      { dray: "dray", peer: "rclone", atLeast: 1, wall: WALLS.small },
    ],
  },
  {
    name: "unchanged",
    title: "10,000 small files again, nothing changed",
    data: "small",
    keepsCopy: true,
    contenders: [dray("batch"), dray("batch", true), rsync(), rclone, lftp],
    goals: [
      { dray: "dray", peer: "rsync", atLeast: 3, wall: WALLS.unchanged },
      { dray: "dray (the run alone)", peer: "rsync", atLeast: 3, wall: WALLS.unchanged },
    ],
  },
  {
    name: "fetch-large",
    title: "One file of 2 GiB with a client of its own (`dray fetch` verifies, syncs and sums)",
    data: "large",
    keepsCopy: false,
    contenders: [drayFetch(), drayFetch("--no-sum"), curl(false), curl(true), loopback],
    goals: [{ dray: "dray fetch", peer: "curl, sync and sha256sum", atLeast: 2 }],
  },
  {
    name: "fetch-cold",
    title: "The same from a server that has to read it from the disk",
    data: "large",
    keepsCopy: false,
    isCold: true,
    contenders: [drayFetch(), curl(false), curl(true)],
    goals: [{ dray: "dray fetch", peer: "curl, sync and sha256sum", atLeast: 1 }],
  },
  {
    name: "fetch-replicas",
    title:
      "One file of 2 GiB from four servers (`dray fetch` verifies each piece, syncs and sums; aria2 does not)",
    data: "large",
    keepsCopy: false,
    contenders: [
      drayReplicas(undefined),
      drayReplicas(undefined, "--no-sum"),
      drayReplicas("missing"),
      drayReplicas("stalls"),
      drayReplicas("dies"),
      aria2(false),
      aria2(true),
    ],
    goals: [
      { dray: "dray fetch", peer: "aria2c -x4 -s4", atLeast: 2, wall: WALLS.replicas },
      { dray: "dray fetch --no-sum", peer: "aria2c -x4 -s4", atLeast: 2, wall: WALLS.replicas },
      { dray: "dray fetch", peer: "aria2c -x4 -s4 --checksum", atLeast: 2 },
      { dray: "dray fetch, one of four stalls", peer: "dray fetch, three servers", atLeast: 1 / 1.2 },
      { dray: "dray fetch, one of four dies", peer: "dray fetch, three servers", atLeast: 1 / 1.2 },
    ],
    limits: fetchLimits,
  },
];
