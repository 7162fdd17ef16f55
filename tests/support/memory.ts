import { readFileSync } from "node:fs";

/** Resident memory of a process right now, in bytes. Linux only; throws when the process is gone. */
export function currentRssBytes(pid: number): number {
  return statusFieldBytes(pid, "VmRSS");
}

/** The most resident memory that a process ever had, in bytes. Linux only; throws when the process is gone. */
export function peakRssBytes(pid: number): number {
  return statusFieldBytes(pid, "VmHWM");
}

function statusFieldBytes(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1];
  if (kib === undefined) throw new Error(`Process ${pid} has no ${field}: it has ended`);
  return Number(kib) * 1024;
}
