import { type ConsolaInstance, createConsola, LogLevels, type LogObject } from "consola/core";
import { safeText } from "./safe-text.ts";

export type LogVerbosity = "silent" | "error" | "warn" | "info" | "debug";

/** Where logs go: `process.stderr`. */
export interface LogStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/**
 * The log of a process: every level on stderr, one line an entry, no control characters whatever
 * the messages carry. On a terminal `warning: …`, elsewhere `2026-01-31T12:00:00.000Z warn  …`.
 */
export function createLog(level: LogVerbosity, stream: LogStream = process.stderr): ConsolaInstance {
  const timestamped = stream.isTTY !== true;
  return createConsola({
    level: LogLevels[level],
    // consola would hold back repeated lines on a timer, and lose them when the process exits.
    throttle: 0,
    reporters: [{ log: (entry) => void stream.write(logText(entry, { timestamped })) }],
  });
}

const TERMINAL_PREFIX: Record<string, string> = {
  fatal: "error: ",
  error: "error: ",
  warn: "warning: ",
  debug: "debug: ",
};

/** A log entry as the text to write, newline included. Errors of the debug level bring their stack. */
function logText(
  entry: Pick<LogObject, "date" | "type" | "args">,
  options: { timestamped: boolean },
): string {
  const prefix = options.timestamped
    ? `${entry.date.toISOString()} ${entry.type.padEnd(5)} `
    : (TERMINAL_PREFIX[entry.type] ?? "");
  const lines = [prefix + entry.args.map((value: unknown) => safeText(textOf(value))).join(" ")];
  if (entry.type === "debug") lines.push(...entry.args.flatMap(stackOf));
  return `${lines.join("\n")}\n`;
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  return value instanceof Error ? value.message : Bun.inspect(value, { colors: false, compact: true });
}

function stackOf(value: unknown): string[] {
  if (!(value instanceof Error)) return [];
  const frames = (value.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  const cause =
    value.cause instanceof Error
      ? [`  cause: ${safeText(value.cause.message)}`, ...stackOf(value.cause)]
      : [];
  return [...frames.map(safeText), ...cause];
}
