import { readFileSync } from "node:fs";

/** Of `/proc/stat`, whatever the machine is set to: USER_HZ. */
const TICKS_PER_SECOND = 100;

/**
 * Processor time of the whole machine since its start, in seconds: that of all processes, and what the system does on
 * behalf of none of them (packets, writing back). Linux only.
 */
export function machineCpuSeconds(): number {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
