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

/** How fast one core of this machine hashes what is in memory: the limit of whoever verifies. */
export function hashRates(): string[] {
  const block = new Uint8Array(1024 ** 2).fill(7);
  const rate = (kind: "sha256" | "md5"): string => {
    const hash = new Bun.CryptoHasher(kind);
    const startedMs = performance.now();
    for (let mib = 0; mib < 1024; mib++) hash.update(block);
    hash.digest();
    return (1000 / (performance.now() - startedMs)).toFixed(2);
  };
  return [`- one core hashes ${rate("sha256")} GiB/s with SHA-256, ${rate("md5")} GiB/s with MD5`];
}
