import type { Violation } from "../simulation/violation.ts";
import { ramFolder } from "../ram-folder.ts";
import { type CrashState, type StatesWanted, crashStates, violationAt } from "./crash-states.ts";
import type { Recording } from "./recording.ts";

/** DRAY_TEST_SEED tries other power failures, DRAY_TEST_STATES more of them (of each recording). */
export const SEED = Number(process.env["DRAY_TEST_SEED"] ?? 1);
const STATES = Number(process.env["DRAY_TEST_STATES"] ?? 2_000);

/** What is wrong with a state. @param scratch an empty directory */
export type FaultsOf = (state: CrashState, scratch: string) => string[] | Promise<string[]>;

const SCRATCH_BYTES = 64 * 1024 * 1024;

/** @returns how many states were looked at, and the first one that breaks a promise */
export async function searchStates(
  recording: Recording,
  faultsOf: FaultsOf,
  wanted: StatesWanted = { seed: SEED, states: STATES },
): Promise<{ count: number; violation: Violation | undefined }> {
  let count = 0;
  for (const state of crashStates(recording, wanted)) {
    count++;
    using scratch = ramFolder(SCRATCH_BYTES);
    const [fault] = await faultsOf(state, scratch.path);
    if (fault !== undefined) return { count, violation: violationAt(recording, state, fault) };
  }
  return { count, violation: undefined };
}

/** Rounds of a search with a power failure at each boundary: most plants are caught in the first one. */
const ROUNDS = 25;

/** @returns undefined when none is found */
export async function firstViolation(
  recording: Recording,
  faultsOf: FaultsOf,
): Promise<Violation | undefined> {
  for (let round = 0; round < ROUNDS; round++) {
    const { violation } = await searchStates(recording, faultsOf, { seed: SEED + round, states: 1 });
    if (violation !== undefined) return violation;
  }
  return undefined;
}

/** Some of all states of a recording, from the first to the last. */
export function sampled(recording: Recording, count: number): CrashState[] {
  const all = [...crashStates(recording, { seed: SEED, states: 1 })];
  const step = all.length / count;
  return Array.from({ length: count }, (_, index) => all[Math.floor((index + (SEED % 7) / 7) * step)]!);
}
