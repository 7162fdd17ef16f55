import { readFileSync, statfsSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { execFileSync } from "node:child_process";

/** What the numbers were measured on, in Markdown. Names no path and no host. */
export function describeMachine(folder: string): string[] {
  const [cpu] = cpus();
  const { blocks, bsize } = statfsSync(folder);
  const fileSystem = execFileSync("stat", ["-f", "-c", "%T", folder], { encoding: "utf8" }).trim();
  return [
    `- ${cpus().length} x ${cpu?.model.trim() ?? "unknown processor"}, ${gib(totalmem())} of memory`,
    `- ${type()} ${release()}, ${distribution()}`,
    `- file system: ${fileSystem}, ${gib(blocks * bsize)}`,
  ];
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(0)} GiB`;
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown";
  } catch {
    return "unknown distribution";
  }
}
