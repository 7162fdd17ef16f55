import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { drayBinary } from "../support/binary.ts";
import { FileServer, fetchPieces } from "../support/file-server.ts";
import { peakRssBytes } from "../support/memory.ts";
import { Stage, sourceText } from "../support/stage.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

/** What one amount of work took. */
export interface GrowthPoint {
  /** How much of the thing that grows: files, orders, connections, MiB. */
  amount: number;
  /** Of the whole work. */
  seconds: number;
  /** The most that each of our processes ever had resident. */
  peakBytes: Record<string, number>;
}

export interface GrowthSeries {
  name: string;
  title: string;
  /** What grows, for the table's head: "files". */
  unit: string;
  /** What the cost is given for: "file", and how many of them an amount has. */
  per: { name: string; count(amount: number): number };
  amounts: readonly number[];
  measure(amount: number): Promise<GrowthPoint>;
}

const LIMIT = { timeoutMs: 1_800_000 };
const FILES_PER_DIRECTORY = 1_000;
const FILES_PER_ORDER = 100;
const REQUESTS_PER_CONNECTION = 4;
const MIB = 1024 ** 2;

export const GROWTH: readonly GrowthSeries[] = [
  {
    name: "files",
    title: "Small files in one order",
    unit: "files",
    per: { name: "file", count: (files) => files },
    amounts: [1_000, 10_000, 100_000, 1_000_000],
    measure: mirrorFiles,
  },
  {
    name: "orders",
    title: `Orders at the same time, of ${FILES_PER_ORDER} small files each`,
    unit: "orders",
    per: { name: "order", count: (orders) => orders },
    amounts: [1, 4, 16, 64, 256],
    measure: mirrorOrders,
  },
  {
    name: "connections",
    title: `Connections at the same time, ${REQUESTS_PER_CONNECTION} requests for 4 KiB each`,
    unit: "connections",
    per: { name: "request", count: (connections) => connections * REQUESTS_PER_CONNECTION },
    amounts: [1, 10, 100, 1_000, 5_000],
    measure: askOverConnections,
  },
  {
    name: "size",
    title: "One sparse file, fetched to standard output and verified",
    unit: "MiB",
    per: { name: "GiB", count: (mib) => mib / 1024 },
    amounts: [1 / 16, 16, 1_024, 8 * 1_024, 64 * 1_024],
    measure: fetchToOutput,
  },
];

/** @throws Error when not all of them came */
export async function mirrorFiles(files: number): Promise<GrowthPoint> {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) => makeTinyFiles(directory, files));
  const startedMs = performance.now();
  const { code, result } = await stage.order([sourceText(content)], LIMIT);
  const seconds = (performance.now() - startedMs) / 1000;
  if (code !== 0 || result.files !== files) throw new Error(`${files} files: exit code ${code}`);
  const peakBytes = {
    mirror: peakRssBytes(stage.mirror.pid),
    content: peakRssBytes(content.program.pid),
  };
  return { amount: files, seconds, peakBytes };
}

async function mirrorOrders(orders: number): Promise<GrowthPoint> {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) => {
    for (let order = 0; order < orders; order++) makeTinyFiles(`${directory}/${order}`, FILES_PER_ORDER);
  });
  const startedMs = performance.now();
  // All are given at once, and followed by as many initiators.
  const given = Array.from({ length: orders }, (_, order) =>
    stage.order([sourceText(content, String(order))], LIMIT),
  );
  const done = await Promise.all(given);
  const seconds = (performance.now() - startedMs) / 1000;
  if (done.some(({ code }) => code !== 0)) throw new Error(`${orders} orders: one of them failed`);
  return { amount: orders, seconds, peakBytes: { mirror: peakRssBytes(stage.mirror.pid) } };
}

async function askOverConnections(connections: number): Promise<GrowthPoint> {
  using folder = tempFolder();
  makeLargeFile(folder.join("hot"), { seed: 1, sizeBytes: 4096 });
  const limits = ["--max-connections", "6000", "--max-per-address", "6000"];
  await using server = await FileServer.start(folder.path, limits);
  const clients = [];
  for (let opened = 0; opened < connections; opened++) clients.push(await server.connect());
  const startedMs = performance.now();
  for (let request = 0; request < REQUESTS_PER_CONNECTION; request++) {
    await Promise.all(clients.map((client) => fetchPieces(client, "hot", () => {})));
  }
  const seconds = (performance.now() - startedMs) / 1000;
  return { amount: connections, seconds, peakBytes: { fileserve: peakRssBytes(server.program.pid) } };
}

async function fetchToOutput(mib: number): Promise<GrowthPoint> {
  using folder = tempFolder();
  makeLargeFile(folder.join("file"), { seed: 1, sizeBytes: mib * MIB, sparse: true });
  await using server = await FileServer.start(folder.path);
  const nowhere = openSync("/dev/null", "w");
  const startedMs = performance.now();
  const command = [drayBinary(), "fetch", "127.0.0.1", String(server.port), "file", "-"];
  const client = Bun.spawn(command, { stdout: nowhere, stderr: "inherit" });
  let fetchPeakBytes = 0;
  while (client.exitCode === null) {
    // What the system says at the end counts ourselves, from before the program was loaded.
    fetchPeakBytes = Math.max(fetchPeakBytes, peakOfRunning(client.pid));
    await Promise.race([client.exited, Bun.sleep(2)]);
  }
  const code = client.exitCode;
  const seconds = (performance.now() - startedMs) / 1000;
  closeSync(nowhere);
  if (code !== 0) throw new Error(`${mib} MiB: exit code ${code}`);
  const peakBytes = {
    fetch: fetchPeakBytes,
    fileserve: peakRssBytes(server.program.pid),
  };
  return { amount: mib, seconds, peakBytes };
}

/** 0 when it has just ended: then it has been asked before. */
function peakOfRunning(pid: number): number {
  try {
    return peakRssBytes(pid);
  } catch {
    return 0;
  }
}

function makeTinyFiles(directory: string, count: number): void {
  const contents = new Uint8Array(64).fill(7);
  for (let file = 0; file < count; file++) {
    const group = `${directory}/${Math.floor(file / FILES_PER_DIRECTORY)}`;
    if (file % FILES_PER_DIRECTORY === 0) mkdirSync(group, { recursive: true });
    writeFileSync(`${group}/${file}`, contents);
  }
}
