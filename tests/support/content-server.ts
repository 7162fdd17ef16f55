import { startDray } from "./process.ts";
import type { Program } from "./program.ts";

/** A running `dray content`, or another server of the dray protocol, over a directory. */
export interface RunningServer extends AsyncDisposable {
  readonly program: Program;
  readonly port: number;
}

/** @param flags more flags; a later one does not override an earlier one, so no port must be among them */
export async function startContent(directory: string, flags: string[] = []): Promise<RunningServer> {
  return started(startDray(["content", "-p", "0", "-d", directory, "--json", ...flags]));
}

export async function startFileserve(directory: string, flags: string[] = []): Promise<RunningServer> {
  return started(startDray(["fileserve", "127.0.0.1", "0", directory, "--json", ...flags]));
}

async function started(program: Program): Promise<RunningServer> {
  const { port } = await program.listening();
  return { program, port, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}
