import { isHost, withoutBrackets } from "./host.ts";

/**
 * The text form of a mirror order: `host:port:dirorfile:delay`, comma separated.
 *
 * The host comes first (IPv6 in brackets), then the port; the delay in seconds stands after the
 * LAST colon, and everything between is the path, which may hold colons and spaces. A comma or a
 * backslash in a path is written `\,` or `\\`.
 */

/** Where to pull what from. The same shape as a source of an order on the wire. */
export interface Source {
  readonly host: string;
  readonly port: number;
  /** `/`-separated; `.` is everything that the server exports. */
  readonly path: string;
  readonly delayMs: number;
}

export interface ItemProblem {
  /** Counted from 1. */
  readonly number: number;
  readonly text: string;
  readonly why: string;
}

export const MAX_PATH_BYTES = 4096;
export const MAX_DELAY_MS = 86_400_000;

const FORM = "expected host:port:dirorfile:delay";

/** Every source of a list, and every item that is none; items are counted from `firstNumber`. */
export function parseSources(text: string, firstNumber = 1): { sources: Source[]; problems: ItemProblem[] } {
  const sources: Source[] = [];
  const problems: ItemProblem[] = [];
  for (const [index, written] of splitAtCommas(text).entries()) {
    const item = written.trim();
    const parsed = parseItem(item);
    if (Array.isArray(parsed))
      problems.push({ number: firstNumber + index, text: item, why: parsed.join("; ") });
    else sources.push(parsed);
  }
  return { sources, problems };
}

/** The text that parseSources reads as exactly this source. */
export function formatSource(source: Source): string {
  const host = source.host.includes(":") ? `[${source.host}]` : source.host;
  return `${host}:${source.port}:${source.path.replace(/[\\,]/g, "\\$&")}:${source.delayMs / 1000}`;
}

function splitAtCommas(text: string): string[] {
  const items: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === ",") {
      items.push(text.slice(start, at));
      start = at + 1;
    }
  }
  items.push(text.slice(start));
  return items;
}

/** The source, or everything that is wrong with it. */
function parseItem(item: string): Source | string[] {
  if (item === "") return ["the item is empty"];
  const parts = splitItem(item);
  if (typeof parts === "string") return [parts];

  const problems: string[] = [];
  const host = withoutBrackets(parts.host);
  if (!isHost(host))
    problems.push(host === "" ? "the host is missing" : "the host is neither a name nor an address");
  const port = /^\d{1,5}$/.test(parts.port) ? Number(parts.port) : 0;
  if (port < 1 || port > 65_535) problems.push("the port must be a whole number from 1 to 65535");
  const path = unescape(parts.path);
  if (path === undefined) problems.push("a backslash in the path must be written \\\\ and a comma \\,");
  else if (path === "") problems.push("the path is missing (write . for everything)");
  else if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    problems.push(`the path is longer than ${MAX_PATH_BYTES} bytes`);
  const delayMs = /^(?:\d+(?:\.\d+)?|\.\d+)$/.test(parts.delay) ? Math.round(Number(parts.delay) * 1000) : -1;
  if (delayMs < 0 || delayMs > MAX_DELAY_MS)
    problems.push("the delay must be seconds from 0 to 86400, such as 0 or 1.5");

  return path === undefined || problems.length > 0 ? problems : { host, port, path, delayMs };
}

/** The four parts as they are written, or why there are not four. */
function splitItem(item: string): { host: string; port: string; path: string; delay: string } | string {
  const hostEnd = item.startsWith("[") ? item.indexOf("]") + 1 : item.indexOf(":");
  if (item.startsWith("[") && item[hostEnd] !== ":") return `${FORM}, and ]: after an IPv6 address`;
  if (isBareIpv6(item)) return "an IPv6 address must stand in brackets, as in [::1]:9000:docs:0";
  const portEnd = item.indexOf(":", hostEnd + 1);
  if (hostEnd < 0 || portEnd < 0) return FORM;
  const delayStart = item.lastIndexOf(":");
  if (delayStart === portEnd) return `the delay is missing; ${FORM}, as in ${item}:0`;
  return {
    host: item.slice(0, hostEnd),
    port: item.slice(hostEnd + 1, portEnd),
    path: item.slice(portEnd + 1, delayStart),
    delay: item.slice(delayStart + 1),
  };
}

function isBareIpv6(item: string): boolean {
  return /^[\da-f:]*::/i.test(item) && !/^[^:]*:\d+:/.test(item);
}

function unescape(path: string): string | undefined {
  const escapes = /\\([\\,])/g;
  return path.replace(escapes, "").includes("\\") ? undefined : path.replace(escapes, "$1");
}
