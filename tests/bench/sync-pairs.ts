import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { drayBinary } from "../support/binary.ts";
import { freePort } from "../support/free-port.ts";
import { startDray, startProgram } from "../support/process.ts";
import type { DrayEvent, Program } from "../support/program.ts";
import { run, versionLine } from "./contender.ts";
import { portOpen } from "./port-open.ts";

/** Two folders that somebody keeps in sync. */
export interface SyncPair {
  /** Where somebody works. */
  readonly from: string;
  /** Where that is to show. */
  readonly to: string;
  /** Brings over what has changed, for those that do so when they are told. */
  once?(): Promise<unknown>;
  /** The processes, for their memory. */
  readonly programs: readonly { name: string; pid: number }[];
}

export interface SyncKind {
  /** How the tables call it. */
  readonly name: string;
  readonly program: string;
  /** What was run, as somebody would type it. */
  readonly commands: readonly string[];
  version: () => string;
  open(folder: string): Promise<SyncPair>;
}

/** From a client's folder to the server's directory, or on to another client's folder. */
export function draySync(isBetweenClients: boolean, chunkSize = "1MiB"): SyncKind {
  const client = `dray sync-client 127.0.0.1 PORT PORT FOLDER ${chunkSize}`;
  return {
    name: isBetweenClients ? "dray, two clients" : "dray",
    program: drayBinary(),
    commands: [
      "dray sync-server 0 0 --dir DIR &",
      `${client} &`,
      ...(isBetweenClients ? [`${client} &`] : []),
    ],
    version: () => versionLine(drayBinary(), "--version"),
    async open(folder) {
      const root = `${folder}/server`;
      const server = startDray(["sync-server", "0", "0", "--dir", root, "--json"]);
      const { sendPort, receivePort } = await listeningPorts(server);
      const client = async (name: string): Promise<Program> => {
        const ports = [String(receivePort), String(sendPort)];
        const started = startDray([
          "sync-client",
          "127.0.0.1",
          ...ports,
          `${folder}/${name}`,
          chunkSize,
          "--json",
        ]);
        await started.event("connected");
        return started;
      };
      const first = await client("a");
      const second = isBetweenClients ? await client("b") : undefined;
      return {
        from: `${folder}/a`,
        to: second === undefined ? root : `${folder}/b`,
        programs: [
          { name: "sync-server", pid: server.pid },
          { name: "sync-client", pid: first.pid },
        ],
      };
    },
  };
}

async function listeningPorts(server: Program): Promise<{ sendPort: number; receivePort: number }> {
  const portOf = async (channel: string): Promise<number> => {
    const isIt = (event: DrayEvent): boolean => event.type === "listening" && event["channel"] === channel;
    const { port } = await server.waitFor(isIt, { what: `the ${channel} port` });
    return port as number;
  };
  return { sendPort: await portOf("send"), receivePort: await portOf("receive") };
}

/** Two roots over a socket, with the times kept and nothing asked. It runs when it is told to, and syncs nothing to the disk. */
export const unison: SyncKind = {
  name: "unison",
  program: "unison",
  commands: [
    "unison -socket PORT &",
    "unison FROM socket://127.0.0.1:PORT/TO -batch -auto -times -silent -ui text",
  ],
  version: () => versionLine("unison", "-version"),
  async open(folder) {
    const [from, to, state] = [`${folder}/a`, `${folder}/b`, `${folder}/state`];
    for (const directory of [from, to, state]) mkdirSync(directory, { recursive: true });
    const port = await freePort();
    const env = { UNISON: state };
    const server = startProgram(["unison", "-socket", String(port)], { env });
    await portOpen(port);
    const roots = [from, `socket://127.0.0.1:${port}/${to}`];
    const options = ["-batch", "-auto", "-times", "-silent", "-ui", "text"];
    return {
      from,
      to,
      once: () => run(["env", `UNISON=${state}`, "unison", ...roots, ...options]),
      programs: [{ name: "unison", pid: server.pid }],
    };
  },
};

/** Two instances that know each other and nobody else, and wait as little as they can before they look at a change. */
export const syncthing: SyncKind = {
  name: "syncthing",
  program: "syncthing",
  commands: [
    "syncthing serve --no-browser --no-restart --no-upgrade --home=HOME &  # twice, fsWatcherDelayS=1, no discovery",
  ],
  version: () => versionLine("syncthing", "--version"),
  async open(folder) {
    const sides = [];
    for (const name of ["a", "b"]) {
      const [home, shared] = [`${folder}/home-${name}`, `${folder}/${name}`];
      for (const directory of [home, shared]) mkdirSync(directory, { recursive: true });
      await run(["syncthing", "generate", `--home=${home}`, "--no-default-folder", "--skip-port-probing"]);
      const id = /<device id="([A-Z0-9-]+)"/.exec(readFileSync(`${home}/config.xml`, "utf8"))![1]!;
      sides.push({ home, shared, id, port: await freePort(), guiPort: await freePort() });
    }
    const programs = [];
    for (const [index, side] of sides.entries()) {
      writeFileSync(`${side.home}/config.xml`, syncthingConfiguration(side, sides[1 - index]!));
      const flags = ["--no-browser", "--no-restart", "--no-upgrade", `--home=${side.home}`];
      // It is the one that works, and not one that watches over it.
      const env = { HOME: side.home, STMONITORED: "yes" };
      const program = startProgram(["syncthing", "serve", ...flags], { env });
      programs.push({ name: "syncthing", pid: program.pid });
      await portOpen(side.port);
      if (index === 1) await program.stdoutMatch(/Established secure connection/, { timeoutMs: 60_000 });
    }
    const [from, to] = [sides[0]!.shared, sides[1]!.shared];
    // The first one may be found by its first scan. The second one is not: then it watches the folder.
    for (const name of ["first", "second"]) await bringsSmallFile(`${from}/${name}`, `${to}/${name}`);
    return { from, to, programs };
  },
};

/** Writes it again and again, since a change may come too early to be noticed. */
async function bringsSmallFile(from: string, to: string): Promise<void> {
  for (let tick = 0; !existsSync(to); tick++) {
    if (tick === 600) throw new Error("Syncthing did not bring a small file in a minute");
    if (tick % 50 === 0) writeFileSync(from, String(tick));
    await Bun.sleep(100);
  }
}

interface SyncthingSide {
  shared: string;
  id: string;
  port: number;
  guiPort: number;
}

function syncthingConfiguration(own: SyncthingSide, other: SyncthingSide): string {
  const devices = [own, other].map(
    ({ id, port }) => `<device id="${id}"><address>tcp://127.0.0.1:${port}</address></device>`,
  );
  const shares = [own, other].map(({ id }) => `<device id="${id}"></device>`);
  const off = [
    "globalAnnounceEnabled",
    "localAnnounceEnabled",
    "relaysEnabled",
    "natEnabled",
    "crashReportingEnabled",
  ];
  return [
    '<configuration version="36">',
    `<folder id="shared" path="${own.shared}" type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1">${shares.join("")}</folder>`,
    ...devices,
    `<gui enabled="true"><address>127.0.0.1:${own.guiPort}</address></gui>`,
    `<options><listenAddress>tcp://127.0.0.1:${own.port}</listenAddress><urAccepted>-1</urAccepted>`,
    `<reconnectionIntervalS>1</reconnectionIntervalS>`,
    ...off.map((name) => `<${name}>false</${name}>`),
    "</options></configuration>",
  ].join("\n");
}
