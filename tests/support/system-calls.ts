import { readFileSync } from "node:fs";
import { startProgram } from "./process.ts";
import { tempFolder } from "./temp.ts";

/** Those that do a program's work. How often threads wait for one another depends on the machine's mood. */
const WORK =
  "openat,read,pread64,write,pwrite64,writev,pwritev,close,stat,fstat,lstat,newfstatat,statx,readlink,readlinkat,getdents64,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,utimensat,fchmod,ftruncate,fsync,fdatasync,sendto,sendmsg,recvfrom,recvmsg";

/** Whether system calls can be counted here. */
export const canCount = ((): boolean => {
  if (Bun.which("strace") === null) return false;
  return Bun.spawnSync(["strace", "-qq", "-o", "/dev/null", "true"], { stderr: "ignore" }).exitCode === 0;
})();

/** How often each call was made by a process, all its threads included, while `work` ran. */
export async function countCalls(pid: number, work: () => Promise<unknown>): Promise<Map<string, number>> {
  using folder = tempFolder();
  const path = folder.join("calls");
  const command = [
    "strace",
    "-f",
    "-c",
    `--trace=${WORK}`,
    "-U",
    "calls,name",
    "-o",
    path,
    "-p",
    String(pid),
  ];
  await using counter = startProgram(command);
  await counter.stderrMatch(/attached/);
  await work();
  counter.kill("SIGINT");
  await counter.exit;
  const calls = new Map<string, number>();
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [, count, name] = /^\s*(\d+)\s+(\w+)$/.exec(line) ?? [];
    if (count !== undefined && name !== undefined && name !== "total") calls.set(name, Number(count));
  }
  return calls;
}
