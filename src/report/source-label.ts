import { safeName, safeText } from "./safe-text.ts";

/** `10.0.0.2:9000`, or `[::1]:9000` for an IPv6 address. Harmless to print. */
export function hostAndPort(host: string, port: number): string {
  const shown = safeText(host);
  return shown.includes(":") && !shown.startsWith("[") ? `[${shown}]:${port}` : `${shown}:${port}`;
}

/** A source, or an item of one, as people see it: `10.0.0.2:9000 docs/manual`. Harmless to print. */
export function sourceLabel(source: { host: string; port: number; path: string }): string {
  return `${hostAndPort(source.host, source.port)} ${safeName(source.path)}`;
}
