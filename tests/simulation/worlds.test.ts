import { expect, test } from "bun:test";
import { describeFailure, failureOf, shrink } from "../support/simulation/shrink.ts";
import { storyOf } from "../support/simulation/story.ts";
import { World } from "../support/simulation/world.ts";

const WORLDS = Number(process.env["DRAY_TEST_WORLDS"] ?? 2_000);
/** Worlds of one test, so that a failure comes before all have been lived through. */
const BATCH = 250;

for (let first = 1; first <= WORLDS; first += BATCH) {
  const last = Math.min(WORLDS, first + BATCH - 1);
  test(`worlds ${first} to ${last} keep every promise`, async () => {
    for (let seed = first; seed <= last; seed++) {
      const failure = await failureOf(storyOf(seed));
      if (failure !== undefined)
        throw new Error(
          `${describeFailure(await shrink(failure))}\n  Replay: SIM_SEED=${seed} npm run simulate`,
        );
    }
  });
}

test("a world is the same each time: every byte, every event, every moment", () => {
  const lives = [1, 2].map(() => {
    const world = new World(storyOf(11), {}, true);
    world.run();
    return world.log;
  });
  expect(lives[0]!.length).toBeGreaterThan(100);
  expect(lives[1]).toEqual(lives[0]);
});

test("stories have all kinds of steps", () => {
  const kinds = new Set<string>(
    Array.from({ length: 300 }, (_, seed) => storyOf(seed).steps.map((step) => step.do)).flat(),
  );
  expect([...kinds].sort()).toEqual([
    ...[
      "append",
      "atomic-save",
      "away",
      "backup-save",
      "clock",
      "cut",
      "delete",
      "deny",
      "flip",
      "full",
      "half-close",
      "kill",
    ],
    ...[
      "mount",
      "power",
      "quiesce",
      "rename",
      "stall",
      "start",
      "stealth",
      "stop",
      "unmount",
      "unmount-empty",
      "watcher",
      "write",
    ],
  ]);
});
