/**
 * `npm run bench:hot`: files that are in memory already, asked for over and over by 32 connections: dray's
 * cache beside nginx in one process, over loopback. What counts is requests per second of the server's
 * processor time, so that what the clients cost does not matter.
 *
 *   npm run bench:hot -- [--rounds N] [--seconds S]
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { drayBinary } from "../support/binary.ts";
import { freePort } from "../support/free-port.ts";
import { endStartedPrograms, startDray, startProgram } from "../support/process.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";
import { describeMachine } from "./machine.ts";
import { portOpen } from "./port-open.ts";
import { summarize } from "./statistics.ts";

const CONNECTIONS = 32;
const SIZES = { "4 KiB": 4096, "64 KiB": 65_536 };
const LOAD = fileURLToPath(new URL("./request-load.ts", import.meta.url));

interface Server {
  readonly name: string;
  readonly protocol: "dray" | "http";
  readonly port: number;
  /** The process that answers. */
  readonly pid: number;
}

const { values: flags } = parseArgs({
  options: { rounds: { type: "string", default: "7" }, seconds: { type: "string", default: "2" } },
});

using folder = tempFolder();
const data = folder.join("data");
mkdirSync(data);
for (const sizeBytes of Object.values(SIZES)) {
  makeLargeFile(`${data}/${sizeBytes}`, { seed: sizeBytes, sizeBytes });
}
try {
  const servers = [await startOurs(), await startNginx()];
  console.log(describeMachine(data).join("\n"));
  console.log("\n| file | server | requests per second of processor time: median | min–max |");
  console.log("| --- | --- | --- | --- |");
  for (const [shown, sizeBytes] of Object.entries(SIZES)) {
    const rates = new Map<string, number[]>();
    // In turn, so that whatever else the machine does hits both; the first round warms up.
    for (let round = 0; round <= Number(flags.rounds); round++) {
      for (const server of servers) {
        const rate = await load(server, String(sizeBytes));
        if (round > 0) rates.set(server.name, [...(rates.get(server.name) ?? []), rate]);
      }
    }
    const medians: number[] = [];
    for (const [name, measured] of rates) {
      const { median, min, max } = summarize(measured);
      medians.push(median);
      const [middle, low, high] = [median, min, max].map((rate) => Math.round(rate).toLocaleString("en"));
      console.log(`| ${shown} | ${name} | ${middle} | ${low}–${high} |`);
    }
    console.log(`| ${shown} | ratio | ${(medians[0]! / medians[1]!).toFixed(2)} | goal: 1 |`);
  }
} finally {
  await endStartedPrograms();
}

async function load({ protocol, port, pid }: Server, path: string): Promise<number> {
  const args = [protocol, port, path, CONNECTIONS, flags.seconds, pid].map(String);
  const { stdout, code, stderr } = await startProgram([process.execPath, LOAD, ...args]).finished();
  if (code !== 0) throw new Error(stderr);
  const { answers, cpuMs } = JSON.parse(stdout) as { answers: number; cpuMs: number };
  return (1000 * answers) / cpuMs;
}

async function startOurs(): Promise<Server> {
  const program = startDray(["fileserve", "127.0.0.1", "0", data, "--json"]);
  const { port } = await program.listening();
  return { name: `dray (${drayBinary().split("/").at(-1)})`, protocol: "dray", port, pid: program.pid };
}

/** As it comes from its makers, with sendfile, and without writing a log. */
async function startNginx(): Promise<Server> {
  const port = await freePort();
  const own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${folder.join(kind)};`,
  );
  const config = `
    master_process off; daemon off; pid ${folder.join("pid")}; error_log stderr;
    events { worker_connections 1024; }
    http {
      access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; ${own.join(" ")}
      server { listen 127.0.0.1:${port}; root ${data}; }
    }`;
  writeFileSync(folder.join("nginx.conf"), config);
  const program = startProgram(["nginx", "-c", folder.join("nginx.conf"), "-e", "stderr"]);
  await portOpen(port);
  return { name: "nginx", protocol: "http", port, pid: program.pid };
}
