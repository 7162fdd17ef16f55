import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { DrayEvent, Program } from "./program.ts";
import { runDray, startDray } from "./process.ts";
import { steadyPort } from "./steady-port.ts";
import { type TempFolder, tempFolder } from "./temp.ts";

/** How long a busy machine may take for one thing to get from one folder to another. */
const DEADLINE_MS = 60_000;

/** The compiled server and clients, each with a folder of its own below a temp folder. */
export class SyncParty implements AsyncDisposable {
  readonly temp: TempFolder = tempFolder();
  readonly #programs = new Map<string, Program>();
  #ports: readonly [send: string, receive: string] = ["", ""];

  /** @param names of clients that are started at once */
  static async start(names: readonly string[], flags: readonly string[] = []): Promise<SyncParty> {
    const party = new SyncParty();
    try {
      party.#ports = [String(await steadyPort()), String(await steadyPort())];
      await party.startServer();
      await Promise.all(names.map((name) => party.startClient(name, flags)));
      return party;
    } catch (error) {
      await party[Symbol.asyncDispose]();
      throw error;
    }
  }

  async startServer(): Promise<void> {
    const [send, receive] = this.#ports;
    const server = startDray(["sync-server", send, receive, "--dir", this.folder("server"), "--json"]);
    this.#programs.set("server", server);
    await server.listening();
  }

  /** Starts a client; resolves when it has nothing left to do. */
  async startClient(name: string, flags: readonly string[] = []): Promise<Program> {
    const [send, receive] = this.#ports;
    const folder = this.folder(name);
    mkdirSync(folder, { recursive: true });
    const args = ["sync-client", "127.0.0.1", receive, send, folder, "64KiB", "--json", ...flags];
    const client = startDray(args);
    this.#programs.set(name, client);
    await client.event("in-sync", { timeoutMs: DEADLINE_MS });
    return client;
  }

  program(name: string): Program {
    return this.#programs.get(name)!;
  }

  async stop(name: string): Promise<void> {
    await this.program(name).stop();
  }

  /** `dray sync-client FLAGS --folder FOLDER`, run to its end. */
  async ask(name: string, ...flags: string[]): Promise<Awaited<ReturnType<typeof runDray>>> {
    return await runDray(["sync-client", ...flags, "--folder", this.folder(name)]);
  }

  folder(name: string, ...path: string[]): string {
    return this.temp.join(name, ...path);
  }

  write(name: string, file: string, content: string | Uint8Array): void {
    const path = this.folder(name, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }

  read(name: string, file: string): string | undefined {
    const path = this.folder(name, file);
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
  }

  remove(name: string, file: string): void {
    rmSync(this.folder(name, file), { recursive: true });
  }

  /** Files of a user, sorted. */
  names(name: string): string[] {
    return filesBelow(this.folder(name)).filter((file) => !file.startsWith(".dray/"));
  }

  /** Every content in the versions of a folder. */
  versions(name: string): string[] {
    const root = this.folder(name, ".dray", "versions");
    return existsSync(root) ? filesBelow(root).map((file) => readFileSync(join(root, file), "utf8")) : [];
  }

  /** Waits until something on the disks is so: there is no event for what several programs do together. */
  async until(isSo: () => boolean, what: string): Promise<void> {
    const deadlineMs = performance.now() + DEADLINE_MS;
    while (!isSo()) {
      if (performance.now() > deadlineMs) throw new Error(`Waited in vain for ${what}\n${this.describe()}`);
      await Bun.sleep(20);
    }
  }

  async untilHas(name: string, file: string, content: string | undefined): Promise<void> {
    await this.until(() => this.read(name, file) === content, `${file} at ${name} to be ${content}`);
  }

  /** Waits until all folders hold the same, twice in a row. @param names of clients */
  async untilSame(names: readonly string[]): Promise<void> {
    const deadlineMs = performance.now() + DEADLINE_MS;
    for (let same = 0; same < 2;) {
      const differences = (
        await Promise.all(names.map((name) => diffContents(this.folder("server"), this.folder(name))))
      ).flat();
      same = differences.length === 0 ? same + 1 : 0;
      if (performance.now() > deadlineMs) throw new Error(`${differences.join("\n")}\n${this.describe()}`);
      await Bun.sleep(300);
    }
  }

  events(name: string, type: string): DrayEvent[] {
    return this.program(name).events.filter((event) => event.type === type);
  }

  /** What the programs said last. */
  describe(): string {
    const ends = [...this.#programs].map(
      ([name, program]) =>
        `${name}: ${program.stdoutText().slice(-1500)}${program.stderrText().slice(-1500)}`,
    );
    return ends.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#programs.values()].map((program) => program[Symbol.asyncDispose]()));
    this.temp[Symbol.dispose]();
  }
}

function filesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

/** As `diff -r` sees it; times and modes are no matter of the protocol. */
async function diffContents(expected: string, actual: string): Promise<string[]> {
  const child = Bun.spawn(["diff", "-r", "-q", "--no-dereference", "-x", ".dray", expected, actual], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C" },
  });
  const text = (await new Response(child.stdout).text()) + (await new Response(child.stderr).text());
  return text.split("\n").filter((line) => line !== "");
}
