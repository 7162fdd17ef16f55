/**
 * `npm run simulate`: `SIM_SEED=n` lives through one world and prints its story (with SIM_TRACE=1, everything that was said and told);
 * `-- --minutes 30` searches for that long, `-- --worlds 100000` through so many, both from a new first seed or `--from n`.
 */
import { parseArgs } from "node:util";
import { describeFailure, failureOf, shrink } from "../support/simulation/shrink.ts";
import { describeStep, storyOf } from "../support/simulation/story.ts";
import { PLANTS } from "../support/simulation/plants.ts";
import { World } from "../support/simulation/world.ts";

const { values } = parseArgs({
  options: {
    worlds: { type: "string" },
    minutes: { type: "string" },
    from: { type: "string" },
    /** One of the planted bugs, to see its stories. */
    plant: { type: "string" },
  },
});
const plant = values.plant === undefined ? {} : PLANTS[values.plant];
if (plant === undefined) throw new Error(`the planted bugs are: ${Object.keys(PLANTS).join("; ")}`);
const { SIM_SEED, SIM_TRACE } = process.env;
if (SIM_SEED !== undefined) await replay(Number(SIM_SEED));
else await search();

async function replay(seed: number): Promise<void> {
  const story = storyOf(seed);
  const failure = await failureOf(story, plant);
  if (failure === undefined) {
    for (const step of story.steps) console.log(`  ${describeStep(story, step)}`);
    return console.log(`World ${seed}: every promise was kept.`);
  }
  console.log(`World ${seed} broke: ${failure.error.message}\nThe shortest story like it:`);
  const shortest = await shrink(failure, plant);
  console.log(describeFailure(shortest));
  console.log(`For the list of regressions: ${JSON.stringify(shortest.story)}`);
  if (SIM_TRACE !== undefined) trace(shortest.story);
  process.exitCode = 1;
}

function trace(story: Parameters<typeof describeStep>[0]): void {
  const takeBack = plant?.install?.();
  const world = new World(story, plant, true);
  try {
    world.run();
  } catch (error) {
    world.log.push(String(error));
  } finally {
    takeBack?.();
  }
  console.log(world.log.join("\n"));
}

async function search(): Promise<void> {
  const first = Number(values.from ?? Math.floor(Math.random() * 2 ** 30));
  const endMs = values.minutes === undefined ? Infinity : Date.now() + Number(values.minutes) * 60_000;
  const worlds =
    values.worlds === undefined ? (values.minutes === undefined ? 2_000 : Infinity) : Number(values.worlds);
  const startMs = Date.now();
  let lived = 0;
  let broken = 0;
  for (; lived < worlds && Date.now() < endMs; lived++) {
    const failure = await failureOf(storyOf(first + lived), plant);
    if (failure !== undefined) {
      broken++;
      process.exitCode = 1;
      console.log(`${describeFailure(await shrink(failure, plant))}\n`);
    }
    if (lived % 1_000 === 999) console.error(`${lived + 1} worlds from seed ${first}, ${broken} broken`);
  }
  const minutes = (Date.now() - startMs) / 60_000;
  console.log(
    `${lived} worlds from seed ${first}, ${broken} broken, ${Math.round(lived / minutes)} a minute`,
  );
}
