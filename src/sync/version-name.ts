/** Why a content went to the versions. */
export type VersionReason = "replaced" | "deleted" | "conflict" | "restored";

/** What the name of a kept file says. */
export interface VersionName {
  /** "20261121T110532.123Z": sorts by time. */
  readonly id: string;
  readonly atMs: number;
  readonly reason: VersionReason;
  /** In hexadecimal, if it was known. */
  readonly md5: string | undefined;
}

const NAME =
  /^\.dray-((\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{3})Z)-(replaced|deleted|conflict|restored)-([0-9a-f]{32}|unknown)$/;
/** Stamps have four digits for the year. */
const LAST_MS = Date.UTC(9999, 11, 31);

function versionId(atMs: number): string {
  return new Date(atMs).toISOString().replaceAll(/[-:]/g, "");
}

/** A name that no synced file can have, since it begins with `.dray-`. @param atMs any number; out of range it is moved in */
export function versionName(
  atMs: number,
  reason: VersionReason,
  md5: string | undefined,
): VersionName & { file: string } {
  const inRangeMs = Math.min(Math.max(0, Math.floor(atMs)), LAST_MS);
  const id = versionId(inRangeMs);
  return { id, atMs: inRangeMs, reason, md5, file: `.dray-${id}-${reason}-${md5 ?? "unknown"}` };
}

/** @returns undefined for a name that is not that of a version */
export function parseVersionName(name: string): VersionName | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second, ms] = match.slice(2, 9).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const atMs = Date.UTC(year, month - 1, day, hour, minute, second, ms);
  const md5 = match[10]!;
  return { id: match[1]!, atMs, reason: match[9] as VersionReason, md5: md5 === "unknown" ? undefined : md5 };
}
