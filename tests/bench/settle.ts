import { mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { freemem } from "node:os";
import { run } from "./contender.ts";
import type { BenchData } from "./data.ts";

const MIB = 1024 ** 2;
const SPARE_BYTES = 512 * MIB;

/**
 * Brings the machine into the same state before every run, so that nobody pays for what the one before has left behind:
 * nothing waits to be written, and free memory has been used before. A virtual machine gets it from its host page by page,
 * which cost up to 3 s for 2 GiB.
 * @param bytes that are copied in the run
 */
export async function settle(bytes: number): Promise<void> {
  await run(["sync"]);
  await warmMemory(Math.min(bytes * 1.5 + SPARE_BYTES, freemem() / 2));
}

/**
 * Puts a copy out of the way of the next one.
 *
 * - A large file goes at once: the copies of all contenders would fill the memory with what nobody reads again, and whoever
 *   comes next would pay for the search for free pages (1.5 s became 2.8 s).
 * - Many files are renamed, never deleted: for minutes, ext4 looks at every inode that was just deleted before it takes
 *   another one, which made each copy of 10,000 files 3 s slower, whoever made it.
 */
export function clearAway(data: BenchData, copy: string, round: number): void {
  if (data.files === 1) rmSync(copy, { recursive: true });
  else renameSync(copy, `${copy}-${round}`);
}

/** Has the system forget what it knows of the source's contents: they come from the disk then. */
export async function leavePageCache({ path }: BenchData): Promise<void> {
  for (const name of readdirSync(path)) {
    await run(["dd", `if=${path}/${name}`, "iflag=nocache", "count=0", "status=none"]);
  }
}

/** In a process of its own, which gives it back when it ends. */
async function warmMemory(bytes: number): Promise<void> {
  const script = `for (let i = 0, all = []; i < ${Math.ceil(bytes / MIB)}; i++) all.push(new Uint8Array(${MIB}).fill(1));`;
  await run([process.execPath, "--eval", script]);
}

/**
 * A new directory. ext4 puts what is made in it far from everything else (by its name, hence the random
 * end), as it does at the root of a file system: away from the inodes that others have just deleted.
 */
export function newFolder(parent: string, name: string): string {
  const folder = mkdtempSync(`${parent}/${name}-`);
  // Elsewhere than on ext4 this fails and is not needed.
  if (Bun.which("chattr") !== null) Bun.spawnSync(["chattr", "+T", folder], { stderr: "ignore" });
  return folder;
}
