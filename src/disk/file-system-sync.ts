import { DrayError } from "../errors/dray-error.ts";

/** Whether a whole file system can be synced at once here; otherwise files have to be synced one by one. */
export const CAN_SYNC_FILE_SYSTEM = process.platform === "linux";

/**
 * Makes durable whatever was written to the file system that a directory is on: after many small files a
 * tenth of what one sync each takes. syncfs(2) has no other way in from here than coreutils' `sync -f`.
 * @throws DrayError "storage"
 */
export async function syncFileSystem(directory: string): Promise<void> {
  let problem: string;
  try {
    const sync = Bun.spawn(["sync", "-f", directory], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    const [exitCode, stderr] = await Promise.all([sync.exited, new Response(sync.stderr).text()]);
    if (exitCode === 0) return;
    problem = stderr.trim() || `sync exited with ${exitCode}`;
  } catch (error) {
    problem = String(error);
  }
  throw new DrayError("storage", `the files could not be made durable: ${problem}`);
}
