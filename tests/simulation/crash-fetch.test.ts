import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { materialise } from "../support/crash/disk-entries.ts";
import { fetchFaults } from "../support/crash/fetch-check.ts";
import { FetchStage } from "../support/crash/fetch-recording.ts";
import {
  type Plant,
  planted,
  renamedBeforeSync,
  withoutSyncs,
  syncedAfterNextWrite,
} from "../support/crash/plants.ts";
import type { Recording } from "../support/crash/recording.ts";
import { type FaultsOf, SEED, firstViolation, sampled, searchStates } from "../support/crash/search.ts";
import { Violation } from "../support/simulation/violation.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { canCount } from "../support/system-calls.ts";
import type { TempFolder } from "../support/temp.ts";

const KINDS = ["one server", "two servers"] as const;
const RECOVERIES = 12;
const ROOM_BYTES = 256 * 1024 * 1024;

describe.skipIf(!canCount)(
  "a fetch, recorded, and crashed at every boundary (skipped without strace)",
  () => {
    let folder: TempFolder;
    const stages = new Map<string, FetchStage>();
    const recordings = new Map<string, Recording>();

    beforeAll(async () => {
      folder = ramFolder(ROOM_BYTES);
      for (const kind of KINDS) stages.set(kind, await FetchStage.open(folder, kind));
      // They wait for a slow network most of the time.
      await Promise.all([...stages].map(async ([kind, stage]) => recordings.set(kind, await stage.record())));
    });
    afterAll(async () => {
      for (const stage of stages.values()) await stage[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    });

    const faultsOf =
      (kind: string): FaultsOf =>
      (state, scratch) =>
        fetchFaults(state, stages.get(kind)!, scratch);

    for (const kind of KINDS) {
      test(`from ${kind}, it keeps its promises, killed and without power`, async () => {
        const { count, violation } = await searchStates(recordings.get(kind)!, faultsOf(kind));
        if (violation !== undefined) throw violation;
        expect(count).toBeGreaterThan(1_000);
      });

      test(`from ${kind}, the same command completes what ${RECOVERIES} of the crashes left`, async () => {
        const stage = stages.get(kind)!;
        for (const [index, state] of sampled(recordings.get(kind)!, RECOVERIES).entries()) {
          const root = folder.join(`recovered ${kind} ${index}`);
          materialise(state.entries, root);
          const { code, stderr } = await stage.again(root);
          const saved = join(root, stage.savedAs);
          const told = { seed: SEED, kind: state.kind, done: state.done, stderr };
          expect({ ...told, code }).toMatchObject({ code: 0 });
          expect(readFileSync(saved).equals(stage.wanted)).toBe(true);
          expect({ ...told, names: readdirSync(dirname(saved)).sort() }).toMatchObject({
            names: ["file", "file.~1~"],
          });
        }
      });
    }

    const PLANTS: Record<string, Plant> = {
      "contents are not synced": withoutSyncs(/\.part$/),
      "names are not synced": withoutSyncs(/^fsync saved$/),
      "the journal marks pieces before they are synced": syncedAfterNextWrite(/^fdatasync .*\.part$/),
      "the file is renamed before it is synced": renamedBeforeSync,
    };
    for (const [bug, plant] of Object.entries(PLANTS)) {
      test(`it bites: ${bug}`, async () => {
        const recording = planted(recordings.get("one server")!, plant);
        const violation = await firstViolation(recording, faultsOf("one server"));
        expect(violation).toBeInstanceOf(Violation);
      });
    }
  },
);
