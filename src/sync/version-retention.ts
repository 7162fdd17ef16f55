/** What decides how long a version is kept. */
export interface KeptVersion {
  /** Whose version it is: versions of the same file have the same key. */
  readonly file: string;
  readonly atMs: number;
  readonly sizeBytes: number;
}

export interface VersionLimits {
  readonly maxAgeMs: number;
  /** Of one file. */
  readonly maxCount: number;
  /** Of all files together; the oldest go first. */
  readonly maxBytes: number;
}

export const VERSION_DEFAULTS: VersionLimits = {
  maxAgeMs: 30 * 86_400_000,
  maxCount: 10,
  maxBytes: 10 * 1024 ** 3,
};

/**
 * Which versions go, pure: those that are too old, those beyond the newest few of their file, then the oldest of all until
 * the rest fits. Stamps from the future, of a clock that was wrong, count as of now.
 */
export function versionsToDrop<V extends KeptVersion>(
  versions: readonly V[],
  limits: VersionLimits,
  nowMs: number,
): V[] {
  const dropped: V[] = [];
  const counts = new Map<string, number>();
  let keptBytes = 0;
  for (const version of versions.toSorted((a, b) => b.atMs - a.atMs)) {
    const count = (counts.get(version.file) ?? 0) + 1;
    counts.set(version.file, count);
    const isTooOld = nowMs - version.atMs > limits.maxAgeMs;
    if (isTooOld || count > limits.maxCount || keptBytes + version.sizeBytes > limits.maxBytes)
      dropped.push(version);
    else keptBytes += version.sizeBytes;
  }
  return dropped;
}
