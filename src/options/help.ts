import * as z from "zod";
import { SHELL_FLAGS } from "./common-options.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import {
  namedOptions,
  placeholderOf,
  positionalOptions,
  type CommandTable,
  type NamedOption,
  type OptionSpec,
} from "./table.ts";

const INDENT = "  ";
const LONGEST_LABEL = 30;

/** The help text of a command, wrapped to `width` characters. */
export function commandHelp(table: CommandTable, width: number): string {
  const options = namedOptions(table);
  const usedLetters = new Set(options.flatMap((option) => option.spec.aliases ?? []));
  const flags = SHELL_FLAGS.map(({ flag, alias, placeholder, description }): Row => {
    const letter = alias === undefined || usedLetters.has(alias) ? [] : [alias];
    return { label: flagLabel(letter, flag, placeholder), text: [description] };
  });
  const rows = options.map(optionRow);
  const places = positionalOptions(table).map(placeRow);
  const labelWidth = widestLabel([...places, ...rows, ...flags]);
  return [
    `dray ${table.command}: ${table.summary}`,
    "",
    "Usage:",
    `${INDENT}dray ${table.synopsis} [OPTIONS]`,
    "",
    ...(places.length === 0 ? [] : ["Arguments:"]),
    ...places.flatMap((row) => formatRow(row, labelWidth, width)),
    ...(places.length === 0 ? [] : [""]),
    "Options:",
    ...rows.flatMap((row) => formatRow(row, labelWidth, width)),
    "",
    "General:",
    ...flags.flatMap((row) => formatRow(row, labelWidth, width)),
    "",
    ...wrap(
      "Flags win over the environment, the environment wins over the JSON of --config, and that over the defaults.",
      width,
    ),
    "",
    "Examples:",
    ...table.examples.flatMap(({ line, meaning }) => [`${INDENT}${line}`, `${INDENT}${INDENT}${meaning}`]),
    "",
    "Exit codes:",
    ...EXIT_CODES.flatMap(({ exit, meaning }) =>
      formatRow({ label: String(exit).padStart(3), text: [meaning] }, 3, width),
    ),
  ].join("\n");
}

/** The default as it would be written in JSON or on the command line; undefined when the option is required. */
export function defaultText(spec: OptionSpec): string | undefined {
  if (spec.defaultText !== undefined) return spec.defaultText;
  if (spec.default === undefined) return spec.optional === true ? "none" : undefined;
  return String(z.encode(spec.type.schema(), spec.default));
}

interface Row {
  readonly label: string;
  /** Each starts on a line of its own. */
  readonly text: readonly string[];
}

function placeRow(option: NamedOption): Row {
  const { flag, spec } = option;
  const shown = placeholderOf(option);
  const several = spec.type.shape === "list" ? "; takes all arguments from here on" : "";
  return { label: `    ${shown}`, text: [`the same as ${flag} ${shown}${several}`] };
}

function optionRow({ flag, variable, spec }: NamedOption): Row {
  const fallback = defaultText(spec);
  const notes = [fallback === undefined ? "required" : `default: ${fallback}`, `env: ${variable}`];
  return {
    label: flagLabel(spec.aliases ?? [], flag, spec.placeholder),
    text: [spec.description, notes.map((note) => unbroken(`[${note}]`)).join(" ")],
  };
}

function flagLabel(letters: readonly string[], flag: string, placeholder: string | undefined): string {
  const short = letters.map((letter) => `-${letter}, `).join("");
  // Long flags stand below each other, whether there is a letter or not.
  return `${short.padStart(4)}${flag}${placeholder === undefined ? "" : ` ${placeholder}`}`;
}

function widestLabel(rows: readonly Row[]): number {
  return Math.min(LONGEST_LABEL, Math.max(...rows.map((row) => row.label.length)));
}

function formatRow({ label, text }: Row, labelWidth: number, width: number): string[] {
  const column = INDENT.length + labelWidth + 2;
  const lines = text.flatMap((part) => wrap(part, width - column));
  const first = label.length <= labelWidth ? `${label.padEnd(labelWidth)}  ${lines.shift() ?? ""}` : label;
  return [INDENT + first, ...lines.map((line) => " ".repeat(column) + line)];
}

const NO_BREAK_SPACE = "\u00a0";

/** A text that wrap leaves in one piece. */
function unbroken(text: string): string {
  return text.replaceAll(" ", NO_BREAK_SPACE);
}

/** Breaks a text at spaces; a word longer than the width stands alone. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((text) => text.replaceAll(NO_BREAK_SPACE, " "));
}
