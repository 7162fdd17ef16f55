import { choice, toggle } from "./option-type.ts";

/** Options that every command has. */
export const COMMON_OPTIONS = {
  json: {
    type: toggle(),
    description: "print JSON Lines on stdout, one event a line",
    default: false,
  },
  logLevel: {
    type: choice("error", "warn", "info", "debug"),
    placeholder: "LEVEL",
    description: "how much to log on stderr: error, warn, info or debug",
    default: "info",
  },
} as const;

/** Flags that steer the program itself: they have no key in JSON and no variable. */
export interface ShellFlag {
  readonly flag: string;
  /** Yields when the command's own table uses the letter. */
  readonly alias?: string;
  readonly placeholder?: string;
  readonly description: string;
  /** The flag is short for this value of an option. */
  readonly means?: { readonly property: keyof typeof COMMON_OPTIONS; readonly text: string };
}

export const SHELL_FLAGS: readonly ShellFlag[] = [
  {
    flag: "--verbose",
    alias: "v",
    description: "short for --log-level debug",
    means: { property: "logLevel", text: "debug" },
  },
  {
    flag: "--quiet",
    alias: "q",
    description: "short for --log-level error",
    means: { property: "logLevel", text: "error" },
  },
  {
    flag: "--config",
    placeholder: "FILE",
    description: "read options from a JSON file, or from stdin with -",
  },
  { flag: "--print-config", description: "print the effective options as JSON and exit" },
  { flag: "--schema", description: "print the JSON Schema of the --config file and exit" },
  { flag: "--help", alias: "h", description: "print this help and exit" },
];
