import { mkdirSync } from "node:fs";
import type { OrderResult } from "../../src/wire/order.ts";
import { type DrayEvent, type Program, type ProgramOptions } from "./program.ts";
import { runDray, startDray } from "./process.ts";
import { tempFolder, type TempFolder } from "./temp.ts";
import { type WaitOptions } from "./wait.ts";

/** Orders are given this long on a slow and busy machine. */
const ORDER_TIMEOUT_MS = 90_000;

export interface ContentServer {
  readonly program: Program;
  readonly port: number;
  /** What it exports. */
  readonly directory: string;
}

/** What an initiator got to hear. */
export interface GivenOrder {
  code: number | null;
  events: DrayEvent[];
  result: OrderResult;
  stderr: string;
}

export interface OrderOptions extends WaitOptions {
  /** More flags for `dray initiate`. */
  flags?: string[];
}

/** A temp folder with a running mirror in it, and as many content servers as a test wants. */
export class Stage implements AsyncDisposable {
  readonly folder: TempFolder;
  mirror!: Program;
  mirrorPort = 0;
  readonly mirrorDirectory: string;
  readonly #programs: Program[] = [];

  private constructor(mirrorDirectory?: string) {
    this.folder = tempFolder();
    this.mirrorDirectory = mirrorDirectory ?? this.folder.join("mirror");
  }

  /** @param flags more flags for `dray mirror` */
  static async open(
    options: { flags?: string[]; mirrorDirectory?: string; program?: ProgramOptions } = {},
  ): Promise<Stage> {
    const stage = new Stage(options.mirrorDirectory);
    try {
      await stage.startMirror(options.flags, options.program);
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
    return stage;
  }

  /** Starts a mirror on the same directory as before; the last one has to have ended. */
  async startMirror(flags: string[] = [], options: ProgramOptions = {}): Promise<void> {
    this.mirror = this.#start(["mirror", "-p", "0", "-m", this.mirrorDirectory, "--json", ...flags], options);
    this.mirrorPort = (await this.mirror.listening()).port;
  }

  /** A content server over a new directory that `fill` has filled. */
  async content(
    name: string,
    fill: (directory: string) => unknown,
    flags: string[] = [],
  ): Promise<ContentServer> {
    const directory = this.folder.join(name);
    mkdirSync(directory, { recursive: true });
    await fill(directory);
    return this.serve(directory, flags);
  }

  /** A content server over a directory that is there. */
  async serve(directory: string, flags: string[] = []): Promise<ContentServer> {
    const program = this.#start(["content", "-p", "0", "-d", directory, "--json", ...flags]);
    const { port } = await program.listening();
    return { program, port, directory };
  }

  /** Where the mirror keeps what came from a port of this machine. */
  treeOf(source: { port: number }): string {
    return `${this.mirrorDirectory}/127.0.0.1_${source.port}`;
  }

  /** Gives the mirror an order and follows it. Throws, with all that was said, when there is no result. */
  async order(sources: string[], options: OrderOptions = {}): Promise<GivenOrder> {
    const { code, events, stderr } = await runDray(this.orderCommand(sources, options.flags), {
      timeoutMs: options.timeoutMs ?? ORDER_TIMEOUT_MS,
    });
    const last = events.at(-1);
    if (last?.type !== "result") {
      throw new Error(`The initiator ended with ${code} and without a result: ${stderr}`);
    }
    return { code, events, stderr, result: last as unknown as OrderResult };
  }

  /** Starts an initiator and does not wait for it. */
  startOrder(sources: string[], flags: string[] = []): Program {
    return this.#start(this.orderCommand(sources, flags));
  }

  orderCommand(sources: string[], flags: string[] = []): string[] {
    const to = ["-m", "127.0.0.1", "-p", String(this.mirrorPort)];
    return ["initiate", ...to, "-s", sources.join(","), "--json", ...flags];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#programs.map((program) => program[Symbol.asyncDispose]()));
    this.folder[Symbol.dispose]();
  }

  #start(args: string[], options: ProgramOptions = {}): Program {
    const program = startDray(args, options);
    this.#programs.push(program);
    return program;
  }
}

/** One item of `-s`, as somebody who has read the help would write it. */
export function sourceText(source: { port: number }, path = ".", delaySeconds = 0): string {
  const escaped = path.replaceAll("\\", "\\\\").replaceAll(",", "\\,");
  return `127.0.0.1:${source.port}:${escaped}:${delaySeconds}`;
}

/** Waits until the mirror has received, and written, something of a file. */
export async function receiving(order: Program): Promise<void> {
  const hasBytes = (event: DrayEvent): boolean =>
    event.type === "progress" && (event["bytesTransferred"] as number) > 0;
  await order.waitFor(hasBytes, { what: "the first bytes of an order" });
}
