import { loadOptions, type Request } from "../../src/options/load.ts";
import { OptionsError } from "../../src/options/problem.ts";
import type { CommonValues, FullTable, ValuesOf } from "../../src/options/table.ts";

export interface Surroundings {
  env?: Record<string, string>;
  stdin?: string | Uint8Array;
}

/** Loads options from exactly these places. */
export function load<T extends FullTable>(
  table: T,
  args: readonly string[],
  { env = {}, stdin }: Surroundings = {},
): Promise<Request<ValuesOf<T> & CommonValues>> {
  return loadOptions(table, {
    args,
    env,
    async *stdin() {
      if (stdin === undefined) throw new Error("stdin was not to be read");
      yield Buffer.from(stdin);
    },
  });
}

/** The effective options. */
export async function effective<T extends FullTable>(
  table: T,
  args: readonly string[],
  surroundings?: Surroundings,
): Promise<ValuesOf<T> & CommonValues> {
  const request = await load(table, args, surroundings);
  if (!("values" in request)) throw new Error(`options were expected, not ${request.action}`);
  return request.values;
}

/** Every problem, as `where: why`. */
export async function problemsOf(
  table: FullTable,
  args: readonly string[],
  surroundings?: Surroundings,
): Promise<string[]> {
  try {
    await load(table, args, surroundings);
  } catch (error) {
    if (error instanceof OptionsError) return error.problems.map(({ where, why }) => `${where}: ${why}`);
    throw error;
  }
  throw new Error("problems were expected");
}
