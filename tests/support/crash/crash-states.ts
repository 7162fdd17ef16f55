import { Violation } from "../simulation/violation.ts";
import { seededRandom } from "../random.ts";
import { CrashDisk, type DiskEntry } from "./crash-disk.ts";
import { type Operation, isBoundary } from "./operations.ts";
import type { Recording } from "./recording.ts";

/** A disk as a crash has left it. */
export interface CrashState {
  kind: "kill" | "power";
  /** So many operations were done. */
  done: number;
  /** What a power failure leaves follows from it. */
  seed: number;
  /** Whether changes of names reached the medium in their order, as journaling file systems see to it. */
  isOrdered: boolean;
  entries: ReadonlyMap<string, DiskEntry>;
  /** When it happened: milliseconds since 1970. */
  atMs: number;
  /** What the program had told its user. */
  said: readonly string[];
}

export interface StatesWanted {
  seed: number;
  /** About so many in all: as many power failures at each boundary as that makes, but at least one. */
  states: number;
}

/**
 * What is there when the process is killed, and when the power fails, behind every operation that changes
 * something or makes something durable.
 */
export function* crashStates(recording: Recording, { seed, states }: StatesWanted): Generator<CrashState> {
  const { start, operations } = recording;
  const powerFailures = Math.max(1, Math.ceil(states / operations.filter(isBoundary).length) - 1);
  const running = new CrashDisk(start, seededRandom(seed));
  const said: string[] = [];
  for (const [index, operation] of operations.entries()) {
    running.do(operation);
    if (operation.kind === "said") said.push(operation.text);
    if (!isBoundary(operation)) continue;
    const done = index + 1;
    const common = { done, atMs: operation.atMs, said: [...said] };
    if (operation.kind !== "sync-ends")
      yield { ...common, kind: "kill", seed: 0, isOrdered: true, entries: running.entries() };
    for (let number = 0; number < powerFailures; number++) {
      const own = seed * 1_000_003 + done * 101 + number;
      yield { ...common, kind: "power", seed: own, ...afterPowerFailure(recording, done, own) };
    }
  }
}

function afterPowerFailure(
  { start, operations }: Recording,
  done: number,
  seed: number,
): Pick<CrashState, "entries" | "isOrdered"> {
  const disk = new CrashDisk(start, seededRandom(seed));
  for (const operation of operations.slice(0, done)) disk.do(operation);
  disk.losePower();
  return { entries: disk.entries(), isOrdered: disk.isOrdered };
}

/** @returns a violation that tells where the crash was, and what happened just before */
export function violationAt({ operations }: Recording, state: CrashState, what: string): Violation {
  const crash = state.kind === "kill" ? "killed" : `power failure ${state.seed}`;
  const before = operations.slice(Math.max(0, state.done - 12), state.done).map(shown);
  return new Violation(
    "after a crash",
    `${what}\n  ${crash} behind operation ${state.done} of ${operations.length}:\n    ${before.join("\n    ")}`,
  );
}

function shown(operation: Operation): string {
  const detail =
    operation.kind === "write"
      ? `, ${operation.bytes.length} bytes at ${operation.offset}`
      : operation.kind === "sync-begins"
        ? " begins"
        : operation.kind === "said"
          ? ` says ${operation.text}`
          : "";
  return operation.shown + detail;
}
