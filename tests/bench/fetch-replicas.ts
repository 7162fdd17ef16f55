import { mkdirSync, readdirSync } from "node:fs";
import { fileSha256 } from "../support/file-sha256.ts";
import { drayBinary } from "../support/binary.ts";
import { freePort } from "../support/free-port.ts";
import { startDray, startProgram } from "../support/process.ts";
import { startProxy } from "../support/proxy.ts";
import type { Fault } from "../support/proxy-faults.ts";
import { type ContenderKind, type Copied, run, versionLine } from "./contender.ts";
import { nginxConfiguration } from "./fetch.ts";
import { portOpen } from "./port-open.ts";

const SERVERS = 4;
/** Until then, the server that fails is as good as any. */
const FAILS_AFTER_BYTES = 64 * 1024 * 1024;

/** What becomes of one of the four servers on the way; `missing`: it was never there. */
export type Trouble = "missing" | "stalls" | "dies";

const NAME_OF_TROUBLE: Record<Trouble, string> = {
  missing: ", three servers",
  stalls: ", one of four stalls",
  dies: ", one of four dies",
};

/** `dray fetch --from` four file servers that are running already. */
export function drayReplicas(trouble: Trouble | undefined, ...flags: string[]): ContenderKind {
  return {
    program: drayBinary(),
    async open({ source, folder }) {
      const [name = ""] = readdirSync(source);
      const servers = Array.from({ length: trouble === "missing" ? SERVERS - 1 : SERVERS }, () =>
        startDray(["fileserve", "127.0.0.1", "0", source, "--json"]),
      );
      const ports: number[] = [];
      for (const server of servers) ports.push((await server.listening()).port);
      const destination = `${folder}/copy`;
      const copyFrom = (ports: readonly number[]): Promise<Copied> => {
        const from = ports.map((port) => `127.0.0.1:${port}`).join();
        return run([drayBinary(), "fetch", "--from", from, name, destination, ...flags]);
      };
      return {
        name: ["dray fetch", ...flags].join(" ") + (trouble === undefined ? "" : NAME_OF_TROUBLE[trouble]),
        version: versionLine(drayBinary(), "--version"),
        commands: [
          "dray fileserve 127.0.0.1 PORT SOURCE &  # once for each server",
          ["dray fetch --from SERVER,SERVER,SERVER,SERVER FILE COPY", ...flags].join(" "),
        ],
        destination,
        daemons: servers.slice(0, 1).map(({ pid }) => ({ name: "fileserve", pid })),
        async copy() {
          if (trouble === undefined || trouble === "missing") return copyFrom(ports);
          const [first = 0, ...others] = ports;
          const faults = (connection: number): Fault[] => faultsOf(trouble, connection);
          await using proxy = await startProxy({ target: { host: "127.0.0.1", port: first }, faults });
          return await copyFrom([proxy.port, ...others]);
        },
      };
    },
  };
}

/** One that has died takes connections no more. */
function faultsOf(trouble: "stalls" | "dies", connection: number): Fault[] {
  if (trouble === "stalls") return [{ kind: "stall", atByte: FAILS_AFTER_BYTES }];
  return [{ kind: "cut", atByte: connection < 2 ? FAILS_AFTER_BYTES : 0, how: "rst" }];
}

/** aria2 from four ports of one nginx. It does not verify; with `isChecked` it compares the sum in the end. */
export function aria2(isChecked: boolean): ContenderKind {
  return {
    program: Bun.which("nginx") === null ? "nginx" : "aria2c",
    async open({ source, folder }) {
      const [name = ""] = readdirSync(source);
      const ports: number[] = [];
      for (let server = 0; server < SERVERS; server++) ports.push(await freePort());
      startProgram(["nginx", "-p", folder, "-c", nginxConfiguration(folder, source, ...ports)]);
      for (const port of ports) await portOpen(port);
      const destination = `${folder}/copy`;
      const check = isChecked ? [`--checksum=sha-256=${await fileSha256(`${source}/${name}`)}`] : [];
      const flags = ["-x4", "-s4", "--quiet", "--file-allocation=none"];
      return {
        name: isChecked ? "aria2c -x4 -s4 --checksum" : "aria2c -x4 -s4",
        version: versionLine("aria2c", "--version"),
        commands: [
          "nginx &  # one worker, four ports, sendfile on",
          `aria2c ${flags.join(" ")}${isChecked ? " --checksum=sha-256=SUM" : ""} --dir COPY URL URL URL URL`,
        ],
        destination,
        daemons: [],
        async copy() {
          mkdirSync(destination, { recursive: true });
          const urls = ports.map((port) => `http://127.0.0.1:${port}/${name}`);
          return await run(["aria2c", "--no-conf", ...flags, ...check, "--dir", destination, ...urls]);
        },
      };
    },
  };
}
