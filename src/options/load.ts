import { readConfig } from "./config-file.ts";
import { parseFlags, type ParsedFlags } from "./flags.ts";
import { OptionsError, type Problem } from "./problem.ts";
import { didYouMean, nearest } from "./suggest.ts";
import {
  namedOptions,
  placeholderOf,
  variablePrefix,
  type CommandTable,
  type CommonValues,
  type FullTable,
  type NamedOption,
  type ValuesOf,
} from "./table.ts";
import { validate } from "./validate.ts";

/** Where options come from, besides the defaults. */
export interface OptionSources {
  /** What follows the command's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Opened only for `--config -`. */
  stdin(): AsyncIterable<Uint8Array>;
}

/** What the command line asks for. */
export type Request<Values> =
  | { readonly action: "help" }
  | { readonly action: "schema" }
  | { readonly action: "print"; readonly values: Values }
  | { readonly action: "run"; readonly values: Values };

/** One option as one layer gives it. */
interface Entry {
  readonly option: NamedOption;
  readonly written: unknown;
  /** `config.json: sources[1].port`; layers other than JSON ignore the path inside the value. */
  readonly where: (path: string) => string;
}

/**
 * The effective options of a command: defaults < JSON (`--config`) < environment < flags.
 *
 * @throws OptionsError with every problem of every layer, also of values that a higher layer overrides
 */
export async function loadOptions<T extends FullTable>(
  table: T,
  from: OptionSources,
): Promise<Request<ValuesOf<T> & CommonValues>> {
  const flags = parseFlags(table, from.args);
  if (flags.given.has("--help")) return { action: "help" };
  const problems = [...flags.problems];
  if (flags.given.has("--schema") && problems.length === 0) return { action: "schema" };

  const options = namedOptions(table);
  const configPath = flags.given.get("--config")?.[0];
  const inConfig = configPath === undefined ? [] : await configEntries(configPath, from, options, problems);
  const entries = [
    ...flagEntries(options, flags),
    ...environmentEntries(table, options, from.env, problems),
    ...(inConfig ?? []),
  ];
  const { found, mentioned } = validateEntries(entries, problems);

  const values: Record<string, unknown> = {};
  for (const option of options) {
    const { property, spec } = option;
    const value = found.has(property) ? found.get(property)?.value : spec.default;
    if (value !== undefined) {
      values[property] = value;
      const why = spec.check?.(value);
      if (why !== undefined) problems.push({ where: found.get(property)?.where ?? option.flag, why });
    } else if (spec.optional !== true && !mentioned.has(property) && inConfig !== undefined) {
      const where = option.position === undefined ? option.flag : placeholderOf(option);
      problems.push({ where, why: requiredText(option) });
    }
  }
  // Every property of the table has its value by now, which the compiler cannot follow.
  const given = values as ValuesOf<T> & CommonValues;
  if (problems.length === 0) problems.push(...(table.conflicts?.(given) ?? []));
  if (problems.length > 0) throw new OptionsError(problems, values["json"] === true);
  const action = flags.given.has("--print-config") ? "print" : "run";
  return { action, values: { ...given, ...table.complete?.(given) } };
}

/** Validates every entry; of several for one option the first one, from the highest layer, counts. */
function validateEntries(entries: readonly Entry[], problems: Problem[]) {
  const found = new Map<string, { readonly value: unknown; readonly where: string }>();
  const mentioned = new Set<string>();
  for (const { option, written, where } of entries) {
    mentioned.add(option.property);
    const result = validate(option.spec, written);
    if ("issues" in result)
      problems.push(...result.issues.map(({ path, why }) => ({ where: where(path), why })));
    else if (!found.has(option.property))
      found.set(option.property, { value: result.value, where: where("") });
  }
  return { found, mentioned };
}

function flagEntries(options: readonly NamedOption[], { given, placed }: ParsedFlags): Entry[] {
  return options.flatMap((option) => {
    const texts = given.get(option.flag)?.map((text) => option.spec.type.fromText(text));
    if (texts === undefined) return [];
    const written = option.spec.type.shape === "list" ? texts : texts[0];
    const where = placed.has(option.flag) ? placeholderOf(option) : option.flag;
    return [{ option, written, where: () => where }];
  });
}

function environmentEntries(
  table: CommandTable,
  options: readonly NamedOption[],
  env: Readonly<Record<string, string | undefined>>,
  problems: Problem[],
): Entry[] {
  const prefix = variablePrefix(table);
  const known = new Map(options.map((option) => [option.variable, option]));
  const entries: Entry[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (text === undefined || !variable.startsWith(prefix)) continue;
    const option = known.get(variable);
    if (option === undefined) {
      const suggestion = nearest(
        variable.slice(prefix.length),
        [...known.keys()].map((name) => name.slice(prefix.length)),
      );
      const hint = suggestion === undefined ? "" : ` (did you mean ${prefix}${suggestion}?)`;
      problems.push({ where: variable, why: `unknown variable${hint}` });
    } else if (text === "") {
      // Present but empty is most often a variable that a script failed to fill.
      problems.push({ where: variable, why: "is set, but empty (unset it to use the default)" });
    } else {
      entries.push({ option, written: option.spec.type.fromText(text), where: () => variable });
    }
  }
  return entries;
}

/** Undefined when the configuration cannot be read at all: nobody knows what it would have held. */
async function configEntries(
  path: string,
  from: OptionSources,
  options: readonly NamedOption[],
  problems: Problem[],
): Promise<Entry[] | undefined> {
  const label = path === "-" ? "stdin" : path;
  const config = await readConfig(path, () => from.stdin());
  if ("problem" in config) {
    problems.push({ where: label, why: config.problem });
    return undefined;
  }
  const known = new Map(options.map((option) => [option.name, option]));
  const entries: Entry[] = [];
  for (const [key, written] of config.entries) {
    const option = known.get(key);
    if (option !== undefined) {
      entries.push({ option, written, where: (inside) => `${label}: ${key}${inside}` });
    } else {
      problems.push({ where: `${label}: ${key}`, why: `unknown key${didYouMean(key, known.keys())}` });
    }
  }
  return entries;
}

function requiredText({ flag, name, variable, position, spec }: NamedOption): string {
  const alias = spec.aliases?.[0];
  const spelling = alias === undefined ? flag : `-${alias}`;
  const place = position === undefined ? "" : `it as argument ${position}, `;
  return `is required (give ${place}${spelling} ${spec.placeholder ?? ""}, ${variable}, or "${name}" in --config)`;
}
