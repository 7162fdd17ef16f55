const ESCAPES: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r" };

/**
 * The line that sha256sum prints for a file: `HEX  PATH`. A path with a backslash, a line feed or a
 * carriage return is escaped, and a backslash before the digits says so.
 */
export function checksumLine(hex: string, path: string): string {
  const escaped = path.replace(/[\\\n\r]/g, (character) => ESCAPES[character]!);
  return `${escaped === path ? "" : "\\"}${hex}  ${escaped}`;
}
