import { drayBinary } from "./binary.ts";
import { type Finished, Program, type ProgramOptions } from "./program.ts";
import { type WaitOptions } from "./wait.ts";

const running = new Set<Program>();

/** Starts any program. `await using` ends it with the test. */
export function startProgram(command: string[], options: ProgramOptions = {}): Program {
  const program = new Program(command, options);
  running.add(program);
  void program.exit.finally(() => running.delete(program));
  return program;
}

/** Starts the compiled dray. */
export function startDray(args: string[], options: ProgramOptions = {}): Program {
  return startProgram([drayBinary(), ...args], options);
}

/** Runs the compiled dray to its end. */
export async function runDray(args: string[], options: ProgramOptions & WaitOptions = {}): Promise<Finished> {
  await using dray = startDray(args, options);
  return await dray.finished({ timeoutMs: options.timeoutMs ?? 60_000 });
}

/** Ends what tests have started and not ended: for `afterEach`, where `await using` does not fit. */
export async function endStartedPrograms(): Promise<void> {
  await Promise.all([...running].map((program) => program[Symbol.asyncDispose]()));
}
