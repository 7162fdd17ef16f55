import { ProcessDied } from "../simulated-tree.ts";
import { CALM, type Story, type Surroundings, describeStep } from "./story.ts";
import { Violation } from "./violation.ts";
import type { Plant } from "./plants.ts";
import { World } from "./world.ts";

export interface Failure {
  readonly story: Story;
  readonly error: Error;
}

/** @returns what went wrong; undefined when every promise was kept */
export async function failureOf(story: Story, plant: Plant = {}): Promise<Failure | undefined> {
  const rejections: unknown[] = [];
  const rejected = (error: unknown): void => {
    // What a dead process had under way is nobody's concern.
    if (!(error instanceof ProcessDied)) rejections.push(error);
  };
  process.on("unhandledRejection", rejected);
  const takeBack = plant.install?.();
  try {
    new World(story, plant).run();
    await new Promise((resolve) => setImmediate(resolve));
    if (rejections.length === 0) return undefined;
    return { story, error: new Violation("no error is lost", `nobody handled ${String(rejections[0])}`) };
  } catch (error) {
    await new Promise((resolve) => setImmediate(resolve));
    return { story, error: error as Error };
  } finally {
    takeBack?.();
    process.off("unhandledRejection", rejected);
  }
}

/** A shorter story with the same kind of end. @param tries worlds at most */
export async function shrink(failure: Failure, plant: Plant = {}, tries = 400): Promise<Failure> {
  let best = failure;
  let left = tries;
  const isWorse = async (story: Story): Promise<boolean> => {
    if (left-- <= 0) return false;
    const found = await failureOf(story, plant);
    if (found === undefined || kindOf(found.error) !== kindOf(failure.error)) return false;
    best = found;
    return true;
  };
  for (let before = ""; before !== JSON.stringify(best.story) && left > 0;) {
    before = JSON.stringify(best.story);
    for (
      let size = Math.ceil(best.story.steps.length / 2);
      size >= 1;
      size = size === 1 ? 0 : Math.ceil(size / 2)
    ) {
      for (let at = best.story.steps.length - size; at >= 0; at--) {
        const { steps } = best.story;
        if (at + size <= steps.length)
          await isWorse({ ...best.story, steps: [...steps.slice(0, at), ...steps.slice(at + size)] });
      }
    }
    for (const key of Object.keys(CALM) as (keyof Surroundings)[]) {
      if (JSON.stringify(best.story.around[key]) !== JSON.stringify(CALM[key]))
        await isWorse({ ...best.story, around: { ...best.story.around, [key]: CALM[key] } });
    }
    if (best.story.hasLiteral) await isWorse({ ...best.story, hasLiteral: false });
    while (best.story.clients > 1 && (await isWorse(withoutLastClient(best.story))));
    for (const [index, step] of best.story.steps.entries()) {
      for (const after of [0, 10, 100, 1_000]) {
        if (after >= step.after) break;
        if (await isWorse(withStep(best.story, index, { ...step, after }))) break;
      }
    }
  }
  return best;
}

function withStep(story: Story, index: number, step: Story["steps"][number]): Story {
  return { ...story, steps: story.steps.map((other, at) => (at === index ? step : other)) };
}

/** Without the last of ours; the literal client's number moves. */
function withoutLastClient(story: Story): Story {
  const last = story.clients;
  const steps = story.steps
    .filter(({ on }) => on !== last)
    .map((step) => (step.on > last ? { ...step, on: step.on - 1 } : step));
  return { ...story, clients: last - 1, steps };
}

function kindOf(error: Error): string {
  return error instanceof Violation ? error.promise : error.name;
}

/** A story and its end, for people. */
export function describeFailure({ story, error }: Failure): string {
  const machines = `one server, ${story.clients} clients${story.hasLiteral ? ", one literal client" : ""}`;
  const lines = story.steps.map((step) => `  ${describeStep(story, step)}`);
  const around = (Object.keys(CALM) as (keyof Surroundings)[])
    .filter((key) => JSON.stringify(story.around[key]) !== JSON.stringify(CALM[key]))
    .map((key) => `, ${key} ${JSON.stringify(story.around[key])}`);
  return [
    `World ${story.seed} (${machines}${around.join("")}):`,
    ...lines,
    error instanceof Violation ? `  Broken: ${error.message}` : `  ${error.stack}`,
  ].join("\n");
}
