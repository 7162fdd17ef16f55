import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeManifest } from "../../src/wire/manifest-codec.ts";
import { type Manifest, serverText } from "../../src/wire/manifest.ts";
import { manifestPath, partPath } from "../../src/wire/split-names.ts";
import { namesBelow } from "./files-below.ts";
import { startDray } from "./process.ts";
import type { Program } from "./program.ts";
import { steadyPorts } from "./steady-ports.ts";

export interface PartServersOptions {
  processes: number;
  /** Servers in each process. */
  instances: number;
  flags?: string[];
}

/** Many writable servers in few processes, each of which can be killed and started again on its ports. */
export class PartServers implements AsyncDisposable {
  readonly root: string;
  readonly #options: PartServersOptions;
  readonly #firstPort: number;
  readonly #programs: Program[] = [];

  private constructor(root: string, options: PartServersOptions, firstPort: number) {
    this.root = root;
    this.#options = options;
    this.#firstPort = firstPort;
  }

  /** @param root becomes the directory that theirs are in */
  static async start(root: string, options: PartServersOptions): Promise<PartServers> {
    mkdirSync(root, { recursive: true });
    const firstPort = await steadyPorts(options.processes * options.instances);
    const servers = new PartServers(root, options, firstPort);
    try {
      await Promise.all(
        Array.from({ length: options.processes }, (_, process) => servers.startProcess(process)),
      );
      return servers;
    } catch (error) {
      await servers[Symbol.asyncDispose]();
      throw error;
    }
  }

  get ports(): number[] {
    return Array.from(
      { length: this.#options.processes * this.#options.instances },
      (_, index) => this.#firstPort + index,
    );
  }

  /** For --to, --from and --on. */
  get list(): string {
    return this.names().join(",");
  }

  names(ports = this.ports): string[] {
    return ports.map((port) => `127.0.0.1:${port}`);
  }

  processOf(port: number): number {
    return Math.floor((port - this.#firstPort) / this.#options.instances);
  }

  portsOf(process: number): number[] {
    return this.ports.filter((port) => this.processOf(port) === process);
  }

  async startProcess(process: number): Promise<void> {
    const { instances, flags = [] } = this.#options;
    const port = this.#firstPort + process * instances;
    const program = startDray([
      ...["fileserve", "127.0.0.1", String(port), join(this.root, "d{port}")],
      ...["--instances", String(instances), "--writable", "--json", ...flags],
    ]);
    this.#programs[process] = program;
    const lastPort = port + instances - 1;
    await program.waitFor((event) => event.type === "listening" && event["port"] === lastPort, {
      what: `a server on port ${lastPort}`,
    });
  }

  program(process: number): Program {
    return this.#programs[process]!;
  }

  /** Ends a process, and all of its servers with it, and waits until it is gone. */
  async kill(process: number, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.program(process).stop(signal);
  }

  pathOn(port: number, path: string): string {
    return join(this.root, `d${port}`, path);
  }

  manifestOn(port: number, name: string): Manifest | undefined {
    const path = this.pathOn(port, manifestPath(name));
    return existsSync(path) ? decodeManifest(readFileSync(path)) : undefined;
  }

  /** Who really has a copy of a part, by what lies in the directories. */
  holdersOnDisk(name: string, manifest: Manifest, part: number): number[] {
    return this.ports.filter((port) => existsSync(this.pathOn(port, partPath(name, manifest, part))));
  }

  /** Who has one by the manifest. */
  holders(manifest: Manifest, part: number): number[] {
    return manifest.parts[part]!.holders.map((holder) =>
      Number(serverText(manifest.servers[holder]!).split(":")[1]),
    );
  }

  /** Everything that clients can see on a server. */
  filesOn(port: number): string[] {
    return namesBelow(join(this.root, `d${port}`)).filter(
      (path) => !path.startsWith(".dray/") && !path.endsWith("/"),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#programs.map((program) => program[Symbol.asyncDispose]()));
  }
}
