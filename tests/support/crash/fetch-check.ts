import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ContainedRoot } from "../../../src/disk/contained-root.ts";
import { PartFile } from "../../../src/fetch/part-file.ts";
import { partNames } from "../../../src/fetch/part-names.ts";
import type { CrashState } from "./crash-states.ts";
import { materialise } from "./disk-entries.ts";
import type { FetchStage } from "./fetch-recording.ts";

/**
 * What is wrong with a disk after a fetch was ended by a crash: by what a reader sees, and by what another
 * fetch would believe, which goes on with the part by its own code.
 * @param scratch an empty directory; what is left in it is the caller's
 */
export async function fetchFaults(state: CrashState, stage: FetchStage, scratch: string): Promise<string[]> {
  return [...visibleFaults(state, stage), ...(await believedFaults(state, stage, scratch))];
}

function visibleFaults({ entries, said }: CrashState, { savedAs, wanted, older }: FetchStage): string[] {
  const faults: string[] = [];
  const visible = entries.get(savedAs)?.bytes;
  const isNew = visible !== undefined && Buffer.compare(visible, wanted) === 0;
  const isOld = visible !== undefined && Buffer.compare(visible, older) === 0;
  if (visible === undefined) faults.push("there is no file any more, neither the old nor the new one");
  else if (!isNew && !isOld) faults.push("the file that is visible is neither the old nor the new one");
  const isKept = [...entries].some(
    ([path, { bytes }]) => path.startsWith(`${savedAs}.~`) && Buffer.compare(bytes, older) === 0,
  );
  if (!isOld && !isKept) faults.push("the older file is not kept");
  if (said.length > 0 && !isNew) faults.push("the fetch has said that the file is there, and it is not");
  return faults;
}

async function believedFaults(
  { entries, kind }: CrashState,
  stage: FetchStage,
  scratch: string,
): Promise<string[]> {
  materialise(entries, scratch);
  const saved = join(scratch, stage.savedAs);
  const names = partNames(basename(saved));
  const root = new ContainedRoot(dirname(saved));
  using directory = root.hold([]);
  try {
    const part =
      stage.kind === "one server"
        ? await PartFile.open(directory, names, stage.version)
        : PartFile.salvage(directory, names, stage.version);
    const bytes = readFileSync(part.path);
    await part.park();
    // A power failure may take the journal, a kill may not.
    if (kind === "kill" && part.startedOver !== undefined)
      return [`a fetch starts over: ${part.startedOver}`];
    return part.resumed
      .filter(({ offset, lengthBytes }) => {
        const [has, wanted] = [bytes, stage.wanted].map((from) =>
          from.subarray(offset, offset + lengthBytes),
        );
        return Buffer.compare(has!, wanted!) !== 0;
      })
      .map(({ offset }) => `the piece at ${offset} counts as there, and is not`);
  } catch (error) {
    return [`a fetch does not go on: ${String(error)}`];
  } finally {
    root.close();
  }
}
