/** Numbers as people read them: IEC sizes, rates, counts and times. All pure and locale-free. */

const IEC_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A size with three significant digits, at most 8 columns wide below 1024 EiB: `9.81 MiB`, `1023 KiB`, `7 B`. */
export function formatBytes(sizeBytes: number): string {
  let value = Math.max(0, sizeBytes);
  let unit = 0;
  // 1023.5 would be shown as 1024: that is already one of the next unit.
  while (value >= 1023.5 && unit < IEC_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : threeDigits(value)} ${IEC_UNITS[unit]}`;
}

/** A rate in bytes per second: `1.25 MiB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

function threeDigits(value: number): string {
  if (value < 9.995) return value.toFixed(2);
  if (value < 99.95) return value.toFixed(1);
  return value.toFixed(0);
}

/** A count with its thousands set apart: `1,234,567`. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A count in at most five columns below 10^13, exact below 100,000, otherwise rounded down: `99999`, `123k`, `1.2M`. */
export function formatCompactCount(count: number): string {
  if (count < 100_000) return String(count);
  for (const [suffix, size] of [
    ["k", 1e3],
    ["M", 1e6],
    ["G", 1e9],
  ] as const) {
    const value = count / size;
    if (value < 10) return `${(Math.floor(value * 10) / 10).toFixed(1)}${suffix}`;
    if (value < 1000) return `${Math.floor(value)}${suffix}`;
  }
  return `${Math.floor(count / 1e9)}G`;
}

/** `1 file`, `2 files`: the count and its noun (plural by adding `s`). */
export function countOf(count: number, noun: string, plural = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : plural}`;
}

/** How long something took: `430 ms`, `12.3 s`, `3 min 12 s`, `2 h 03 min`, `3 d 04 h`. */
export function formatDuration(durationMs: number): string {
  const ms = Math.max(0, durationMs);
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / SECOND_MS).toFixed(1)} s`;
  const seconds = Math.round(ms / SECOND_MS);
  if (seconds < 3600) return twoUnits(seconds, 60, "min", "s");
  const minutes = Math.round(ms / MINUTE_MS);
  if (minutes < 24 * 60) return twoUnits(minutes, 60, "h", "min");
  return twoUnits(Math.round(ms / HOUR_MS), 24, "d", "h");
}

function twoUnits(total: number, perLarger: number, larger: string, smaller: string): string {
  return `${Math.floor(total / perLarger)} ${larger} ${twoPlaces(total % perLarger)} ${smaller}`;
}

/** Time left as a clock, rounded up to the second, at most 8 columns wide: `0:07`, `12:34`, `1:02:03`, `3d 04h`, `> 99 d`. */
export function formatTimeLeft(durationMs: number): string {
  const ms = Math.max(0, durationMs);
  const seconds = Math.ceil(ms / SECOND_MS);
  const clock = `${twoPlaces(Math.floor(seconds / 60) % 60)}:${twoPlaces(seconds % 60)}`;
  if (seconds < 3600) return clock.replace(/^0(?=\d:)/, "");
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}:${clock}`;
  const hours = Math.ceil(ms / HOUR_MS);
  if (ms >= 99 * DAY_MS) return "> 99 d";
  return `${Math.floor(hours / 24)}d ${twoPlaces(hours % 24)}h`;
}

function twoPlaces(value: number): string {
  return String(value).padStart(2, "0");
}
