import * as path from "node:path";

let startDirectory: string | undefined;

/**
 * Makes the one directory that a server serves or fills the working directory of the process: short
 * paths cost a sixth less where many files are looked at. Relative paths of options lead elsewhere
 * from here on, unless `fromStart` resolves them.
 * @returns the directory's absolute path
 * @throws a system error
 */
export function workIn(directory: string): string {
  const absolute = path.resolve(directory);
  startDirectory ??= process.cwd();
  process.chdir(absolute);
  return absolute;
}

/** A path as whoever started dray meant it. */
export function fromStart(given: string): string {
  return startDirectory === undefined ? given : path.resolve(startDirectory, given);
}
