import { statSync } from "node:fs";
import type { Manifest } from "../../src/wire/manifest.ts";
import type { PartServers } from "./part-servers.ts";
import type { Program } from "./program.ts";
import type { Random } from "./random.ts";

/** The files of the seed's demo, in bytes. */
export const SEED_SIZES = [294_716_309, 518_895_817, 975_886_892] as const;

/** Between two looks at how far fetches have come. */
const LOOK_INTERVAL_MS = 2;

/**
 * Which processes can be killed, one after the other, so that each part keeps one living copy at least. In the
 * end none of those that are left could be killed, too.
 */
export function killPlan(servers: PartServers, manifests: readonly Manifest[], random: Random): number[] {
  const processes = [...new Set(servers.ports.map((port) => servers.processOf(port)))];
  for (let left = processes.length; left > 1; left--) {
    const picked = random.integer(0, left - 1);
    [processes[left - 1], processes[picked]] = [processes[picked]!, processes[left - 1]!];
  }
  const dead = new Set<number>();
  for (const process of processes) {
    dead.add(process);
    const isLost = partsOf(servers, manifests).some(({ holders }) =>
      holders.every((holder) => dead.has(holder)),
    );
    if (isLost) dead.delete(process);
  }
  return [...dead];
}

/** Every part of these files with the processes that have a copy of it. */
export function partsOf(
  servers: PartServers,
  manifests: readonly Manifest[],
): { file: number; part: number; sizeBytes: number; holders: number[] }[] {
  return manifests.flatMap((manifest, file) =>
    manifest.parts.map(({ sizeBytes }, part) => ({
      file,
      part,
      sizeBytes,
      holders: [...new Set(servers.holders(manifest, part).map((port) => servers.processOf(port)))],
    })),
  );
}

/** A fetch that runs, and the file that it is to make. */
export interface RunningFetch {
  program: Program;
  path: string;
}

/**
 * Kills processes while fetches run, spread over the time in which the bytes come, the last one when about
 * `share` of all is there.
 * @param sizeBytes of all files that are fetched
 * @returns how many fetches still ran when the last one was killed
 */
export async function killWhileFetching(
  servers: PartServers,
  plan: readonly number[],
  fetches: readonly RunningFetch[],
  sizeBytes: number,
  share: number,
  killed: (process: number) => void = () => {},
): Promise<number> {
  const ended = new Set<RunningFetch>();
  for (const fetch of fetches) void fetch.program.exit.then(() => ended.add(fetch));
  for (const [index, process] of plan.entries()) {
    const limitBytes = (sizeBytes * share * (index + 1)) / plan.length;
    await untilThere(fetches, limitBytes, () => ended.size === fetches.length);
    await servers.kill(process);
    killed(process);
  }
  return fetches.length - ended.size;
}

/** Resolves when so much of the files is on the disk, or `isOver`. */
function untilThere(
  fetches: readonly RunningFetch[],
  limitBytes: number,
  isOver: () => boolean,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    if (!isOver() && fetches.reduce((sum, { path }) => sum + bytesThere(path), 0) < limitBytes) return;
    clearInterval(timer);
    resolve();
  };
  // A file that grows tells nobody: this is the one thing here that has to be looked at again and again.
  const timer = setInterval(look, LOOK_INTERVAL_MS);
  return promise;
}

function bytesThere(path: string): number {
  const whole = statSync(path, { throwIfNoEntry: false });
  if (whole !== undefined) return whole.size;
  return (statSync(`${path}.part`, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}
