/**
 * Sizes and times as people write them. A bare `k`, `M`, `G`, `T` counts in powers of 1024, as in
 * rsync and the coreutils; `kB`, `MB`, … in powers of 1000; `KiB`, `MiB`, … in powers of 1024.
 */

const SIZE_UNITS = new Map<string, number>([
  ["", 1],
  ["b", 1],
  ...["k", "m", "g", "t"].flatMap((letter, index): [string, number][] => [
    [letter, 1024 ** (index + 1)],
    [`${letter}ib`, 1024 ** (index + 1)],
    [`${letter}b`, 1000 ** (index + 1)],
  ]),
]);

const DURATION_UNITS_MS = new Map<string, number>([
  ["", 1000],
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** Bytes in a text such as `64MiB`, `1GB`, `500k` or `4096`, rounded to whole ones; undefined if it is none. */
export function parseSize(text: string): number | undefined {
  return scale(text.toLowerCase(), SIZE_UNITS);
}

/** Milliseconds in a text such as `30s`, `200ms`, `5m`, `1h`, `2d` or `0.5` (seconds); undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  return scale(text, DURATION_UNITS_MS);
}

/** The shortest exact spelling: parseSize gives the same number back. */
export function formatSize(sizeBytes: number): string {
  return exactly(sizeBytes, [
    ["TiB", 1024 ** 4],
    ["GiB", 1024 ** 3],
    ["MiB", 1024 ** 2],
    ["KiB", 1024],
    ["TB", 1e12],
    ["GB", 1e9],
    ["MB", 1e6],
    ["B", 1],
  ]);
}

/** The shortest exact spelling: parseDuration gives the same number back. */
export function formatDuration(durationMs: number): string {
  if (durationMs === 0) return "0s";
  return exactly(durationMs, [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
    ["ms", 1],
  ]);
}

function scale(text: string, units: ReadonlyMap<string, number>): number | undefined {
  const match = /^(\d+(?:\.\d+)?|\.\d+) ?([a-z]*)$/.exec(text);
  const unit = units.get(match?.[2] ?? "");
  if (match?.[1] === undefined || unit === undefined) return undefined;
  const amount = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(amount) ? amount : undefined;
}

function exactly(amount: number, units: readonly (readonly [string, number])[]): string {
  for (const [unit, factor] of units) {
    if (amount >= factor && amount % factor === 0) return `${amount / factor}${unit}`;
  }
  return String(amount);
}
