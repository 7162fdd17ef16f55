import { execFileSync } from "node:child_process";
import { peakRssBytes } from "../support/memory.ts";
import { startProgram } from "../support/process.ts";

/** Something that brings a directory from one place to another, and is timed doing so. */
export interface Contender {
  /** How the tables call it: `rsync --fsync`. */
  readonly name: string;
  /** What it is and in which version; nothing for our own programs. */
  readonly version: string | undefined;
  /** What was run, as somebody would type it, with SOURCE, COPY and PORT in place of paths and ports. */
  readonly commands: readonly string[];
  /** The copy of the source directory. */
  readonly destination: string;
  /** Long-lived processes whose memory is of interest. */
  readonly daemons: readonly { name: string; pid: number }[];
  /**
   * The timed part: brings everything over once.
   * @throws when it did not
   */
  copy(): Promise<Copied>;
}

export interface Copied {
  /**
   * The most memory that a program of it had resident, in bytes, as far as looks every 20 ms tell: what the system says at
   * the end counts ourselves as well, from before the program was loaded.
   */
  peakBytes: number;
  /** What counts in place of the time that all of it took. */
  seconds?: number;
}

/** Where a contender works. */
export interface Place {
  /** The directory to be copied. */
  source: string;
  /** An empty directory of the contender's own, on the same file system. */
  folder: string;
}

/** Starts what a contender needs. `undefined` when the program is not installed. */
export interface ContenderKind {
  readonly program: string;
  open(place: Place): Promise<Contender>;
}

const RUN_LIMIT_MS = 180_000;
const LOOK_MS = 20;

/**
 * Runs a program to its end.
 * @throws Error with the end of its stderr, when it fails or takes longer than three minutes
 */
export async function run(command: string[]): Promise<Copied & { stdout: string }> {
  await using program = startProgram(command);
  let peakBytes = 0;
  const look = setInterval(() => {
    try {
      peakBytes = peakRssBytes(program.pid);
    } catch {
      // It has just ended.
    }
  }, LOOK_MS);
  const { code, stdout, stderr } = await program
    .finished({ timeoutMs: RUN_LIMIT_MS })
    .finally(() => clearInterval(look));
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${stderr.slice(-2000)}`);
  return { peakBytes, stdout };
}

/** The first line of what a program says about its version. */
export function versionLine(program: string, ...args: string[]): string {
  const [line = program] = execFileSync(program, args, { encoding: "utf8" }).split("\n");
  return line.replace(/\s+/g, " ");
}
