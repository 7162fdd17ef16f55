import { duration, size, toggle } from "./option-type.ts";
import type { Problem } from "./problem.ts";

const TIB = 2 ** 40;

/** What a server has that lets clients put files, to be spread into its table. */
export const WRITE_OPTIONS = {
  writable: {
    type: toggle(),
    description:
      "let clients put files, and replace, rename and remove those that they have put: a file belongs to the name of the token that put it, and without tokens to everybody",
    default: false,
  },
  maxFile: {
    type: size(0, 8192 * TIB),
    optional: true,
    placeholder: "SIZE",
    description: "take no file that is larger than this",
    defaultText: "no limit",
  },
  maxTotal: {
    type: size(0, 8192 * TIB),
    optional: true,
    placeholder: "SIZE",
    description:
      "take no more than this in all: files that clients have put, uploads under way or interrupted, and the trash, which makes room if it has to",
    defaultText: "no limit",
  },
  keepTrashMs: {
    name: "keepTrash",
    type: duration(0, 366 * 86_400_000),
    placeholder: "TIME",
    description: "how long replaced and removed files are kept in DIR/.dray/trash",
    default: 30 * 86_400_000,
  },
} as const;

interface WriteValues {
  readonly writable: boolean;
  readonly maxFile: number | undefined;
  readonly maxTotal: number | undefined;
}

/** For the `conflicts` of a table with WRITE_OPTIONS. */
export function writeConflicts({ writable, maxFile, maxTotal }: WriteValues): Problem[] {
  const limits = { "--max-file": maxFile, "--max-total": maxTotal };
  return Object.entries(limits).flatMap(([where, value]) =>
    writable || value === undefined ? [] : [{ where, why: "needs --writable" }],
  );
}
