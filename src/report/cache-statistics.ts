import { countOf, formatBytes, formatCount } from "./units.ts";

/** What a cache did so far, and holds now. */
export interface ShownCacheStatistics {
  readonly hits: number;
  readonly misses: number;
  readonly streamed: number;
  readonly evictions: number;
  readonly bytesRead: number;
  readonly files: number;
  readonly bytes: number;
  readonly limitBytes: number;
}

/** `Cache: 90 % of 1,000 requests found (…)`, for the log. */
export function cacheStatisticsLine(cache: ShownCacheStatistics): string {
  const { hits, misses, streamed, evictions, bytesRead, files, bytes, limitBytes } = cache;
  const asked = hits + misses + streamed;
  const share = asked === 0 ? 0 : Math.floor((100 * hits) / asked);
  return [
    `Cache: ${countOf(asked, "request")}, ${formatCount(hits)} (${share} %) found`,
    `${formatCount(misses)} read (${formatBytes(bytesRead)}), ${formatCount(streamed)} sent past it`,
    `${formatCount(evictions)} evicted`,
    `holds ${countOf(files, "file")}, ${formatBytes(bytes)} of ${formatBytes(limitBytes)}`,
  ].join("; ");
}
