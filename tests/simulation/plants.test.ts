import { expect, test } from "bun:test";
import { PLANTS } from "../support/simulation/plants.ts";
import { failureOf } from "../support/simulation/shrink.ts";
import { storyOf } from "../support/simulation/story.ts";
import { Violation } from "../support/simulation/violation.ts";

/** Worlds that are tried: the same ones that have to keep every promise without the bug. */
const WORLDS = 2_000;

/** For each planted bug a world that is known to show it, to be tried first. */
const KNOWN: Readonly<Record<string, number>> = {
  "no re-enqueue after a commit that came while the file was being delivered": 18,
  "echoes are told by time: what changes within a second after a delivery is taken for it": 15,
  "no fsync before the rename": 29,
  "no fsync of directories": 29,
  "a delete is carried out on the server whatever it holds": 84,
  "a delete of the server is carried out on the client whatever it holds": 31,
  "locks are kept when their connection ends": 49,
  "queues hold contents instead of names": 271,
  "a conflict copy takes the place of an older one": 159,
  "the list is taken before the client is registered": 168,
  "a damaged chunk is not cut off again": 740,
  "who sends a file counts as having it, whatever came to it meanwhile": 2174,
  "what a crash left in staging stays": 19,
  "nothing is kept among the versions": 4,
  "deletes are forgotten when the server restarts": 81,
};

for (const [bug, plant] of Object.entries(PLANTS)) {
  test(`it bites: ${bug}`, async () => {
    const seeds = [KNOWN[bug] ?? 1, ...Array.from({ length: WORLDS }, (_, index) => index + 1)];
    for (const seed of seeds) {
      const failure = await failureOf(storyOf(seed), plant);
      if (failure === undefined) continue;
      expect(failure.error).toBeInstanceOf(Violation);
      // It is the bug that is caught, and nothing else that is wrong with this world.
      expect(await failureOf(storyOf(seed))).toBeUndefined();
      return;
    }
    throw new Error(`none of ${WORLDS} worlds has noticed it`);
  });
}
