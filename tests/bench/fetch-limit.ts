import { readdirSync, rmSync } from "node:fs";
import { cpus } from "node:os";
import { startProgram } from "../support/process.ts";
import { cpuSeconds, cpuSecondsOf } from "./cpu-time.ts";
import type { BenchData } from "./data.ts";
import { LOOPBACK_PEER } from "./loopback.ts";
import { newFolder } from "./settle.ts";
import { summarize } from "./statistics.ts";

/** What cannot be done without, and the CPU seconds that it costs on this machine. */
export interface Work {
  name: string;
  seconds: number;
}

/** As fast as this machine could be: `work` on all of its cores, none of them ever idle. */
export interface Limit {
  /** Whose it is. */
  dray: string;
  work: readonly Work[];
  cores: number;
}

const ROUNDS = 3;
/** What a server sends at a time. */
const PIECE_BYTES = 256 * 1024;

/**
 * The least that a verified fetch costs on a machine that is server and client in one: each byte is read, sent,
 * received, written, and digested at both ends; and for its sum once more.
 */
export async function fetchLimits(data: BenchData, parent: string): Promise<Limit[]> {
  const [name = ""] = readdirSync(data.path);
  const folder = newFolder(parent, "limit");
  const server = startProgram([process.execPath, LOOPBACK_PEER, "serve", `${data.path}/${name}`]);
  const [, port = ""] = await server.stdoutMatch(/^(\d+)\n/);
  const sending: number[] = [];
  const receiving: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const before = cpuSeconds(server.pid);
    const received = cpuSecondsOf([process.execPath, LOOPBACK_PEER, "receive", port, `${folder}/copy`]);
    rmSync(`${folder}/copy`);
    if (round === 0) continue;
    sending.push(cpuSeconds(server.pid) - before);
    receiving.push(received);
  }
  await server.stop();
  const work = [
    { name: "reading and sending", seconds: summarize(sending).median },
    { name: "receiving and writing", seconds: summarize(receiving).median },
    { name: "XXH3 at both ends", seconds: 2 * digesting("Bun.hash.xxHash3(piece)", data.bytes) },
  ];
  const sum = { name: "SHA-256", seconds: digesting("sum.update(piece)", data.bytes) };
  const cores = cpus().length;
  return [
    { dray: "dray fetch", work: [...work, sum], cores },
    { dray: "dray fetch --no-sum", work, cores },
  ];
}

/** Of so many bytes, in pieces that stay in the processor's cache. */
function digesting(one: string, bytes: number): number {
  const script = `const piece = new Uint8Array(${PIECE_BYTES}).fill(7), sum = new Bun.CryptoHasher("sha256");
    for (let i = 0; i < ${Math.ceil(bytes / PIECE_BYTES)}; i++) ${one};`;
  const seconds = Array.from({ length: ROUNDS }, () => cpuSecondsOf([process.execPath, "--eval", script]));
  return summarize(seconds).median;
}
