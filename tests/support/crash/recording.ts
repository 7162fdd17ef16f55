import { mkdirSync, readFileSync } from "node:fs";
import { drayBinary } from "../binary.ts";
import { startProgram } from "../process.ts";
import type { Program } from "../program.ts";
import { seededRandom } from "../random.ts";
import { tempFolder } from "../temp.ts";
import { CrashDisk } from "./crash-disk.ts";
import { type StartEntry, differences, startEntries } from "./disk-entries.ts";
import { OperationReader, TRACED_CALLS } from "./operation-reader.ts";
import type { Operation } from "./operations.ts";
import { readLog } from "./system-calls-log.ts";

/** All that a program did to a directory, from its start to its end. */
export interface Recording {
  start: readonly StartEntry[];
  operations: readonly Operation[];
}

/** Longer than any write. */
const SHOWN_BYTES = 16 * 1024 * 1024;

/**
 * Runs the compiled dray under strace.
 * @param root the directory that matters, and in which dray is started; made if it is not there
 * @param drive has the program do something, and sees to it that it ends
 * @param saying what bytes that it sends or prints tell its user; undefined for nothing
 * @throws Error when the recording does not explain what is there in the end
 */
export async function record(
  root: string,
  args: readonly string[],
  drive: (program: Program) => Promise<unknown>,
  saying: (bytes: Buffer) => string | undefined = () => undefined,
): Promise<Recording> {
  mkdirSync(root, { recursive: true });
  const start = startEntries(root);
  using folder = tempFolder();
  const log = folder.join("log");
  const calls = `trace=${TRACED_CALLS.map((name) => `?${name}`).join(",")}`;
  const strace = ["strace", "-D", "-f", "-y", "-xx", "-ttt", "-s", String(SHOWN_BYTES), "--seccomp-bpf"];
  {
    await using program = startProgram([...strace, "-o", log, "-e", calls, drayBinary(), ...args], {
      cwd: root,
    });
    await drive(program);
    await program.exit; // strace has the same streams: it has ended as well
  }
  const reader = new OperationReader(root, root, start, saying);
  for (const event of readLog(readFileSync(log, "latin1"))) reader.take(event);
  const { operations } = reader;
  const disk = new CrashDisk(start, seededRandom(1));
  for (const operation of operations) disk.do(operation);
  const unexplained = differences(disk.entries(), root);
  if (unexplained.length > 0) throw new Error(`The recording does not explain: ${unexplained.join("; ")}`);
  return { start, operations };
}
