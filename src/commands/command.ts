import { defineCommand, type CommandDef } from "citty";
import type { ConsolaInstance } from "consola/core";
import { EXIT } from "../errors/codes.ts";
import { asDrayError, type DrayError } from "../errors/dray-error.ts";
import { configSchema, printConfig } from "../options/effective.ts";
import { commandHelp } from "../options/help.ts";
import { loadOptions } from "../options/load.ts";
import { OptionsError } from "../options/problem.ts";
import type { CommonValues, FullTable, ValuesOf } from "../options/table.ts";
import { safeText } from "../report/safe-text.ts";
import { flushStderr, Output, surviveClosedStderr, tell } from "./output.ts";

/** How a command speaks: results on stdout, everything else on stderr. */
export interface CommandIo {
  readonly out: Output;
  readonly log: ConsolaInstance;
}

interface Definition<T extends FullTable> {
  readonly table: T;
  /**
   * Does the command's work and says its results through `io`.
   *
   * @returns the exit code
   * @throws DrayError, which becomes one line on stderr and the error's exit code
   */
  run(options: ValuesOf<T>, io: CommandIo): Promise<number>;
}

/** A subcommand, whose result in citty is the exit code of the process. */
export function defineDrayCommand<T extends FullTable>(definition: Definition<T>): CommandDef {
  const { command, summary } = definition.table;
  return defineCommand({
    meta: { name: command, description: summary },
    run: ({ rawArgs }) => execute(definition, rawArgs),
  });
}

async function execute<T extends FullTable>(
  definition: Definition<T>,
  args: readonly string[],
): Promise<number> {
  const { table } = definition;
  const out = new Output();
  let settings: CommonValues = { json: false, logLevel: "info" };
  try {
    const request = await loadOptions(table, { args, env: process.env, stdin: () => Bun.stdin.stream() });
    let exitCode: number = EXIT.ok;
    if (request.action === "help") {
      await out.line(commandHelp(table, helpWidth()));
    } else if (request.action === "schema") {
      await out.line(configSchema(table));
    } else if (request.action === "print") {
      await out.line(printConfig(table, request.values));
    } else {
      settings = request.values;
      // Loading the logger takes longer than printing the help.
      const { createLog } = await import("../report/log.ts");
      surviveClosedStderr();
      const io = { out, log: createLog(settings.logLevel) };
      exitCode = await Promise.race([definition.run(request.values, io), nextFault()]);
      await flushStderr();
    }
    const lost = await out.flush();
    if (lost !== undefined) throw lost;
    return exitCode;
  } catch (thrown) {
    const error = asDrayError(thrown);
    await tellFailure(table.command, error, settings);
    if (settings.json || (error instanceof OptionsError && error.json)) {
      await out.event({ type: "error", code: error.code, message: error.message });
    }
    // A failure to write is being told already, or comes second to the one that is.
    await out.flush();
    return error.exitCode;
  }
}

/** Rejects with what nobody caught: without this, Bun prints a page of minified source. */
function nextFault(): Promise<never> {
  return new Promise((_, reject) => {
    process.once("uncaughtException", reject);
    process.once("unhandledRejection", reject);
  });
}

async function tellFailure(command: string, error: DrayError, settings: CommonValues): Promise<void> {
  if (error instanceof OptionsError) {
    const [first = "", ...others] = error.problems.map(({ where, why }) => safeText(`${where}: ${why}`));
    const listed = others.length === 0 ? [first] : [`${others.length + 1} problems`, first, ...others];
    return tell(`dray ${command}: ${listed.join("\n  ")}\nTry 'dray ${command} --help'.`);
  }
  const line = `dray ${command}: ${safeText(error.message)}`;
  if (settings.logLevel === "debug") return tell([line, ...stacksOf(error)].join("\n"));
  return tell(error.code === "internal" ? `${line} (a fault in dray; --verbose shows where)` : line);
}

function stacksOf(error: Error): string[] {
  const cause = error.cause instanceof Error ? stacksOf(error.cause).map((line) => `caused by ${line}`) : [];
  return [error.stack ?? error.message, ...cause];
}

function helpWidth(): number {
  return Math.min(process.stdout.columns || 100, 100);
}
