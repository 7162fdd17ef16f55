import { formatBytes } from "./units.ts";

/** An earlier content of a file, as `--history` tells it. */
export interface ListedVersion {
  readonly id: string;
  readonly atMs: number;
  readonly reason: string;
  readonly sizeBytes: number;
  readonly md5: string | undefined;
}

/** The lines of `sync-client --history` for people, the newest first, each without its line end. */
export function syncClientVersionLines(versions: readonly ListedVersion[]): string[] {
  return versions.map(({ id, atMs, reason, sizeBytes }) => {
    const when = new Date(atMs).toISOString().slice(0, 19).replace("T", " ");
    return `${id}  ${when} UTC  ${reason.padEnd(8)}  ${formatBytes(sizeBytes)}`;
  });
}
