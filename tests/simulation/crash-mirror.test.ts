import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { crashStates } from "../support/crash/crash-states.ts";
import { mirrorFaults } from "../support/crash/mirror-check.ts";
import { MirrorStage } from "../support/crash/mirror-recording.ts";
import { mirrorRecoveryFaults, putOnDisk } from "../support/crash/mirror-recovery.ts";
import { planted, renamedBeforeSync, withoutSyncs } from "../support/crash/plants.ts";
import type { Recording } from "../support/crash/recording.ts";
import { type FaultsOf, SEED, firstViolation, sampled, searchStates } from "../support/crash/search.ts";
import { Violation } from "../support/simulation/violation.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { canCount } from "../support/system-calls.ts";
import type { TempFolder } from "../support/temp.ts";

const DURABILITIES = ["strict", "batch", "none"] as const;
type Durability = (typeof DURABILITIES)[number];

const RECOVERIES = 8;
const ROOM_BYTES = 256 * 1024 * 1024;
const BOTH = [0, 1];

describe.skipIf(!canCount)(
  "a mirror, recorded, and crashed at every boundary (skipped without strace)",
  () => {
    let folder: TempFolder;
    let stage: MirrorStage;
    const recordings = new Map<Durability, Recording>();

    beforeAll(async () => {
      folder = ramFolder(ROOM_BYTES);
      stage = await MirrorStage.open(folder);
      for (const durability of DURABILITIES)
        recordings.set(durability, await stage.record(folder.join(durability), durability, BOTH));
    });
    afterAll(async () => {
      await stage[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    });

    const faultsOf =
      (durability: Durability, isAfterPowerFailure = false): FaultsOf =>
      (state, scratch) => {
        const trees = isAfterPowerFailure ? [0] : BOTH;
        return mirrorFaults(state, {
          mirrored: stage.mirrored,
          durability,
          isAfterPowerFailure,
          trees,
          scratch,
        });
      };

    for (const durability of DURABILITIES) {
      test(`--durability ${durability} keeps its promises, killed and without power`, async () => {
        const { count, violation } = await searchStates(recordings.get(durability)!, faultsOf(durability));
        if (violation !== undefined) throw violation;
        expect(count).toBeGreaterThan(1_000);
      });

      test(`--durability ${durability}: the executable completes what ${RECOVERIES} of the crashes left`, async () => {
        const recording = recordings.get(durability)!;
        for (const [index, state] of sampled(recording, RECOVERIES).entries()) {
          const root = folder.join(`recovered-${durability}-${index}`);
          const faults = await mirrorRecoveryFaults(state, stage, durability, root);
          expect({ seed: SEED, kind: state.kind, done: state.done, faults }).toMatchObject({ faults: [] });
        }
      });

      test(`--durability ${durability}: recovering from a power failure can be crashed as well`, async () => {
        const root = folder.join(`again-${durability}`);
        putOnDisk(midOfFirstOrder(recordings.get(durability)!), root);
        const again = await stage.record(root, durability, [0]);
        const { violation } = await searchStates(again, faultsOf(durability, true));
        if (violation !== undefined) throw violation;
      });
    }

    const PLANTS = {
      "contents are not synced before the rename": ["strict", withoutSyncs(/^fsync m\/127.*\.tmp$/)],
      "files are renamed before they are synced": ["strict", renamedBeforeSync],
      "the file system is not synced before the result, though each directory is": [
        "strict",
        withoutSyncs(/^syncfs /),
      ],
      "the file system is not synced before the result": ["batch", withoutSyncs(/^syncfs /)],
      "the mark of unsynced files is not synced": ["batch", withoutSyncs(/sync-state\.json$/)],
      "the mark of unsynced files is not synced, without any other sync": [
        "none",
        withoutSyncs(/sync-state\.json$/),
      ],
      "the journal is not synced before it is written back": ["batch", withoutSyncs(/journal\.db/)],
    } as const;
    for (const [bug, [durability, plant]] of Object.entries(PLANTS)) {
      test(`it bites: ${bug}`, async () => {
        const recording = planted(recordings.get(durability)!, plant);
        const violation = await firstViolation(recording, faultsOf(durability));
        expect(violation).toBeInstanceOf(Violation);
      });
    }
  },
);

function midOfFirstOrder(recording: Recording) {
  const states = [...crashStates(recording, { seed: SEED, states: 1 })].filter(
    ({ kind, said, entries }) =>
      kind === "power" &&
      said.length === 0 &&
      [...entries.keys()].some((path) => path.includes(".dray-part")),
  );
  const state = states[Math.floor(states.length / 2)];
  if (state === undefined) throw new Error("no power failure has left the part of a file");
  return state;
}
