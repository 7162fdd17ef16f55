import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { materialise } from "../support/crash/disk-entries.ts";
import { type Plant, planted, renamedBeforeSync, withoutSyncs } from "../support/crash/plants.ts";
import { putFaults, visibleFiles } from "../support/crash/put-check.ts";
import { PutStage } from "../support/crash/put-recording.ts";
import type { Recording } from "../support/crash/recording.ts";
import { SEED, firstViolation, sampled, searchStates } from "../support/crash/search.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { Violation } from "../support/simulation/violation.ts";
import { canCount } from "../support/system-calls.ts";
import type { TempFolder } from "../support/temp.ts";

const RECOVERIES = 16;
const ROOM_BYTES = 256 * 1024 * 1024;

describe.skipIf(!canCount)(
  "a file server, recorded, and crashed at every boundary (skipped without strace)",
  () => {
    let folder: TempFolder;
    let stage: PutStage;
    let recording: Recording;

    beforeAll(async () => {
      folder = ramFolder(ROOM_BYTES);
      stage = new PutStage(folder);
      recording = await stage.record();
    });
    afterAll(() => folder[Symbol.dispose]());

    test("keeps its promises, killed and without power", async () => {
      const { count, violation } = await searchStates(recording, putFaults);
      if (violation !== undefined) throw violation;
      expect(count).toBeGreaterThan(1_000);
    });

    test(`the executable goes on with what ${RECOVERIES} of the crashes left`, async () => {
      for (const [index, state] of sampled(recording, RECOVERIES).entries()) {
        const root = folder.join(`recovered-${index}`);
        materialise(state.entries, root);
        const faults = await stage.recover(root, [...visibleFiles(state).keys()], state.kind === "power");
        expect({ seed: SEED, kind: state.kind, done: state.done, faults }).toMatchObject({ faults: [] });
      }
    });

    const PLANTS: Record<string, Plant> = {
      "contents are not synced": withoutSyncs(/\.dray\/uploads/),
      "files are renamed before they are synced": renamedBeforeSync,
      "directories are not synced": withoutSyncs(/^fsync served(\/[abc/]*)?$/),
      "the record of owners is not synced": withoutSyncs(/owners\.db/),
    };
    for (const [bug, plant] of Object.entries(PLANTS)) {
      test(`it bites: ${bug}`, async () => {
        expect(await firstViolation(planted(recording, plant), putFaults)).toBeInstanceOf(Violation);
      });
    }
  },
);
