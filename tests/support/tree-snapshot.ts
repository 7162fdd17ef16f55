import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface SnapshotOptions {
  /** Whether modification times and permissions count, those of directories included. */
  metadata?: boolean;
  /** Names directly below the root that are left out. */
  except?: readonly string[];
}

/**
 * All that is below a directory, in one comparable object: paths with what is there ("directory", a
 * link's target, a file's contents as a digest). Empty if the directory is not there.
 */
export function snapshotOf(root: string, options: SnapshotOptions = {}): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (prefix: string): void => {
    for (const name of namesIn(`${root}/${prefix}`)) {
      const path = prefix + name;
      if (prefix === "" && options.except?.includes(name) === true) continue;
      found[path] = describe(`${root}/${path}`, options.metadata === true);
      if (found[path].startsWith("directory")) visit(`${path}/`);
    }
  };
  visit("");
  return found;
}

/** Paths of what is no directory, in order. */
export function leavesOf(snapshot: Record<string, string>): string[] {
  return Object.keys(snapshot).filter((path) => !snapshot[path]!.startsWith("directory"));
}

function describe(at: string, withMetadata: boolean): string {
  const stats = lstatSync(at, { bigint: true });
  const metadata = withMetadata ? ` ${stats.mtimeNs} ${(stats.mode & 0o7777n).toString(8)}` : "";
  if (stats.isDirectory()) return `directory${metadata}`;
  if (stats.isSymbolicLink()) return `link to ${readlinkSync(at)}`;
  if (!stats.isFile()) return "special";
  const bytes = readFileSync(at);
  return `file of ${bytes.length} bytes, ${Bun.hash.xxHash3(bytes).toString(16)}${metadata}`;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
