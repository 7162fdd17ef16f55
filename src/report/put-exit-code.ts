import { ERROR_CODES, type ErrorCode, EXIT } from "../errors/codes.ts";

/**
 * The exit code of a command that did something for several files or on several servers. 0: all of it
 * is done. When nothing is and every failure has the same exit code, that one; otherwise 3, partial.
 * @param done how many were done
 * @param failures the code of each failure
 */
export function exitCodeOfMany(done: number, failures: readonly ErrorCode[]): number {
  if (failures.length === 0) return EXIT.ok;
  const [exit, ...others] = new Set(failures.map((code) => ERROR_CODES[code].exit));
  return done > 0 || exit === undefined || others.length > 0 ? EXIT.partial : exit;
}

/**
 * What became of one server.
 * @param error why it was given up, if it was
 * @param done what was done there
 * @param failed what was not
 */
export function statusOf(
  error: ErrorCode | undefined,
  done: number,
  failed: number,
): "complete" | "partial" | "unreachable" | "refused" | "failed" {
  if (failed === 0) return "complete";
  if (done > 0) return "partial";
  if (error === undefined) return "failed";
  const { exit } = ERROR_CODES[error];
  if (exit === EXIT.unreachable) return "unreachable";
  return exit === EXIT.refused ? "refused" : "failed";
}
