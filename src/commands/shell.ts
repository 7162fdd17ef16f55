import { runCommand, type CommandDef } from "citty";
import { EXIT } from "../errors/codes.ts";
import { didYouMean } from "../options/suggest.ts";
import { safeText } from "../report/safe-text.ts";
import { Output, tell } from "./output.ts";
import { VERSION_LINE } from "./version.ts";

/** A subcommand that is loaded only when it is called. */
export interface ShellCommand {
  readonly summary: string;
  load(): Promise<CommandDef>;
}

/**
 * The program itself: finds the subcommand and runs it.
 *
 * @param args the command line without the program
 * @returns the exit code
 */
export async function runShell(
  commands: Readonly<Record<string, ShellCommand>>,
  args: readonly string[],
): Promise<number> {
  const [first, ...rest] = args[0] === "help" ? [...args.slice(1), "--help"] : args;
  if (first === undefined) return refuse(usage(commands));
  if (first === "--help" || first === "-h") return print(usage(commands));
  if (first === "--version" || first === "-V") return print(VERSION_LINE);
  const command = Object.hasOwn(commands, first) ? commands[first] : undefined;
  if (command === undefined) {
    const kind = first.startsWith("-") ? "flag" : "command";
    const known = kind === "flag" ? ["--help", "--version"] : Object.keys(commands);
    return refuse(`dray: ${safeText(first)}: unknown ${kind}${didYouMean(first, known)}\nTry 'dray --help'.`);
  }
  const { result } = await runCommand(await command.load(), { rawArgs: rest });
  return typeof result === "number" ? result : EXIT.internal;
}

async function print(text: string): Promise<number> {
  const out = new Output();
  await out.line(text);
  const lost = await out.flush();
  if (lost === undefined) return EXIT.ok;
  await tell(`dray: ${lost.message}`);
  return lost.exitCode;
}

async function refuse(text: string): Promise<number> {
  await tell(text);
  return EXIT.usage;
}

function usage(commands: Readonly<Record<string, ShellCommand>>): string {
  const names = Object.keys(commands);
  const width = Math.max(...names.map((name) => name.length));
  return [
    `${VERSION_LINE}: moves files between machines`,
    "",
    "Usage:",
    "  dray COMMAND [OPTIONS]",
    "",
    "Commands:",
    ...Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "'dray COMMAND --help' lists the options of a command; 'dray --version' prints the version.",
  ].join("\n");
}
