import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { tempFolder, type TempFolder } from "./temp.ts";

const RAM_DIRECTORY = "/dev/shm";

/**
 * A temp folder in memory, where syncs cost nothing, if there is one with room for `sizeBytes`;
 * otherwise an ordinary one.
 */
export function ramFolder(sizeBytes: number): TempFolder {
  if (!hasRoom(sizeBytes)) return tempFolder();
  const path = mkdtempSync(join(RAM_DIRECTORY, "dray-test-"));
  return {
    path,
    join: (...parts) => join(path, ...parts),
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

function hasRoom(sizeBytes: number): boolean {
  try {
    const { bavail, bsize } = statfsSync(RAM_DIRECTORY);
    return bavail * bsize > sizeBytes;
  } catch {
    return false;
  }
}
