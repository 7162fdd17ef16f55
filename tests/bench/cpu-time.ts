import { readFileSync } from "node:fs";

/** USER_HZ: the same on every Linux, whatever its kernel counts in. */
const TICKS_PER_SECOND = 100;

/** What a process has used so far, on all its threads, in seconds. Linux only. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/**
 * Runs a program to its end, and holds up everything else meanwhile.
 * @returns the CPU seconds that it used
 * @throws Error when it fails
 */
export function cpuSecondsOf(command: string[]): number {
  const { exitCode, resourceUsage, stderr } = Bun.spawnSync(command, { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stderr.toString()}`);
  return Number(resourceUsage.cpuTime.total) / 1e6;
}

/**
 * Processor time of the whole machine since its start, in seconds: that of all processes, and what the system does on
 * behalf of none of them (packets, writing back). Linux only.
 */
export function machineCpuSeconds(): number {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
