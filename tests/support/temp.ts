import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TempFolder extends Disposable {
  readonly path: string;
  /** A path inside the folder. */
  join(...parts: string[]): string;
}

/** A new, empty folder that is removed with all it holds when disposed of (`using folder = tempFolder()`). */
export function tempFolder(): TempFolder {
  const path = mkdtempSync(join(tmpdir(), "dray-test-"));
  return {
    path,
    join: (...parts) => join(path, ...parts),
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/**
 * A folder on a file system of its own that holds `sizeBytes` and no more, for tests of a full disk.
 * `undefined` where mounting is not permitted (not root, no such file system).
 */
export function smallFileSystem(sizeBytes: number): TempFolder | undefined {
  const folder = tempFolder();
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "tmpfs", folder.path]);
  if (mounted.status !== 0) {
    folder[Symbol.dispose]();
    return undefined;
  }
  return {
    ...folder,
    [Symbol.dispose]() {
      // Lazily, so that a process that is still on its way out cannot keep the folder.
      const unmounted = spawnSync("umount", ["--lazy", folder.path], { encoding: "utf8" });
      if (unmounted.status !== 0) throw new Error(`Cannot unmount ${folder.path}: ${unmounted.stderr}`);
      folder[Symbol.dispose]();
    },
  };
}
