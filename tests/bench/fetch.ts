import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { drayBinary } from "../support/binary.ts";
import { freePort } from "../support/free-port.ts";
import { startDray, startProgram } from "../support/process.ts";
import { type ContenderKind, run, versionLine } from "./contender.ts";
import { portOpen } from "./port-open.ts";

/** `dray fetch` of the one file of the source, from a file server that is running already. */
export function drayFetch(...flags: string[]): ContenderKind {
  return {
    program: drayBinary(),
    async open({ source, folder }) {
      const [name = ""] = readdirSync(source);
      const server = startDray(["fileserve", "127.0.0.1", "0", source, "--json"]);
      const { port } = await server.listening();
      const destination = `${folder}/copy`;
      const command = ["fetch", "127.0.0.1", String(port), name, destination, ...flags];
      return {
        name: ["dray fetch", ...flags].join(" "),
        version: versionLine(drayBinary(), "--version"),
        commands: [
          "dray fileserve 127.0.0.1 PORT SOURCE &",
          ["dray fetch 127.0.0.1 PORT FILE COPY", ...flags].join(" "),
        ],
        destination,
        daemons: [{ name: "fileserve", pid: server.pid }],
        copy: () => run([drayBinary(), ...command]),
      };
    },
  };
}

/** curl from nginx. It neither verifies nor syncs; with `isCareful`, both are done by hand. */
export function curl(isCareful: boolean): ContenderKind {
  return {
    program: "nginx",
    async open({ source, folder }) {
      const [name = ""] = readdirSync(source);
      const port = await freePort();
      startProgram(["nginx", "-p", folder, "-c", nginxConfiguration(folder, source, port)]);
      await portOpen(port);
      const destination = `${folder}/copy`;
      const to = `${destination}/${name}`;
      const url = `http://127.0.0.1:${port}/${name}`;
      return {
        name: isCareful ? "curl, sync and sha256sum" : "curl",
        version: versionLine("curl", "--version"),
        commands: [
          "nginx &  # one worker, sendfile on",
          "curl --silent --fail --output COPY/FILE http://127.0.0.1:PORT/FILE",
          ...(isCareful ? ["sync --data COPY/FILE", "sha256sum COPY/FILE"] : []),
        ],
        destination,
        daemons: [],
        copy: async () => {
          mkdirSync(destination, { recursive: true });
          const steps = [["curl", "--silent", "--fail", "--output", to, url]];
          if (isCareful) steps.push(["sync", "--data", to], ["sha256sum", to]);
          let peakBytes = 0;
          for (const step of steps) peakBytes = Math.max(peakBytes, (await run(step)).peakBytes);
          return { peakBytes };
        },
      };
    },
  };
}

/** @returns the path of the file, for all of the directory on each of the ports */
export function nginxConfiguration(folder: string, source: string, ...ports: number[]): string {
  const path = `${folder}/nginx.conf`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  writeFileSync(
    path,
    [
      "daemon off; master_process off;",
      `pid ${folder}/nginx.pid; error_log ${folder}/nginx.log;`,
      "events {}",
      "http { access_log off; sendfile on; autoindex on;",
      ...temporary.map((what) => `${what}_temp_path ${folder}/nginx-${what};`),
      `server { ${ports.map((port) => `listen 127.0.0.1:${port};`).join(" ")} root ${source}; } }`,
    ].join("\n"),
  );
  return path;
}
