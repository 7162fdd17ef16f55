import type { ListEntry } from "../wire/entries.ts";
import { safeText } from "./safe-text.ts";

/** Wide enough for ten terabytes less one byte. */
const SIZE_COLUMNS = 13;

/**
 * An entry of a listing for people, newline at its end: a directory with a slash behind it, and what is neither file
 * nor directory with what it is.
 * @param long with size and time before the name
 */
export function listedLine(entry: ListEntry, name: string, long: boolean): string {
  const { kind, size, mtimeUs } = entry;
  const mark = kind === "directory" ? "/" : kind === "file" ? "" : ` (${kind})`;
  const shown = `${safeText(name)}${mark}\n`;
  if (!long) return shown;
  const sizeText = kind === "file" ? String(size) : "-";
  return `${sizeText.padStart(SIZE_COLUMNS)} ${timeText(mtimeUs)} ${shown}`;
}

/** `2001-09-09 01:46:40` in UTC; dashes for what no calendar has. */
function timeText(mtimeUs: number): string {
  const time = new Date(Math.floor(mtimeUs / 1000));
  const year = time.getUTCFullYear();
  if (Number.isNaN(year) || year < 0 || year > 9999) return "-------------------";
  return time.toISOString().slice(0, 19).replace("T", " ");
}
