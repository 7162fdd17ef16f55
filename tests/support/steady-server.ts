import { type Exit, type Program, type ProgramOptions } from "./program.ts";
import { startDray } from "./process.ts";
import { steadyPort } from "./steady-port.ts";
import { type WaitOptions } from "./wait.ts";

/** A dray server that is ended and started again on the same port, as often as a test wants. */
export class SteadyServer implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  /** What it serves or fills. */
  readonly directory: string;
  /** The newest one. */
  program!: Program;
  readonly #args: readonly string[];
  readonly #options: ProgramOptions;

  private constructor(args: readonly string[], directory: string, port: number, options: ProgramOptions) {
    this.#args = args;
    this.#options = options;
    this.directory = directory;
    this.port = port;
  }

  /** Starts `dray content` over a directory. */
  static async content(directory: string): Promise<SteadyServer> {
    return SteadyServer.#open(["content", "-d", directory], directory);
  }

  /** Starts `dray fileserve --writable` over a directory. */
  static async writable(directory: string, flags: string[] = []): Promise<SteadyServer> {
    return SteadyServer.#open(["fileserve", "-d", directory, "--writable", ...flags], directory);
  }

  /** Starts `dray mirror` into a directory. */
  static async mirror(
    directory: string,
    flags: string[] = [],
    options: ProgramOptions = {},
  ): Promise<SteadyServer> {
    return SteadyServer.#open(["mirror", "-m", directory, ...flags], directory, options);
  }

  static async #open(
    args: readonly string[],
    directory: string,
    options: ProgramOptions = {},
  ): Promise<SteadyServer> {
    const server = new SteadyServer(args, directory, await steadyPort(), options);
    await server.start();
    return server;
  }

  /** Starts it, and does not wait until it listens; the last one has to have ended. */
  begin(): Program {
    this.program = startDray([...this.#args, "-p", String(this.port), "--json"], this.#options);
    return this.program;
  }

  async start(options: WaitOptions = {}): Promise<void> {
    await this.begin().listening(options);
  }

  /** Ends it and waits until it is gone. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Exit> {
    return this.program.stop(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program?.[Symbol.asyncDispose]();
  }
}
