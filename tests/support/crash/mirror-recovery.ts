import { join } from "node:path";
import { isTempName } from "../../../src/disk/publication.ts";
import { diffTrees } from "../diff.ts";
import { namesBelow } from "../files-below.ts";
import { MirrorOrders, resultOf } from "../mirror-orders.ts";
import { startDray } from "../process.ts";
import type { CrashState } from "./crash-states.ts";
import { materialise } from "./disk-entries.ts";
import { SYNC_STATE } from "./mirror-check.ts";
import { pretendToHaveBooted } from "./other-boot.ts";
import type { MirrorStage } from "./mirror-recording.ts";

/** Puts a state onto a real disk; after a power failure, for another boot. */
export function putOnDisk(state: CrashState, root: string): void {
  materialise(state.entries, root);
  if (state.kind === "power") pretendToHaveBooted(join(root, SYNC_STATE));
}

/**
 * Starts the compiled mirror on what a crash has left.
 * @returns what is wrong: an order that does not come to its end by itself, a difference to the source, leftovers
 */
export async function mirrorRecoveryFaults(
  state: CrashState,
  stage: MirrorStage,
  durability: string,
  root: string,
): Promise<string[]> {
  putOnDisk(state, root);
  const tree = Math.min(state.said.length, 1);
  stage.show(tree);
  const directory = join(root, "m");
  const mirrored = join(root, stage.mirrored);
  const faults: string[] = [];
  await using mirror = startDray(stage.mirrorFlags(directory, durability));
  const orders = new MirrorOrders(await mirror.listening());
  for (const { orderId, state: has } of await orders.list()) {
    if (has !== "running") continue;
    const followed = await orders.ask(["--follow", orderId, "--json"]);
    if (followed.code !== 0)
      faults.push(`the order that was running ends with ${followed.code}: ${followed.stderr}`);
    faults.push(
      ...(await diffTrees(stage.sourceDirectory, mirrored)).map((line) => `after the order: ${line}`),
    );
  }
  const again = await orders.ask(stage.orderFlags(tree));
  if (again.code !== 0) faults.push(`the order given again ends with ${again.code}: ${again.stderr}`);
  else if (resultOf(again).failed > 0) faults.push("the order given again has failures");
  faults.push(...(await diffTrees(stage.sourceDirectory, mirrored)));
  const { code } = await mirror.stop();
  if (code !== 0) faults.push(`the mirror ends with ${code}`);
  const left = namesBelow(directory).filter((name) => isTempName(name.slice(name.lastIndexOf("/") + 1)));
  if (left.length > 0) faults.push(`left over: ${left.join(", ")}`);
  if (/damaged|error/.test(mirror.stderrText())) faults.push(mirror.stderrText());
  return faults;
}
