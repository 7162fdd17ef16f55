import { MAX_COMPONENT_BYTES } from "../../wire/names.ts";

/** A conflict copy's name, taken apart. */
export interface ConflictName {
  /** The file that it is a copy of, with its directories. */
  readonly of: string;
}

const MARK = / \(conflict \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d [^()/]{0,64}\)(?: \d+)?/;
/** `.tar.gz` and its like stay whole; longer "extensions" are part of a name. */
const EXTENSION = /(?:\.tar)?\.[^.\s/]{1,16}$/i;

/**
 * The name under which local content is kept when the server's takes its path: `name (conflict 2026-01-31 12.00.00
 * host).ext`, with ` 2`, ` 3`… behind the bracket when that is taken. Long names are shortened to what file systems take.
 *
 * @param name with its directories
 * @param wallMs when, in milliseconds since 1970; written as UTC, so that the name is the same everywhere
 * @param number from 1
 */
export function conflictName(name: string, wallMs: number, host: string, number: number): string {
  const slash = name.lastIndexOf("/") + 1;
  const last = name.slice(slash);
  const extension =
    last.startsWith(".") && !last.slice(1).includes(".") ? "" : (EXTENSION.exec(last)?.[0] ?? "");
  const stem = last.slice(0, last.length - extension.length).replace(MARK, "");
  const mark = ` (conflict ${stampOf(wallMs)} ${plainHost(host)})${number > 1 ? ` ${number}` : ""}`;
  const room = MAX_COMPONENT_BYTES - Buffer.byteLength(mark) - Buffer.byteLength(extension);
  return `${name.slice(0, slash)}${cutToBytes(stem, room)}${mark}${extension}`;
}

/** Which file this is a conflict copy of; undefined if it is none. */
export function conflictOf(name: string): ConflictName | undefined {
  const slash = name.lastIndexOf("/") + 1;
  const last = name.slice(slash);
  const match = MARK.exec(last);
  if (match === null || match.index === 0) return undefined;
  return {
    of: name.slice(0, slash) + last.slice(0, match.index) + last.slice(match.index + match[0].length),
  };
}

function stampOf(wallMs: number): string {
  const [day, time] = new Date(wallMs).toISOString().split("T");
  return `${day} ${time!.slice(0, 8).replaceAll(":", ".")}`;
}

function plainHost(host: string): string {
  const first = host.split(".")[0]!.replaceAll(/[^\p{L}\p{N}_-]/gu, "");
  return cutToBytes(first, 32) || "unknown";
}

function cutToBytes(text: string, mostBytes: number): string {
  let cut = "";
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > mostBytes) break;
    cut += character;
  }
  return cut;
}
