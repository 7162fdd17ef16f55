import { test } from "bun:test";
import { REGRESSIONS } from "../support/simulation/regressions.ts";
import { describeFailure, failureOf } from "../support/simulation/shrink.ts";

for (const { bug, foundBy, story } of REGRESSIONS) {
  test(`world ${foundBy}: ${bug}`, async () => {
    const failure = await failureOf(story);
    if (failure !== undefined) throw new Error(describeFailure(failure));
  });
}
