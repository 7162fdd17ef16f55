import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { freePort } from "../support/free-port.ts";
import { endStartedPrograms, startDray, startProgram } from "../support/process.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";
import { goalLine, table } from "./markdown.ts";
import { portOpen } from "./port-open.ts";
import type { Section } from "./section.ts";
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

const SECONDS = 2;

/**
 * Files that are in memory already, asked for over and over by 32 connections: dray's cache beside nginx in one process. What
 * counts is requests per second of the server's processor time, so that what the clients cost does not matter.
 */
export const hotCache: Section = {
  name: "hot",
  title: `Files that are in memory, asked for over ${CONNECTIONS} connections`,
  async run({ rounds, say }) {
    using folder = tempFolder();
    const data = folder.join("data");
    mkdirSync(data);
    for (const sizeBytes of Object.values(SIZES)) {
      makeLargeFile(`${data}/${sizeBytes}`, { seed: sizeBytes, sizeBytes });
    }
    const rows: string[][] = [["file", "server", "requests per second of processor time", "min–max"]];
    const goals: string[] = [];
    try {
      const servers = [await startOurs(data)];
      if (Bun.which("nginx") !== null) servers.push(await startNginx(folder, data));
      for (const [shown, sizeBytes] of Object.entries(SIZES)) {
        const rates = new Map<string, number[]>();
        // In turn, so that whatever else the machine does hits both; the first round warms up.
        for (let round = 0; round <= rounds; round++) {
          for (const server of servers) {
            const rate = await load(server, String(sizeBytes));
            say(
              `  ${round === 0 ? "warm-up" : `round ${round}`}  ${Math.round(rate)}  ${shown} ${server.name}`,
            );
            if (round > 0) rates.set(server.name, [...(rates.get(server.name) ?? []), rate]);
          }
        }
        for (const [name, measured] of rates) {
          const { median, min, max } = summarize(measured);
          const [middle = "", low, high] = [median, min, max].map((rate) =>
            Math.round(rate).toLocaleString("en"),
          );
          rows.push([shown, `\`${name}\``, middle, `${low}–${high}`]);
        }
        const [ours = NaN, theirs = NaN] = [...rates.values()].map((measured) => summarize(measured).median);
        const ratio = ours / theirs;
        const goal = `\`dray\` at least as many of ${shown} as \`nginx\``;
        if (servers.length > 1) goals.push(goalLine(goal, ratio >= 1, [`${ratio.toFixed(2)}x`]));
      }
    } finally {
      await endStartedPrograms();
    }
    return {
      lines: [...table(rows), "", ...goals],
      versions: Bun.which("nginx") === null ? [] : [`nginx ${nginxVersion()}`],
      commands: new Map([["dray, hot", ["dray fileserve 127.0.0.1 PORT DIR &"]]]),
    };
  },
};

/** nginx says it on stderr. */
function nginxVersion(): string {
  return /nginx\/(\S+)/.exec(Bun.spawnSync(["nginx", "-v"]).stderr.toString())?.[1] ?? "";
}

async function load({ protocol, port, pid }: Server, path: string): Promise<number> {
  const args = [protocol, port, path, CONNECTIONS, SECONDS, pid].map(String);
  const { stdout, code, stderr } = await startProgram([process.execPath, LOAD, ...args]).finished();
  if (code !== 0) throw new Error(stderr);
  const { answers, cpuMs } = JSON.parse(stdout) as { answers: number; cpuMs: number };
  return (1000 * answers) / cpuMs;
}

async function startOurs(data: string): Promise<Server> {
  const program = startDray(["fileserve", "127.0.0.1", "0", data, "--json"]);
  const { port } = await program.listening();
  return { name: "dray", protocol: "dray", port, pid: program.pid };
}

/** As it comes from its makers, with sendfile, and without writing a log. */
async function startNginx(folder: TempFolder, data: string): Promise<Server> {
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
