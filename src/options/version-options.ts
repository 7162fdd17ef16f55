import { duration, integer, size } from "./option-type.ts";

const TIB = 1024 ** 4;

/** What both sides of sync have, to be spread into their tables: how long replaced and deleted contents are kept. */
export const VERSION_OPTIONS = {
  keepVersionsMs: {
    name: "keepVersions",
    type: duration(0, 3_660 * 86_400_000),
    placeholder: "TIME",
    description: "how long what was replaced or deleted is kept in .dray/versions",
    default: 30 * 86_400_000,
  },
  versionsPerFile: {
    type: integer(0, 1_000_000),
    placeholder: "N",
    description: "and at most this many versions of one file",
    default: 10,
  },
  versionsMax: {
    type: size(0, 1024 * TIB),
    placeholder: "SIZE",
    description: "and at most this many bytes of all files together; the oldest go first",
    default: 10 * 1024 ** 3,
  },
} as const;

interface VersionValues {
  readonly keepVersionsMs: number;
  readonly versionsPerFile: number;
  readonly versionsMax: number;
}

/** As the versions store takes them. */
export function versionLimits(values: VersionValues): {
  maxAgeMs: number;
  maxCount: number;
  maxBytes: number;
} {
  return {
    maxAgeMs: values.keepVersionsMs,
    maxCount: values.versionsPerFile,
    maxBytes: values.versionsMax,
  };
}
