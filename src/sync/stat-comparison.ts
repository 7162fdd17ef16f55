import type { Stat } from "./ports.ts";

/**
 * Whether it is the same file with the same content, as far as size and time tell. Not asked for the time of the last change of
 * anything: a new second name (a hard link) moves that.
 */
export function isSameContent(before: Stat | undefined, after: Stat | undefined): boolean {
  if (before === undefined || after === undefined) return before === after;
  return (
    before.kind === after.kind &&
    before.inode === after.inode &&
    before.sizeBytes === after.sizeBytes &&
    before.mtimeNs === after.mtimeNs
  );
}

/** Whether nothing at all happened to it. A program that writes and sets the time back is found out by this. */
export function isUntouched(before: Stat | undefined, after: Stat | undefined): boolean {
  return isSameContent(before, after) && before?.ctimeNs === after?.ctimeNs;
}
