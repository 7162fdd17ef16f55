import * as fs from "node:fs";

/** Names this boot of the machine: what was written in another one and not synced may be gone, or half there. */
export function currentBootId(): string {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown"; // no such file outside of Linux
  }
}
